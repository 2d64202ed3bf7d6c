//! Matrix instructions and AccVGPR moves.

use super::{Context, Trap, Wave};
use crate::isa::Inst;

/// Executes `inst`.
pub(super) fn execute<O>(
    _wave: &mut Wave,
    inst: &Inst,
    _context: &mut Context<'_, O>,
) -> Result<(), Trap> {
    Err(Trap::Unimplemented(inst.op.name().into()))
}
