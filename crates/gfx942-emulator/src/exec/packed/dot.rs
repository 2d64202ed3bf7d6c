//! Dot products of what two registers hold, added to a third.

use super::operands::{destination, halves, map, packed, plain, source};
use super::single::finish;
use crate::WAVE_SIZE;
use crate::exec::sources::Kind;
use crate::exec::{Mode, Trap, Wave};
use crate::isa::{Flags, Inst, Op};
use crate::numeric::{F16Rules, flush_f32};

/// Executes `inst`. With a clamp, integer results saturate.
pub(super) fn execute(wave: &mut Wave, inst: &Inst) -> Result<(), Trap> {
    let accumulates = inst.op.name().contains("c_");
    let floats = matches!(inst.op, Op::v_dot2_f32_f16 | Op::v_dot2c_f32_f16);
    if !floats || accumulates {
        plain(inst, !accumulates)?;
    }
    let kind = if floats { Kind::F16 } else { Kind::B32 };
    let mut sources = [[0; WAVE_SIZE]; 3];
    let by_halves = inst.op.name().starts_with("v_dot2");
    for (index, values) in sources.iter_mut().take(2).enumerate() {
        if !by_halves && halves(inst, index)[0] {
            return Err(Trap::Unimplemented(format!("{} with op_sel", inst.op.name())));
        }
        *values = if by_halves {
            packed(wave, inst, index, kind)?
        } else {
            source(wave, inst, index, kind)?
        };
        let sign = |bits: u8| u32::from(bits >> index & 1) << 15;
        let signs = sign(inst.modifiers.neg) | sign(inst.modifiers.abs) << 16;
        values.iter_mut().for_each(|bits| *bits ^= signs);
    }
    sources[2] = if accumulates {
        *wave.vector(destination(inst)?)
    } else {
        source(wave, inst, 2, if floats { Kind::F32 } else { Kind::B32 })?
    };
    let clamp = inst.flags.has(Flags::CLAMP);
    if floats {
        return float(wave, inst, sources, clamp);
    }
    macro_rules! each {
        ($signed:literal, $bits:literal) => {
            map(wave, inst, &sources, |a, b, c| integer::<$signed, $bits>(a, b, c, clamp))
        };
    }
    match inst.op {
        Op::v_dot2_i32_i16 | Op::v_dot2c_i32_i16 => each!(true, 16),
        Op::v_dot2_u32_u16 => each!(false, 16),
        Op::v_dot4_i32_i8 | Op::v_dot4c_i32_i8 => each!(true, 8),
        Op::v_dot4_u32_u8 => each!(false, 8),
        Op::v_dot8_i32_i4 | Op::v_dot8c_i32_i4 => each!(true, 4),
        Op::v_dot8_u32_u4 => each!(false, 4),
        _ => Err(Trap::Unimplemented(inst.op.name().into())),
    }
}

/// c + a · b over elements of `BITS` bits.
#[inline(always)]
fn integer<const SIGNED: bool, const BITS: u32>(a: u32, b: u32, c: u32, clamp: bool) -> u32 {
    let element = |bits: u32, index: u32| {
        let top = bits << (32 - BITS - index * BITS);
        if SIGNED { i64::from(top as i32 >> (32 - BITS)) } else { i64::from(top >> (32 - BITS)) }
    };
    let start = if SIGNED { i64::from(c as i32) } else { i64::from(c) };
    let sum = (0..32 / BITS).fold(start, |sum, index| sum + element(a, index) * element(b, index));
    match (clamp, SIGNED) {
        (false, _) => sum as u32,
        (true, true) => sum.clamp(i32::MIN.into(), i32::MAX.into()) as u32,
        (true, false) => sum.clamp(0, u32::MAX.into()) as u32,
    }
}

/// The third source, plus the product of the low halves, plus that of the high ones; each is rounded to nearest even.
/// Denormals are flushed at both ends, whatever MODE says (manual, 6.4).
fn float(
    wave: &mut Wave,
    inst: &Inst,
    sources: [crate::exec::Lanes; 3],
    clamp: bool,
) -> Result<(), Trap> {
    if inst.flags.0 & !Flags::CLAMP.0 != 0
        || inst.modifiers.neg >> 2 & 1 != 0
        || inst.modifiers.abs >> 2 & 1 != 0
    {
        return Err(Trap::Unimplemented(format!("{} with {:?}", inst.op.name(), inst.modifiers)));
    }
    // Everything of MODE that still counts is what a clamp makes of NaN.
    let mode = Mode(wave.mode.0 & 1 << 8);
    let rules = F16Rules { keep_source_denormals: false, ..F16Rules::IEEE };
    map(wave, inst, &sources, |a, b, c| {
        let low = rules.read(a as u16) * rules.read(b as u16);
        let high = rules.read((a >> 16) as u16) * rules.read((b >> 16) as u16);
        finish(f32::from_bits(flush_f32(c)) + low + high, mode, clamp)
    })
}
