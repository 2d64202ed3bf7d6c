//! Why an instruction could not be executed.

use thiserror::Error;

/// Why an instruction could not be executed. Whoever runs the wave adds the kernel, the pc and the disassembly.
#[derive(Clone, PartialEq, Eq, Error, Debug)]
#[non_exhaustive]
pub enum Trap {
    /// The operation, or a modifier or mode of it, is not implemented.
    #[error("{0} is not implemented in the emulator")]
    Unimplemented(String),
    /// What the manual forbids or leaves undefined.
    #[error("{0}")]
    Undefined(String),
    /// A lane touched memory that nobody allocated.
    #[error("lane {lane}: {access} of {num_bytes} bytes at {address:#x}: {reason}")]
    Memory {
        /// The lane, 0 for scalar accesses.
        lane: usize,
        /// `load`, `store` or `atomic`.
        access: &'static str,
        /// The address as the instruction computed it.
        address: u64,
        /// How much was asked for.
        num_bytes: usize,
        /// What is there instead, and the nearest allocation.
        reason: String,
    },
}
