//! f16 arithmetic, under the rules of MODE.

use super::call::{Call, multiversion};
use super::extreme::{max_f32, min_f32};
use super::value::F16;
use crate::exec::Trap;
use crate::isa::Op;
use crate::numeric::F16Rules;

multiversion!(execute, body);

#[inline(always)]
fn body(call: &mut Call<'_>) -> Result<(), Trap> {
    use Op::*;
    // The usual rules are a constant, so that code for them has no choices left.
    let usual = F16Rules::of(call.wave.mode) == F16Rules::IEEE;
    match call.op() {
        v_add_f16 if usual => call.map2(usual::add),
        v_mul_f16 if usual => call.map2(usual::mul),
        v_fma_f16 | v_fma_legacy_f16 if usual => call.map3(usual::fma),
        _ => under(call, F16Rules::of(call.wave.mode)),
    }
}

mod usual {
    use super::{F16, F16Rules};

    #[inline(always)]
    pub fn add(a: F16, b: F16) -> F16 {
        F16(F16Rules::IEEE.add(a.0, b.0))
    }

    #[inline(always)]
    pub fn mul(a: F16, b: F16) -> F16 {
        F16(F16Rules::IEEE.mul(a.0, b.0))
    }

    #[inline(always)]
    pub fn fma(a: F16, b: F16, c: F16) -> F16 {
        F16(F16Rules::IEEE.fma(a.0, b.0, c.0))
    }
}

/// Under any rules.
#[inline(always)]
fn under(call: &mut Call<'_>, f16: F16Rules) -> Result<(), Trap> {
    use Op::*;
    let ieee = call.wave.mode.ieee();
    let negated = |a: F16| a.0 ^ 0x8000;
    let min = move |a: f32, b: f32| min_f32(a, b, ieee);
    let max = move |a: f32, b: f32| max_f32(a, b, ieee);
    let read = move |a: F16| f16.read(a.0);
    match call.op() {
        v_add_f16 => call.map2(|a: F16, b: F16| F16(f16.add(a.0, b.0))),
        v_sub_f16 => call.map2(|a: F16, b: F16| F16(f16.add(a.0, negated(b)))),
        v_subrev_f16 => call.map2(|a: F16, b: F16| F16(f16.add(b.0, negated(a)))),
        v_mul_f16 => call.map2(|a: F16, b: F16| F16(f16.mul(a.0, b.0))),
        v_fma_f16 | v_fma_legacy_f16 => {
            call.map3(|a: F16, b: F16, c: F16| F16(f16.fma(a.0, b.0, c.0)))
        }
        v_min_f16 => call.map2(|a: F16, b: F16| exact(min(read(a), read(b)))),
        v_max_f16 => call.map2(|a: F16, b: F16| exact(max(read(a), read(b)))),
        v_min3_f16 => {
            call.map3(|a: F16, b: F16, c: F16| exact(min(min(read(a), read(b)), read(c))))
        }
        v_max3_f16 => {
            call.map3(|a: F16, b: F16, c: F16| exact(max(max(read(a), read(b)), read(c))))
        }
        v_med3_f16 => call.map3(|a: F16, b: F16, c: F16| {
            let (a, b, c) = (read(a), read(b), read(c));
            let largest = max(max(a, b), c);
            let middle = if largest == a {
                max(b, c)
            } else if largest == b {
                max(a, c)
            } else {
                max(a, b)
            };
            let any_nan = a.is_nan() || b.is_nan() || c.is_nan();
            exact(if any_nan { min(min(a, b), c) } else { middle })
        }),
        // The manual does not say whether these keep denormals; where they are flushed anyway it does not matter.
        op if f16.keep_source_denormals || f16.keep_result_denormals => {
            Err(Trap::Unimplemented(format!("{} with denormals", op.name())))
        }
        v_mad_f16 | v_mad_legacy_f16 | v_madak_f16 | v_madmk_f16 => {
            call.map3(|a: F16, b: F16, c: F16| F16(f16.add(f16.mul(a.0, b.0), c.0)))
        }
        v_mac_f16 => call.accumulate(|a: F16, b: F16, c: F16| F16(f16.add(f16.mul(a.0, b.0), c.0))),
        _ => call.unimplemented(),
    }
}

/// An f32 that came from an f16.
#[inline(always)]
fn exact(value: f32) -> F16 {
    F16(F16Rules::IEEE.round(value))
}
