//! VGPR indexing: M0 moves the vector registers that an instruction names (manual, 6.6).

use super::{Trap, Wave};
use crate::isa::{Inst, Op, Operand};

/// `inst` with its registers moved as MODE and M0 ask for.
#[cold]
pub(super) fn indexed(wave: &Wave, inst: &Inst) -> Result<Inst, Trap> {
    let m0 = wave.scalar(Operand::M0.0);
    let index = m0 & 0xff;
    let mut inst = *inst;
    let sources = match inst.op {
        // The lane and the value are scalar.
        Op::v_readlane_b32 | Op::v_readfirstlane_b32 => 1,
        Op::v_writelane_b32 => 0,
        _ => 3,
    };
    for (i, source) in inst.src.iter_mut().enumerate().take(sources) {
        if m0 >> (12 + i) & 1 != 0 {
            *source = moved(*source, index)?;
        }
    }
    if m0 >> 15 & 1 != 0 {
        inst.dst = moved(inst.dst, index)?;
    }
    Ok(inst)
}

fn moved(operand: Operand, index: u32) -> Result<Operand, Trap> {
    match u32::from(operand.0) {
        code @ 256..=511 if code + index <= 511 => Ok(Operand((code + index) as u16)),
        code @ 256..=511 => Err(Trap::Undefined(format!(
            "m0 moves v{} to v{}, beyond the registers",
            code - 256,
            code - 256 + index
        ))),
        _ => Ok(operand),
    }
}
