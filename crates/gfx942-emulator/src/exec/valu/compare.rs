//! Comparisons: a mask of the lanes for which something holds, to SGPRs, and for `v_cmpx` to EXEC as well.

use super::call::{Call, multiversion};
use super::value::F16;
use crate::exec::Trap;
use crate::exec::sources::set_scalar64;
use crate::isa::Op;
use crate::numeric::F16Rules;

multiversion!(execute, body);

#[inline(always)]
fn body(call: &mut Call<'_>) -> Result<(), Trap> {
    let mask = test(call)?;
    if call.op() as u16 >= Op::v_cmpx_class_f16 as u16 {
        call.wave.exec = mask;
    }
    set_scalar64(call.wave, call.inst.sdst, mask)
}

/// The lanes for which the comparison holds. The clamp bit would only make NaNs signal.
// `n…` is the negation: with a NaN it is not the opposite comparison.
#[expect(clippy::neg_cmp_op_on_partial_ord, clippy::double_comparisons)]
#[inline(always)]
fn test(call: &Call<'_>) -> Result<u64, Trap> {
    use Op::*;
    let f16 = F16Rules::of(call.wave.mode);
    match call.op() {
        v_cmp_lt_i16 | v_cmpx_lt_i16 => call.test2(|a: i16, b: i16| a < b),
        v_cmp_eq_i16 | v_cmpx_eq_i16 => call.test2(|a: i16, b: i16| a == b),
        v_cmp_le_i16 | v_cmpx_le_i16 => call.test2(|a: i16, b: i16| a <= b),
        v_cmp_gt_i16 | v_cmpx_gt_i16 => call.test2(|a: i16, b: i16| a > b),
        v_cmp_ne_i16 | v_cmpx_ne_i16 => call.test2(|a: i16, b: i16| a != b),
        v_cmp_ge_i16 | v_cmpx_ge_i16 => call.test2(|a: i16, b: i16| a >= b),
        v_cmp_lt_u16 | v_cmpx_lt_u16 => call.test2(|a: u16, b: u16| a < b),
        v_cmp_eq_u16 | v_cmpx_eq_u16 => call.test2(|a: u16, b: u16| a == b),
        v_cmp_le_u16 | v_cmpx_le_u16 => call.test2(|a: u16, b: u16| a <= b),
        v_cmp_gt_u16 | v_cmpx_gt_u16 => call.test2(|a: u16, b: u16| a > b),
        v_cmp_ne_u16 | v_cmpx_ne_u16 => call.test2(|a: u16, b: u16| a != b),
        v_cmp_ge_u16 | v_cmpx_ge_u16 => call.test2(|a: u16, b: u16| a >= b),
        v_cmp_lt_i32 | v_cmpx_lt_i32 => call.test2(|a: i32, b: i32| a < b),
        v_cmp_eq_i32 | v_cmpx_eq_i32 => call.test2(|a: i32, b: i32| a == b),
        v_cmp_le_i32 | v_cmpx_le_i32 => call.test2(|a: i32, b: i32| a <= b),
        v_cmp_gt_i32 | v_cmpx_gt_i32 => call.test2(|a: i32, b: i32| a > b),
        v_cmp_ne_i32 | v_cmpx_ne_i32 => call.test2(|a: i32, b: i32| a != b),
        v_cmp_ge_i32 | v_cmpx_ge_i32 => call.test2(|a: i32, b: i32| a >= b),
        v_cmp_lt_u32 | v_cmpx_lt_u32 => call.test2(|a: u32, b: u32| a < b),
        v_cmp_eq_u32 | v_cmpx_eq_u32 => call.test2(|a: u32, b: u32| a == b),
        v_cmp_le_u32 | v_cmpx_le_u32 => call.test2(|a: u32, b: u32| a <= b),
        v_cmp_gt_u32 | v_cmpx_gt_u32 => call.test2(|a: u32, b: u32| a > b),
        v_cmp_ne_u32 | v_cmpx_ne_u32 => call.test2(|a: u32, b: u32| a != b),
        v_cmp_ge_u32 | v_cmpx_ge_u32 => call.test2(|a: u32, b: u32| a >= b),
        v_cmp_lt_i64 | v_cmpx_lt_i64 => call.test2(|a: i64, b: i64| a < b),
        v_cmp_eq_i64 | v_cmpx_eq_i64 => call.test2(|a: i64, b: i64| a == b),
        v_cmp_le_i64 | v_cmpx_le_i64 => call.test2(|a: i64, b: i64| a <= b),
        v_cmp_gt_i64 | v_cmpx_gt_i64 => call.test2(|a: i64, b: i64| a > b),
        v_cmp_ne_i64 | v_cmpx_ne_i64 => call.test2(|a: i64, b: i64| a != b),
        v_cmp_ge_i64 | v_cmpx_ge_i64 => call.test2(|a: i64, b: i64| a >= b),
        v_cmp_lt_u64 | v_cmpx_lt_u64 => call.test2(|a: u64, b: u64| a < b),
        v_cmp_eq_u64 | v_cmpx_eq_u64 => call.test2(|a: u64, b: u64| a == b),
        v_cmp_le_u64 | v_cmpx_le_u64 => call.test2(|a: u64, b: u64| a <= b),
        v_cmp_gt_u64 | v_cmpx_gt_u64 => call.test2(|a: u64, b: u64| a > b),
        v_cmp_ne_u64 | v_cmpx_ne_u64 => call.test2(|a: u64, b: u64| a != b),
        v_cmp_ge_u64 | v_cmpx_ge_u64 => call.test2(|a: u64, b: u64| a >= b),
        v_cmp_lt_f16 | v_cmpx_lt_f16 => call.test2(|a: F16, b: F16| f16.read(a.0) < f16.read(b.0)),
        v_cmp_eq_f16 | v_cmpx_eq_f16 => call.test2(|a: F16, b: F16| f16.read(a.0) == f16.read(b.0)),
        v_cmp_le_f16 | v_cmpx_le_f16 => call.test2(|a: F16, b: F16| f16.read(a.0) <= f16.read(b.0)),
        v_cmp_gt_f16 | v_cmpx_gt_f16 => call.test2(|a: F16, b: F16| f16.read(a.0) > f16.read(b.0)),
        v_cmp_lg_f16 | v_cmpx_lg_f16 => call
            .test2(|a: F16, b: F16| f16.read(a.0) < f16.read(b.0) || f16.read(a.0) > f16.read(b.0)),
        v_cmp_ge_f16 | v_cmpx_ge_f16 => call.test2(|a: F16, b: F16| f16.read(a.0) >= f16.read(b.0)),
        v_cmp_o_f16 | v_cmpx_o_f16 => {
            call.test2(|a: F16, b: F16| !f16.read(a.0).is_nan() && !f16.read(b.0).is_nan())
        }
        v_cmp_u_f16 | v_cmpx_u_f16 => {
            call.test2(|a: F16, b: F16| f16.read(a.0).is_nan() || f16.read(b.0).is_nan())
        }
        v_cmp_nge_f16 | v_cmpx_nge_f16 => {
            call.test2(|a: F16, b: F16| !(f16.read(a.0) >= f16.read(b.0)))
        }
        v_cmp_nlg_f16 | v_cmpx_nlg_f16 => call.test2(|a: F16, b: F16| {
            !(f16.read(a.0) < f16.read(b.0) || f16.read(a.0) > f16.read(b.0))
        }),
        v_cmp_ngt_f16 | v_cmpx_ngt_f16 => {
            call.test2(|a: F16, b: F16| !(f16.read(a.0) > f16.read(b.0)))
        }
        v_cmp_nle_f16 | v_cmpx_nle_f16 => {
            call.test2(|a: F16, b: F16| !(f16.read(a.0) <= f16.read(b.0)))
        }
        v_cmp_neq_f16 | v_cmpx_neq_f16 => {
            call.test2(|a: F16, b: F16| f16.read(a.0) != f16.read(b.0))
        }
        v_cmp_nlt_f16 | v_cmpx_nlt_f16 => {
            call.test2(|a: F16, b: F16| !(f16.read(a.0) < f16.read(b.0)))
        }
        v_cmp_lt_f32 | v_cmpx_lt_f32 => call.test2(|a: f32, b: f32| a < b),
        v_cmp_eq_f32 | v_cmpx_eq_f32 => call.test2(|a: f32, b: f32| a == b),
        v_cmp_le_f32 | v_cmpx_le_f32 => call.test2(|a: f32, b: f32| a <= b),
        v_cmp_gt_f32 | v_cmpx_gt_f32 => call.test2(|a: f32, b: f32| a > b),
        v_cmp_lg_f32 | v_cmpx_lg_f32 => call.test2(|a: f32, b: f32| a < b || a > b),
        v_cmp_ge_f32 | v_cmpx_ge_f32 => call.test2(|a: f32, b: f32| a >= b),
        v_cmp_o_f32 | v_cmpx_o_f32 => call.test2(|a: f32, b: f32| !a.is_nan() && !b.is_nan()),
        v_cmp_u_f32 | v_cmpx_u_f32 => call.test2(|a: f32, b: f32| a.is_nan() || b.is_nan()),
        v_cmp_nge_f32 | v_cmpx_nge_f32 => call.test2(|a: f32, b: f32| !(a >= b)),
        v_cmp_nlg_f32 | v_cmpx_nlg_f32 => call.test2(|a: f32, b: f32| !(a < b || a > b)),
        v_cmp_ngt_f32 | v_cmpx_ngt_f32 => call.test2(|a: f32, b: f32| !(a > b)),
        v_cmp_nle_f32 | v_cmpx_nle_f32 => call.test2(|a: f32, b: f32| !(a <= b)),
        v_cmp_neq_f32 | v_cmpx_neq_f32 => call.test2(|a: f32, b: f32| a != b),
        v_cmp_nlt_f32 | v_cmpx_nlt_f32 => call.test2(|a: f32, b: f32| !(a < b)),
        v_cmp_lt_f64 | v_cmpx_lt_f64 => call.test2(|a: f64, b: f64| a < b),
        v_cmp_eq_f64 | v_cmpx_eq_f64 => call.test2(|a: f64, b: f64| a == b),
        v_cmp_le_f64 | v_cmpx_le_f64 => call.test2(|a: f64, b: f64| a <= b),
        v_cmp_gt_f64 | v_cmpx_gt_f64 => call.test2(|a: f64, b: f64| a > b),
        v_cmp_lg_f64 | v_cmpx_lg_f64 => call.test2(|a: f64, b: f64| a < b || a > b),
        v_cmp_ge_f64 | v_cmpx_ge_f64 => call.test2(|a: f64, b: f64| a >= b),
        v_cmp_o_f64 | v_cmpx_o_f64 => call.test2(|a: f64, b: f64| !a.is_nan() && !b.is_nan()),
        v_cmp_u_f64 | v_cmpx_u_f64 => call.test2(|a: f64, b: f64| a.is_nan() || b.is_nan()),
        v_cmp_nge_f64 | v_cmpx_nge_f64 => call.test2(|a: f64, b: f64| !(a >= b)),
        v_cmp_nlg_f64 | v_cmpx_nlg_f64 => call.test2(|a: f64, b: f64| !(a < b || a > b)),
        v_cmp_ngt_f64 | v_cmpx_ngt_f64 => call.test2(|a: f64, b: f64| !(a > b)),
        v_cmp_nle_f64 | v_cmpx_nle_f64 => call.test2(|a: f64, b: f64| !(a <= b)),
        v_cmp_neq_f64 | v_cmpx_neq_f64 => call.test2(|a: f64, b: f64| a != b),
        v_cmp_nlt_f64 | v_cmpx_nlt_f64 => call.test2(|a: f64, b: f64| !(a < b)),
        v_cmp_f_i16 | v_cmpx_f_i16 | v_cmp_f_u16 | v_cmpx_f_u16 | v_cmp_f_i32 | v_cmpx_f_i32
        | v_cmp_f_u32 | v_cmpx_f_u32 | v_cmp_f_i64 | v_cmpx_f_i64 | v_cmp_f_u64 | v_cmpx_f_u64
        | v_cmp_f_f16 | v_cmpx_f_f16 | v_cmp_f_f32 | v_cmpx_f_f32 | v_cmp_f_f64 | v_cmpx_f_f64 => {
            Ok(0)
        }
        v_cmp_t_i16 | v_cmpx_t_i16 | v_cmp_t_u16 | v_cmpx_t_u16 | v_cmp_t_i32 | v_cmpx_t_i32
        | v_cmp_t_u32 | v_cmpx_t_u32 | v_cmp_t_i64 | v_cmpx_t_i64 | v_cmp_t_u64 | v_cmpx_t_u64
        | v_cmp_tru_f16 | v_cmpx_tru_f16 | v_cmp_tru_f32 | v_cmpx_tru_f32 | v_cmp_tru_f64
        | v_cmpx_tru_f64 => Ok(call.wave.exec),
        v_cmp_class_f16 | v_cmpx_class_f16 => {
            call.test2(|a: F16, b: u32| b >> class(a.0.into(), 15, 10) & 1 != 0)
        }
        v_cmp_class_f32 | v_cmpx_class_f32 => {
            call.test2(|a: f32, b: u32| b >> class(a.to_bits().into(), 31, 23) & 1 != 0)
        }
        v_cmp_class_f64 | v_cmpx_class_f64 => {
            call.test2(|a: f64, b: u32| b >> class(a.to_bits(), 63, 52) & 1 != 0)
        }
        _ => Err(Trap::Unimplemented(call.op().name().into())),
    }
}

/// The class of a float with its sign at bit `sign` and `fraction` bits of fraction: 0 signalling NaN, 1 quiet NaN,
/// then −∞, negative normal, denormal and zero, and the positive ones in the opposite order.
#[inline(always)]
fn class(bits: u64, sign: u32, fraction: u32) -> u32 {
    let magnitude = bits & ((1 << sign) - 1);
    let infinity = ((1 << (sign - fraction)) - 1) << fraction;
    if magnitude > infinity {
        return (magnitude >> (fraction - 1) & 1) as u32;
    }
    let negative = if magnitude == infinity {
        2
    } else if magnitude >> fraction != 0 {
        3
    } else if magnitude != 0 {
        4
    } else {
        5
    };
    if bits >> sign & 1 != 0 { negative } else { 11 - negative }
}
