//! Control flow.

use super::{Flow, Trap, Wave};
use crate::isa::Inst;

/// Executes `inst`.
pub(super) fn execute(_wave: &mut Wave, inst: &Inst) -> Result<Flow, Trap> {
    Err(Trap::Unimplemented(inst.op.name().into()))
}
