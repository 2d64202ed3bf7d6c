//! Memory maps, and reads past the page cache: the one place for file-level `unsafe`.

mod aligned;
mod direct;
mod mapped_file;

pub use aligned::{ALIGNMENT, AlignedBuffer};
pub use direct::{DirectFile, DirectReader, Fallbacks};
pub use mapped_file::{MapError, MappedFile};
