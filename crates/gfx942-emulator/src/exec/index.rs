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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::Mode;
    use crate::exec::testing::inst;
    use crate::isa::Format;

    #[test]
    fn m0_chooses_operands_and_distance() {
        let mut wave = Wave::new(0, Mode(0), 0, 0);
        let mut add = inst(Op::v_add_u32, Format::Vop2);
        add.dst = Operand::vgpr(1);
        add.src[..2].copy_from_slice(&[Operand::sgpr(2), Operand::vgpr(3)]);
        let mut moved = |m0, inst: &Inst| {
            wave.set_scalar(Operand::M0.0, m0);
            indexed(&wave, inst).map(|inst| (inst.dst.0, inst.src[0].0, inst.src[1].0))
        };
        assert_eq!(moved(0x0005, &add), Ok((257, 2, 259)));
        assert_eq!(moved(0x8005, &add), Ok((262, 2, 259)));
        // SGPRs stay.
        assert_eq!(moved(0x3005, &add), Ok((257, 2, 264)));
        assert!(matches!(moved(0x20ff, &add), Err(Trap::Undefined(_))));
        let mut write = add;
        write.op = Op::v_writelane_b32;
        assert_eq!(moved(0xf005, &write), Ok((262, 2, 259)));
    }
}
