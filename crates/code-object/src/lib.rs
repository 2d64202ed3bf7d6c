//! gfx942 code objects, as the launcher and the emulator read them.
//!
//! bytes ► [`extract`] (out of a fat binary or an offload bundle) ► [`CodeObject::parse`] ► [`Kernel`]: its
//! [`KernelDescriptor`], its [`KernelMetadata`], its kernarg segment ([`Kernel::kernarg`]).
//!
//! The format is written down in LLVM's *User Guide for AMDGPU Backend* and in *Clang Offload Bundler*. The bytes
//! are not trusted: every place and size is checked, and nothing here panics.
#![forbid(unsafe_code)]

mod bundle;
mod descriptor;
mod dispatch;
mod elf;
mod error;
mod kernarg;
mod kernel;
mod little_endian;
mod metadata;
mod relocation;
mod resources;
mod target;

pub use bundle::{FatBinaryEntry, container_bytes, entries, extract};
pub use descriptor::{KernelDescriptor, UserSgpr};
pub use dispatch::Dispatch;
pub use elf::{CodeObject, Segment, Symbol, SymbolKind};
pub use error::Error;
pub use kernarg::{Argument, KernargError, KernargSegment};
pub use kernel::Kernel;
pub use metadata::{ArgumentMetadata, Hidden, KernelMetadata, ValueKind};
pub use relocation::Relocation;
pub use resources::{Resources, WorkGroupShape};
pub use target::{Setting, Target};
