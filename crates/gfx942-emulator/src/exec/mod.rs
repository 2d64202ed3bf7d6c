//! Execution: waves, registers, memory.

mod wave;

pub use wave::{Lanes, Mode, Wave};
