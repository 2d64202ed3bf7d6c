//! Vector arithmetic.

use super::{Options, Trap, Wave};
use crate::isa::Inst;

/// Executes `inst`.
pub(super) fn execute(_wave: &mut Wave, inst: &Inst, _options: &Options) -> Result<(), Trap> {
    Err(Trap::Unimplemented(inst.op.name().into()))
}
