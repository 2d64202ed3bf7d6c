//! What stopped a kernel.

use thiserror::Error;

use crate::exec::Trap;

/// Why a wave could not go on.
#[derive(Clone, PartialEq, Eq, Error, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The instruction could not be executed.
    #[error(transparent)]
    Trap(#[from] Trap),
    /// The stack of a kernel that declares that its size is not known before, for it recurses or calls by pointer.
    #[error(
        "{0}, which is what the kernel descriptor asks for, but it also says that the stack's \
         size is not known before (uses_dynamic_stack)"
    )]
    DynamicStack(Trap),
    /// There is no instruction: the wave left the code, or the bytes are none of gfx942.
    #[error("there is no gfx942 instruction here: the wave jumped astray, or ran past the end")]
    NoInstruction,
    /// The wave executed more instructions than allowed.
    #[error(
        "still running after {0} instructions: an endless loop, or a wait for another work-group"
    )]
    StepLimit(u64),
}

/// What stopped a kernel: the first such wave, by work-groups.
#[derive(Clone, PartialEq, Eq, Error, Debug)]
#[error("{kernel}: work-group {work_group:?}, wave {wave}, pc {pc:#x} ({instruction}): {cause}")]
pub struct Fault {
    /// The kernel.
    pub kernel: String,
    /// The work-group's indices in the grid.
    pub work_group: [u32; 3],
    /// The wave in its work-group.
    pub wave: u32,
    /// Where, relative to the code object's load address: what `llvm-objdump` prints.
    pub pc: u64,
    /// The instruction there.
    pub instruction: String,
    /// Why; not a source, for the text above has it.
    pub cause: Cause,
}
