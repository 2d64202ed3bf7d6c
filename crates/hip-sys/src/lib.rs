//! libamdhip64's types and functions, loaded at run time: a program that has no ROCm starts all the
//! same, and any library with the same ABI can take its place.
//!
//! [`bindings`] is generated (`cargo xtask hip-bindings`); [`Library`] finds the library and checks its
//! version. Safe wrappers are in the crate `kernels-hip`.

#[allow(missing_docs, non_camel_case_types, non_snake_case, non_upper_case_globals, clippy::all)]
#[allow(clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]
#[rustfmt::skip]
pub mod bindings;
mod emulator;
mod library;

pub use emulator::Emulator;
pub use library::{LIBRARY_VAR, Library, LoadError};
