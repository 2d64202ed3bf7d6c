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
    /// A register that the wave does not have. The hardware would read another one, or drop the result.
    #[error("{register} is beyond the {allocated} {file} that the kernel descriptor allocates")]
    Register {
        /// The register.
        register: String,
        /// How many of its file there are.
        allocated: u16,
        /// The file.
        file: &'static str,
    },
    /// A lane touched scratch beyond what it has.
    #[error(
        "lane {lane}: {access} of {num_bytes} bytes at {address:#x} of scratch: a lane has \
         {scratch_bytes}"
    )]
    Scratch {
        /// The lane.
        lane: usize,
        /// `load` or `store`.
        access: &'static str,
        /// Where in the lane's scratch.
        address: u64,
        /// How much was asked for.
        num_bytes: usize,
        /// Bytes of scratch that a lane has.
        scratch_bytes: usize,
    },
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
