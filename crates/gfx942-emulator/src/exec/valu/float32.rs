//! f32 sums, products and comparisons that choose.

use super::call::{Call, multiversion};
use super::directed;
use super::extreme;
use crate::exec::Trap;
use crate::isa::Op;
use crate::numeric::Rounding;

multiversion!(execute, body);

#[inline(always)]
fn body(call: &mut Call<'_>) -> Result<(), Trap> {
    use Op::*;
    let ieee = call.wave.mode.ieee();
    let min = move |a, b| extreme::min_f32(a, b, ieee);
    let max = move |a, b| extreme::max_f32(a, b, ieee);
    match call.op() {
        v_min_f32 => call.map2(min),
        v_max_f32 => call.map2(max),
        v_min3_f32 => call.map3(|a: f32, b: f32, c: f32| min(min(a, b), c)),
        v_max3_f32 => call.map3(|a: f32, b: f32, c: f32| max(max(a, b), c)),
        v_med3_f32 => call.map3(|a: f32, b: f32, c: f32| {
            let any_nan = a.is_nan() || b.is_nan() || c.is_nan();
            let largest = max(max(a, b), c);
            let middle = if largest == a {
                max(b, c)
            } else if largest == b {
                max(a, c)
            } else {
                max(a, b)
            };
            if any_nan { min(min(a, b), c) } else { middle }
        }),
        _ if call.wave.mode.round_f32() != 0 => rounded(call),
        v_add_f32 => call.map2(|a: f32, b: f32| a + b),
        v_sub_f32 => call.map2(|a: f32, b: f32| a - b),
        v_subrev_f32 => call.map2(|a: f32, b: f32| b - a),
        v_mul_f32 => call.map2(|a: f32, b: f32| a * b),
        v_mul_legacy_f32 => {
            call.map2(|a: f32, b: f32| if a == 0.0 || b == 0.0 { 0.0 } else { a * b })
        }
        v_fma_f32 | v_fmamk_f32 | v_fmaak_f32 => {
            call.map3(|a: f32, b: f32, c: f32| a.mul_add(b, c))
        }
        v_fmac_f32 => call.accumulate(|a: f32, b: f32, c: f32| a.mul_add(b, c)),
        _ => call.unimplemented(),
    }
}

/// The same under a MODE that does not round to nearest.
#[inline(never)]
fn rounded(call: &mut Call<'_>) -> Result<(), Trap> {
    use Op::*;
    let rounding = Rounding::of(call.wave.mode.round_f32());
    let add = move |a, b| directed::fma_f32(1.0, a, b, rounding);
    // A product has no zero to be added whose sign would count, hence one of its own sign.
    let mul = move |a: f32, b: f32| {
        directed::fma_f32(a, b, 0f32.copysign(a) * 1f32.copysign(b), rounding)
    };
    let fma = move |a, b, c| directed::fma_f32(a, b, c, rounding);
    match call.op() {
        v_add_f32 => call.map2(add),
        v_sub_f32 => call.map2(|a: f32, b: f32| add(a, -b)),
        v_subrev_f32 => call.map2(|a: f32, b: f32| add(b, -a)),
        v_mul_f32 => call.map2(mul),
        v_mul_legacy_f32 => {
            call.map2(|a: f32, b: f32| if a == 0.0 || b == 0.0 { 0.0 } else { mul(a, b) })
        }
        v_fma_f32 | v_fmamk_f32 | v_fmaak_f32 => call.map3(fma),
        v_fmac_f32 => call.accumulate(fma),
        _ => call.unimplemented(),
    }
}
