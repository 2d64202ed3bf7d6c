//! The hand-written HIP kernels for MI300X and their host side.
//!
//! [`registry`] has the code objects that the build compiled; [`variant`] chooses among those of an op.
//! [`Runtime`] loads libamdhip64, [`Device`] owns what lies on a device: [`Stream`], [`Event`], [`Buffer`], [`Module`]. A [`Kernel`] of a module
//! checks its arguments against what the compiler wrote about them before it is launched. [`ops`] are
//! the kernels as functions. [`time_model`] says between which bounds a kernel's time lies on an MI300X,
//! from what it was counted to do.
//!
//! Every error of HIP's keeps the name of the call that returned it.

pub mod backend;
mod buffer;
mod device;
mod emulator;
mod event;
pub mod kv_layout;
mod launch;
mod module;
pub mod ops;
pub mod registry;
mod result;
mod runtime;
mod stream;
pub mod time_model;
pub mod variant;

pub use backend::KernelsHip;
pub use buffer::Buffer;
pub use device::{Device, DeviceInfo, MemoryInfo};
pub use emulator::Emulator;
pub use event::Event;
pub use launch::{Argument, Geometry};
pub use module::{Kernel, Module};
pub use result::{Error, HipError, Result};
pub use runtime::Runtime;
pub use stream::Stream;
