//! Two f32 in two registers.

use super::operands::{Map, destination, halves};
use crate::WAVE_SIZE;
use crate::exec::sources::{Kind, scalar};
use crate::exec::valu::directed;
use crate::exec::{Lanes, Mode, Trap, Wave};
use crate::isa::{Flags, Inst, Op};
use crate::numeric::{Rounding, flush_f32};
use crate::simd;

/// Executes `inst`.
pub(super) fn execute(wave: &mut Wave, inst: &Inst) -> Result<(), Trap> {
    let moves = inst.op == Op::v_pk_mov_b32;
    let allowed = if moves { 0 } else { Flags::CLAMP.0 };
    if inst.flags.0 & !allowed != 0 || moves && inst.modifiers.neg | inst.modifiers.abs != 0 {
        return Err(Trap::Unimplemented(format!("{} with {:?}", inst.op.name(), inst.modifiers)));
    }
    let results = if moves {
        // The low result is from the first source, the high one from the second.
        let half = |high| {
            let select = inst.modifiers.op_sel >> high & 1 != 0;
            source(wave, inst, high, select, &mut None).copied()
        };
        [half(0)?, half(1)?]
    } else {
        [compute(wave, inst, 0)?, compute(wave, inst, 1)?]
    };
    let first = destination(inst)?;
    if first % 256 == 255 {
        return Err(Trap::Undefined(format!(
            "{}: the result ends beyond the registers",
            inst.op.name()
        )));
    }
    for (register, result) in (first..).zip(&results) {
        wave.set_vector(register, wave.exec, result);
    }
    Ok(())
}

/// One of the two registers of source `index`; a constant is put into `constant`.
fn source<'a>(
    wave: &'a Wave,
    inst: &Inst,
    index: usize,
    high: bool,
    constant: &'a mut Option<Lanes>,
) -> Result<&'a Lanes, Trap> {
    let operand = inst.src[index];
    let name = || inst.op.name();
    if let Some(register) = operand.vector_index() {
        if register % 256 + usize::from(high) > 255 {
            return Err(Trap::Undefined(format!("{}: a source ends beyond the registers", name())));
        }
        return Ok(wave.vector(register + usize::from(high)));
    }
    let value = if operand.is_scalar_register() {
        let pair = scalar(wave, inst, operand, Kind::U64)?;
        (pair >> (32 * u32::from(high))) as u32
    } else if high {
        // Compilers ask for a constant's low half only.
        return Err(Trap::Unimplemented(format!("{} with the high half of a constant", name())));
    } else {
        scalar(wave, inst, operand, Kind::F32)? as u32
    };
    Ok(constant.insert([value; WAVE_SIZE]))
}

/// The low result (0) or the high one (1).
fn compute(wave: &Wave, inst: &Inst, half: usize) -> Result<Lanes, Trap> {
    let mode = wave.mode;
    let mut constants = [None; 3];
    let mut sources = [&[0; WAVE_SIZE]; 3];
    for ((index, source_lanes), constant) in sources.iter_mut().enumerate().zip(&mut constants) {
        if inst.src[index].is_some() {
            *source_lanes = source(wave, inst, index, halves(inst, index)[half], constant)?;
        }
    }
    let signs = [inst.modifiers.neg, inst.modifiers.abs][half];
    let [sign_a, sign_b, sign_c] = [0, 1, 2].map(|index| u32::from(signs >> index & 1) << 31);
    let rounding = Rounding::of(mode.round_f32());
    let nearest = rounding == Rounding::NearestEven;
    let clamp = inst.flags.has(Flags::CLAMP);
    let read = read(mode);
    macro_rules! each {
        ($nearest:expr, $directed:expr) => {{
            let finish = |value: f32| finish(value, mode, clamp);
            Ok(if nearest {
                let function = |a: u32, b: u32, c: u32| {
                    finish(($nearest)(read(a ^ sign_a), read(b ^ sign_b), read(c ^ sign_c)))
                };
                simd::run(Map { sources, function })
            } else {
                let function = |a: u32, b: u32, c: u32| {
                    finish(($directed)(read(a ^ sign_a), read(b ^ sign_b), read(c ^ sign_c)))
                };
                simd::run(Map { sources, function })
            })
        }};
    }
    match inst.op {
        Op::v_pk_fma_f32 => {
            each!(|a: f32, b: f32, c: f32| a.mul_add(b, c), |a: f32, b: f32, c: f32| {
                directed::fma_f32(a, b, c, rounding)
            })
        }
        Op::v_pk_mul_f32 => each!(|a: f32, b: f32, _| a * b, |a: f32, b: f32, _| directed::to_f32(
            f64::from(a) * f64::from(b),
            0.0,
            rounding
        )),
        Op::v_pk_add_f32 => each!(
            |a: f32, b: f32, _| a + b,
            |a: f32, b: f32, _| directed::fma_f32(a, 1.0, b, rounding)
        ),
        _ => Err(Trap::Unimplemented(inst.op.name().into())),
    }
}

/// How MODE has an f32 source read.
pub(super) fn read(mode: Mode) -> impl Fn(u32) -> f32 + Copy {
    let keep = mode.denorm_f32() & 1 != 0;
    move |bits| f32::from_bits(if keep { bits } else { flush_f32(bits) })
}

/// The bits of an f32 result.
#[inline(always)]
pub(super) fn finish(value: f32, mode: Mode, clamp: bool) -> u32 {
    let bits = value.to_bits();
    let bits = if mode.denorm_f32() & 2 != 0 { bits } else { flush_f32(bits) };
    if !clamp {
        return bits;
    }
    let value = f32::from_bits(bits);
    match value {
        _ if value.is_nan() => {
            if mode.dx10_clamp() {
                0
            } else {
                bits
            }
        }
        ..=0.0 => 0,
        1.0.. => 1.0_f32.to_bits(),
        _ => bits,
    }
}
