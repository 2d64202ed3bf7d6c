//! Scalar arithmetic.

use super::{Trap, Wave};
use crate::isa::Inst;

/// Executes `inst`.
pub(super) fn execute(_wave: &mut Wave, inst: &Inst) -> Result<(), Trap> {
    Err(Trap::Unimplemented(inst.op.name().into()))
}
