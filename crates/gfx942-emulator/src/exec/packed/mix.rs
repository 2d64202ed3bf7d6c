//! A fused multiply-add whose sources are f32 or f16, each as it likes.

use super::half::clamp_f16;
use super::operands::{destination, map, source};
use super::single::{finish, read};
use crate::WAVE_SIZE;
use crate::exec::sources::Kind;
use crate::exec::{Trap, Wave};
use crate::isa::{Flags, Inst, Op};
use crate::numeric::{F16Rules, Rounding};

/// Executes `inst`. What VOP3P calls the negation of the high half is the absolute value here.
pub(super) fn execute(wave: &mut Wave, inst: &Inst) -> Result<(), Trap> {
    let mode = wave.mode;
    if Rounding::of(mode.round_f32()) != Rounding::NearestEven
        || inst.flags.0 & !Flags::CLAMP.0 != 0
    {
        return Err(Trap::Unimplemented(format!(
            "{} with {mode:?} {:?}",
            inst.op.name(),
            inst.flags
        )));
    }
    let rules = F16Rules::of(mode);
    let mut sources = [[0; WAVE_SIZE]; 3];
    for (index, values) in sources.iter_mut().enumerate() {
        let bit = |bits: u8| bits >> index & 1 != 0;
        let (high, is_f16) = (bit(inst.modifiers.op_sel), bit(inst.modifiers.op_sel_hi));
        if is_f16 && inst.src[index].is_inline_float() {
            return Err(Trap::Unimplemented(format!("{} with an f16 constant", inst.op.name())));
        }
        *values = source(wave, inst, index, Kind::F32)?;
        for bits in values {
            if is_f16 {
                *bits = rules.read((*bits >> (16 * u32::from(high))) as u16).to_bits();
            }
            *bits &= if bit(inst.modifiers.abs) { 0x7fff_ffff } else { u32::MAX };
            *bits ^= u32::from(bit(inst.modifiers.neg)) << 31;
        }
    }
    let clamp = inst.flags.has(Flags::CLAMP);
    let read = read(mode);
    let fma = |a, b, c, clamp| finish(read(a).mul_add(read(b), read(c)), mode, clamp);
    if inst.op == Op::v_fma_mix_f32 {
        return map(wave, inst, &sources, |a, b, c| fma(a, b, c, clamp));
    }
    let half = |a, b, c| {
        let bits = rules.round(f32::from_bits(fma(a, b, c, false)));
        u32::from(if clamp { clamp_f16(bits, mode.dx10_clamp()) } else { bits })
    };
    // The other half of the destination stays.
    let mut result = *wave.vector(destination(inst)?);
    let shift = match inst.op {
        Op::v_fma_mixlo_f16 => 0,
        Op::v_fma_mixhi_f16 => 16,
        _ => return Err(Trap::Unimplemented(inst.op.name().into())),
    };
    for (lane, result) in result.iter_mut().enumerate() {
        let bits = half(sources[0][lane], sources[1][lane], sources[2][lane]);
        *result = *result & !(0xffff << shift) | bits << shift;
    }
    wave.set_vector(destination(inst)?, wave.exec, &result);
    Ok(())
}
