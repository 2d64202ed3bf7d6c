//! Memory maps: the one place for file-level `unsafe`.

mod mapped_file;

pub use mapped_file::{MapError, MappedFile};
