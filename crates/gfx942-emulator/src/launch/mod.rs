//! Launching kernels: code objects in device memory, work-groups over threads, waves in turns.
//!
//! [`Emulator`] owns device memory; [`Emulator::load`] makes a [`Module`] of a code object; [`Emulator::launch`] runs one
//! of its kernels.

mod deal;
mod emulator;
mod fault;
mod initial;
mod module;
mod order;
mod work_group;

pub use emulator::{Emulator, Launch, LaunchError, Order, Settings};
pub use fault::{Cause, Fault};
pub use module::{LoadError, Module};
