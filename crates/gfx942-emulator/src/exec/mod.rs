//! Execution: waves, registers, memory.
//!
//! [`step()`] executes one instruction of one [`Wave`] in a [`Context`], through the module of its [`Unit`]:
//! `salu`, `control`, `valu`, `packed`, `mfma`, `memory`.

mod context;
mod control;
mod hwreg;
mod index;
pub mod memory;
pub mod mfma;
mod observer;
pub mod packed;
mod program;
mod registers;
mod salu;
mod sources;
mod step;
#[cfg(test)]
mod testing;
mod trap;
mod unit;
mod valu;
mod wave;

pub use context::{Context, Options, Ulp, WaveId};
pub use observer::{Access, AccessKind, Observer, Space};
pub use program::{Program, Slot};
pub use registers::Registers;
pub use sources::{PRIVATE_APERTURE, SHARED_APERTURE};
pub use step::{Flow, step};
pub use trap::Trap;
pub use unit::Unit;
pub use wave::{Lanes, Mode, Wave};
