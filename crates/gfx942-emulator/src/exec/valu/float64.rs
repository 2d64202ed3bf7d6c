//! f64 sums, products and comparisons that choose.

use super::call::{Call, multiversion};
use super::directed;
use super::extreme::{max_f64, min_f64};
use super::trig;
use crate::exec::Trap;
use crate::isa::Op;
use crate::numeric::Rounding;

multiversion!(execute, body);

#[inline(always)]
fn body(call: &mut Call<'_>) -> Result<(), Trap> {
    use Op::*;
    let ieee = call.wave.mode.ieee();
    match call.op() {
        v_min_f64 => call.map2(|a: f64, b: f64| min_f64(a, b, ieee)),
        v_max_f64 => call.map2(|a: f64, b: f64| max_f64(a, b, ieee)),
        v_trig_preop_f64 => call.map2(|a: f64, b: u32| trig::preop(a, b)),
        _ if call.wave.mode.round_f16_f64() != 0 => rounded(call),
        v_add_f64 => call.map2(|a: f64, b: f64| a + b),
        v_mul_f64 => call.map2(|a: f64, b: f64| a * b),
        v_fma_f64 => call.map3(|a: f64, b: f64, c: f64| a.mul_add(b, c)),
        v_fmac_f64 => call.accumulate(|a: f64, b: f64, c: f64| a.mul_add(b, c)),
        _ => call.unimplemented(),
    }
}

/// The same under a MODE that does not round to nearest.
#[inline(never)]
fn rounded(call: &mut Call<'_>) -> Result<(), Trap> {
    let rounding = Rounding::of(call.wave.mode.round_f16_f64());
    match call.op() {
        Op::v_add_f64 => call.map2(|a: f64, b: f64| directed::add_f64(a, b, rounding)),
        op => Err(Trap::Unimplemented(format!("{} rounded other than to nearest", op.name()))),
    }
}
