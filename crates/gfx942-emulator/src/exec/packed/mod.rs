//! Packed, dot-product and mixed-precision arithmetic (VOP3P and its relatives in VOP2).

mod dot;
mod half;
mod integer;
mod mix;
mod operands;
mod single;
#[cfg(test)]
mod tests;

use super::{Context, Trap, Wave};
use crate::isa::{Extra, Inst, Op};

/// Executes `inst`.
pub(super) fn execute<O>(
    wave: &mut Wave,
    inst: &Inst,
    _context: &mut Context<'_, O>,
) -> Result<(), Trap> {
    run(wave, inst)
}

/// Executes a packed, dot-product or mixed-precision instruction.
///
/// # Errors
/// Modifiers that the instruction does not have, operands that mean nothing to it.
pub fn run(wave: &mut Wave, inst: &Inst) -> Result<(), Trap> {
    if inst.extra != Extra::None || inst.modifiers.omod != 0 {
        return Err(Trap::Unimplemented(format!(
            "{} with {:?} or omod",
            inst.op.name(),
            inst.extra
        )));
    }
    if matches!(inst.op, Op::v_pk_fma_f32 | Op::v_pk_mul_f32 | Op::v_pk_add_f32 | Op::v_pk_mov_b32)
    {
        return single::execute(wave, inst);
    }
    let name = inst.op.name();
    if name.starts_with("v_dot") {
        dot::execute(wave, inst)
    } else if name.starts_with("v_fma_mix") {
        mix::execute(wave, inst)
    } else if name.ends_with("f16") {
        half::execute(wave, inst)
    } else {
        integer::execute(wave, inst)
    }
}
