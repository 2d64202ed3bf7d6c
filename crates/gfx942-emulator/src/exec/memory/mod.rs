//! Device memory, LDS and scratch, and the instructions that reach them.

use super::{Context, Observer, Trap, Wave};
use crate::isa::Inst;

/// What one wave can reach: device memory, the work-group's LDS, its own scratch.
pub struct Memory<'a>(std::marker::PhantomData<&'a ()>);

/// Executes `inst`. Accesses are reported to the context's observer.
pub(super) fn execute<O: Observer>(
    _wave: &mut Wave,
    inst: &Inst,
    _context: &mut Context<'_, O>,
) -> Result<(), Trap> {
    Err(Trap::Unimplemented(inst.op.name().into()))
}
