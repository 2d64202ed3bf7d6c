//! Reciprocals, roots, powers, logarithms, sines: rounded correctly from f64 (but for a few arguments in 2³²), then
//! moved by a unit in the last place if the launch asks for it. The hardware's own tables are not published.

use super::call::{Call, multiversion};
use super::polynomial::{cos_turns, exp2, log2, sin_turns};
use super::value::F16;
use crate::exec::{Trap, Ulp};
use crate::isa::Op;
use crate::numeric::{F16Rules, flush_f32};

multiversion!(execute, body);

#[inline(always)]
fn body(call: &mut Call<'_>) -> Result<(), Trap> {
    use Op::*;
    let is_exact = call.options.ulp == Ulp::Exact;
    match call.op() {
        v_exp_f32 | v_exp_legacy_f32 if is_exact => call.map1(exact::exp),
        v_log_f32 | v_log_legacy_f32 if is_exact => call.map1(exact::log),
        v_rcp_f32 if is_exact => call.map1(exact::rcp),
        // The compiler divides integers with it by a sequence that is right for the hardware's table, not for a unit more.
        v_rcp_iflag_f32 => call.map1(exact::rcp),
        v_rsq_f32 if is_exact => call.map1(exact::rsq),
        v_sqrt_f32 if is_exact => call.map1(exact::sqrt),
        v_exp_f32 | v_exp_legacy_f32 => flushed(call, exp2),
        v_log_f32 | v_log_legacy_f32 => flushed(call, log2),
        v_rcp_f32 => flushed(call, |a| 1.0 / a),
        v_rsq_f32 => flushed(call, |a| 1.0 / a.sqrt()),
        v_sqrt_f32 => flushed(call, |a| a.sqrt()),
        v_sin_f32 => single(call, sin_turns),
        v_cos_f32 => single(call, cos_turns),
        v_exp_f16 => half(call, exp2),
        v_log_f16 => half(call, log2),
        v_rcp_f16 => half(call, |a| 1.0 / a),
        v_rsq_f16 => half(call, |a| 1.0 / a.sqrt()),
        v_sqrt_f16 => half(call, |a| a.sqrt()),
        v_sin_f16 => half(call, sin_turns),
        v_cos_f16 => half(call, cos_turns),
        // The hardware has 24 good bits only; code must refine them, and does so no worse from all 53.
        v_rcp_f64 => call.map1(|a: f64| 1.0 / a),
        v_rsq_f64 => call.map1(|a: f64| 1.0 / a.sqrt()),
        v_sqrt_f64 => call.map1(f64::sqrt),
        _ => call.unimplemented(),
    }
}

/// An operation that flushes denormals in every mode.
#[inline(always)]
fn flushed(call: &mut Call<'_>, f: impl Fn(f64) -> f64) -> Result<(), Trap> {
    let ulp = call.options.ulp;
    call.map1(|a: f32| flush(round(f(f64::from(flush(a))), a, ulp)))
}

#[inline(always)]
fn single(call: &mut Call<'_>, f: impl Fn(f64) -> f64) -> Result<(), Trap> {
    let ulp = call.options.ulp;
    call.map1(|a: f32| round(f(f64::from(a)), a, ulp))
}

#[inline(always)]
fn flush(value: f32) -> f32 {
    f32::from_bits(flush_f32(value.to_bits()))
}

/// The same without moving the last bit: functions, not closures, so that they are inlined and vectorised.
mod exact {
    use super::{exp2, flush, log2};

    #[inline(always)]
    pub fn exp(a: f32) -> f32 {
        flush(exp2(f64::from(flush(a))) as f32)
    }

    #[inline(always)]
    pub fn log(a: f32) -> f32 {
        flush(log2(f64::from(flush(a))) as f32)
    }

    #[inline(always)]
    pub fn rcp(a: f32) -> f32 {
        flush(1.0 / flush(a))
    }

    #[inline(always)]
    pub fn rsq(a: f32) -> f32 {
        flush((1.0 / f64::from(flush(a)).sqrt()) as f32)
    }

    #[inline(always)]
    pub fn sqrt(a: f32) -> f32 {
        flush(a).sqrt()
    }
}

#[inline(always)]
fn half(call: &mut Call<'_>, f: impl Fn(f64) -> f64) -> Result<(), Trap> {
    let rules = F16Rules::of(call.wave.mode);
    let ulp = call.options.ulp;
    call.map1(|a: F16| {
        let exact = f(f64::from(rules.read(a.0)));
        // An f16 that rounds to zero does so from any f64 this small.
        let exact = if exact.abs() < 1e-30 { exact * 1e-8 * 0.0 } else { exact };
        let rounded = rules.round_f64(exact);
        let value = f64::from(crate::numeric::f16::to_f32(rounded));
        let step = if value == exact || value == 0.0 || !value.is_finite() {
            0
        } else {
            step(ulp, u32::from(a.0))
        };
        F16(rounded.wrapping_add_signed(step as i16))
    })
}

/// An f64 to f32, moved unless it is exact.
#[inline(always)]
fn round(exact: f64, argument: f32, ulp: Ulp) -> f32 {
    let rounded = exact as f32;
    let still = f64::from(rounded) == exact || rounded == 0.0 || !rounded.is_finite();
    let step = if still { 0 } else { step(ulp, argument.to_bits()) };
    f32::from_bits(rounded.to_bits().wrapping_add_signed(step))
}

/// How far to move the result for an argument with these bits, in units away from zero.
#[inline(always)]
fn step(ulp: Ulp, bits: u32) -> i32 {
    match ulp {
        Ulp::Exact => 0,
        Ulp::Up => 1,
        Ulp::Down => -1,
        Ulp::Seeded(seed) => {
            let mixed = (u64::from(bits) ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 33) as i32 % 3 - 1
        }
    }
}

#[cfg(test)]
mod tests;
