//! Whole and fractional parts, exponents and mantissas.

use super::call::{Call, multiversion};
use super::value::F16;
use crate::exec::Trap;
use crate::isa::Op;
use crate::numeric::F16Rules;

multiversion!(execute, body);

#[inline(always)]
fn body(call: &mut Call<'_>) -> Result<(), Trap> {
    use Op::*;
    let rules = F16Rules::of(call.wave.mode);
    let f16 = move |a: F16, f: fn(f32) -> f32| F16(rules.round(f(rules.read(a.0))));
    match call.op() {
        v_trunc_f32 => call.map1(f32::trunc),
        v_ceil_f32 => call.map1(f32::ceil),
        v_rndne_f32 => call.map1(f32::round_ties_even),
        v_floor_f32 => call.map1(f32::floor),
        v_trunc_f64 => call.map1(f64::trunc),
        v_ceil_f64 => call.map1(f64::ceil),
        v_rndne_f64 => call.map1(f64::round_ties_even),
        v_floor_f64 => call.map1(f64::floor),
        v_trunc_f16 => call.map1(|a: F16| f16(a, f32::trunc)),
        v_ceil_f16 => call.map1(|a: F16| f16(a, f32::ceil)),
        v_rndne_f16 => call.map1(|a: F16| f16(a, f32::round_ties_even)),
        v_floor_f16 => call.map1(|a: F16| f16(a, f32::floor)),
        // The fraction of a tiny negative number is the largest below 1, as LLVM relies on.
        v_fract_f32 => call.map1(|a: f32| below_one(a - a.floor(), 1.0 - f32::EPSILON / 2.0)),
        v_fract_f64 => call.map1(|a: f64| {
            let fraction = a - a.floor();
            if fraction >= 1.0 { 1.0 - f64::EPSILON / 2.0 } else { fraction }
        }),
        v_fract_f16 => call.map1(|a: F16| {
            let value = rules.read(a.0);
            let fraction = rules.round(value - value.floor());
            F16(if fraction == 0x3c00 { 0x3bff } else { fraction })
        }),
        v_frexp_exp_i32_f32 => call.map1(|a: f32| frexp_f64(f64::from(a)).1),
        v_frexp_mant_f32 => call.map1(|a: f32| frexp_f64(f64::from(a)).0 as f32),
        v_frexp_exp_i32_f64 => call.map1(|a: f64| frexp_f64(a).1),
        v_frexp_mant_f64 => call.map1(|a: f64| frexp_f64(a).0),
        v_frexp_exp_i16_f16 => call.map1(|a: F16| frexp_f64(f64::from(rules.read(a.0))).1 as i16),
        v_frexp_mant_f16 => {
            call.map1(|a: F16| F16(rules.round(frexp_f64(f64::from(rules.read(a.0))).0 as f32)))
        }
        _ => scale(call),
    }
}

/// Multiplication by powers of two.
#[inline(always)]
fn scale(call: &mut Call<'_>) -> Result<(), Trap> {
    use Op::*;
    let rules = F16Rules::of(call.wave.mode);
    let mode = call.wave.mode;
    match call.op() {
        v_ldexp_f16 => call.map2(|a: F16, b: i16| {
            F16(rules
                .round_f64(f64::from(rules.read(a.0)) * power_of_two(i32::from(b).clamp(-80, 80))))
        }),
        v_ldexp_f32 if mode.round_f32() == 0 => {
            // The product is exact in f64, so that it is rounded once.
            call.map2(|a: f32, b: i32| (f64::from(a) * power_of_two(b.clamp(-400, 400))) as f32)
        }
        v_ldexp_f64 if mode.round_f16_f64() == 0 => call.map2(libm::ldexp),
        v_ldexp_f32 | v_ldexp_f64 => {
            Err(Trap::Unimplemented(format!("{} rounded other than to nearest", call.op().name())))
        }
        _ => call.unimplemented(),
    }
}

/// 2 to a power between −1022 and 1023.
#[inline(always)]
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

#[inline(always)]
fn below_one(fraction: f32, largest: f32) -> f32 {
    if fraction >= 1.0 { largest } else { fraction }
}

/// The mantissa in [½, 1) with the sign, and the exponent; a zero, an infinity or a NaN with the exponent 0.
#[inline(always)]
fn frexp_f64(value: f64) -> (f64, i32) {
    const EXPONENT: u64 = 0x7ff << 52;
    let is_denormal = value.to_bits() & EXPONENT == 0;
    // 2⁵⁴ makes every denormal normal.
    let normal = if is_denormal { value * power_of_two(54) } else { value };
    let bits = normal.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i32 - 1022 - if is_denormal { 54 } else { 0 };
    let mantissa = f64::from_bits(bits & !EXPONENT | 1022 << 52);
    if value == 0.0 || !value.is_finite() { (value + value, 0) } else { (mantissa, exponent) }
}
