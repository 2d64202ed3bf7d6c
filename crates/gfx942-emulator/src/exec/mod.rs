//! Execution: waves, registers, memory.

mod trap;
mod wave;

pub use trap::Trap;
pub use wave::{Lanes, Mode, Wave};
