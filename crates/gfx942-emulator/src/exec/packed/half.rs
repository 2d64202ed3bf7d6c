//! Two f16 in each register, under MODE's rules for f16.

use super::operands::{destination, map, packed};
use crate::WAVE_SIZE;
use crate::exec::sources::Kind;
use crate::exec::valu::extreme::{max_f32, min_f32};
use crate::exec::{Trap, Wave};
use crate::isa::{Flags, Format, Inst, Op};
use crate::numeric::{F16Rules, f16};

/// Executes `inst`.
pub(super) fn execute(wave: &mut Wave, inst: &Inst) -> Result<(), Trap> {
    if inst.format != Format::Vop3p && (inst.modifiers != Default::default() || inst.flags.0 != 0) {
        return Err(Trap::Unimplemented(format!("{} with modifiers", inst.op.name())));
    }
    let mut sources = [[0; WAVE_SIZE]; 3];
    for (index, source) in sources.iter_mut().enumerate() {
        if inst.src[index].is_some() {
            *source = packed(wave, inst, index, Kind::F16)?;
            let sign = |bits: u8| u32::from(bits >> index & 1) << 15;
            let signs = sign(inst.modifiers.neg) | sign(inst.modifiers.abs) << 16;
            source.iter_mut().for_each(|bits| *bits ^= signs);
        }
    }
    if inst.op == Op::v_pk_fmac_f16 {
        sources[2] = *wave.vector(destination(inst)?);
    }
    let rules = F16Rules::of(wave.mode);
    let (ieee, nan_to_zero) = (wave.mode.ieee(), wave.mode.dx10_clamp());
    let clamp = inst.flags.has(Flags::CLAMP);
    let clamped = |bits: u16| if clamp { clamp_f16(bits, nan_to_zero) } else { bits };
    macro_rules! each {
        ($function:expr) => {
            map(wave, inst, &sources, |a, b, c| {
                let low = clamped(($function)(a as u16, b as u16, c as u16));
                let high =
                    clamped(($function)((a >> 16) as u16, (b >> 16) as u16, (c >> 16) as u16));
                u32::from(high) << 16 | u32::from(low)
            })
        };
    }
    match inst.op {
        Op::v_pk_fma_f16 | Op::v_pk_fmac_f16 => each!(|a, b, c| rules.fma(a, b, c)),
        Op::v_pk_add_f16 => each!(|a, b, _| rules.add(a, b)),
        Op::v_pk_mul_f16 => each!(|a, b, _| rules.mul(a, b)),
        Op::v_pk_min_f16 => {
            each!(|a, b, _| rules.round(min_f32(rules.read(a), rules.read(b), ieee)))
        }
        Op::v_pk_max_f16 => {
            each!(|a, b, _| rules.round(max_f32(rules.read(a), rules.read(b), ieee)))
        }
        _ => Err(Trap::Unimplemented(inst.op.name().into())),
    }
}

/// An f16 between 0 and 1; a NaN is 0 if `nan_to_zero`.
#[inline(always)]
pub(super) fn clamp_f16(bits: u16, nan_to_zero: bool) -> u16 {
    let value = f16::to_f32(bits);
    if value.is_nan() {
        return if nan_to_zero { 0 } else { bits };
    }
    match value {
        ..=0.0 => 0,
        1.0.. => 0x3c00,
        _ => bits,
    }
}
