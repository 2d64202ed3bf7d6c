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
    let mut results = [[0; WAVE_SIZE]; 2];
    for (high, result) in results.iter_mut().enumerate() {
        if moves {
            // The low result is from the first source, the high one from the second.
            *result = source(wave, inst, high, inst.modifiers.op_sel >> high & 1 != 0)?;
            continue;
        }
        let mut sources = [[0; WAVE_SIZE]; 3];
        for (index, values) in sources.iter_mut().enumerate() {
            if inst.src[index].is_some() {
                *values = source(wave, inst, index, halves(inst, index)[high])?;
                let signs = if high == 0 { inst.modifiers.neg } else { inst.modifiers.abs };
                let sign = u32::from(signs >> index & 1) << 31;
                values.iter_mut().for_each(|bits| *bits ^= sign);
            }
        }
        compute(wave.mode, inst, &sources, result)?;
    }
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

/// One of the two registers of source `index`.
fn source(wave: &Wave, inst: &Inst, index: usize, high: bool) -> Result<Lanes, Trap> {
    let operand = inst.src[index];
    let name = inst.op.name();
    if let Some(register) = operand.vector_index() {
        if register % 256 + usize::from(high) > 255 {
            return Err(Trap::Undefined(format!("{name}: a source ends beyond the registers")));
        }
        return Ok(*wave.vector(register + usize::from(high)));
    }
    if operand.is_scalar_register() {
        let pair = scalar(wave, inst, operand, Kind::U64)?;
        return Ok([(pair >> (32 * u32::from(high))) as u32; WAVE_SIZE]);
    }
    if high {
        // Compilers ask for a constant's low half only.
        return Err(Trap::Unimplemented(format!("{name} with the high half of a constant")));
    }
    Ok([scalar(wave, inst, operand, Kind::F32)? as u32; WAVE_SIZE])
}

fn compute(mode: Mode, inst: &Inst, sources: &[Lanes; 3], result: &mut Lanes) -> Result<(), Trap> {
    let rounding = Rounding::of(mode.round_f32());
    let nearest = rounding == Rounding::NearestEven;
    let clamp = inst.flags.has(Flags::CLAMP);
    let read = read(mode);
    macro_rules! each {
        ($nearest:expr, $directed:expr) => {{
            let finish = |value: f32| finish(value, mode, clamp);
            if nearest {
                let function = |a, b, c| finish(($nearest)(read(a), read(b), read(c)));
                simd::run(Map { sources, result, function });
            } else {
                let function = |a, b, c| finish(($directed)(read(a), read(b), read(c)));
                simd::run(Map { sources, result, function });
            }
            Ok(())
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
