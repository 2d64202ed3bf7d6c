//! Operations with a mask of lanes as a further source or result.

use super::call::{Call, STAGING, at, multiversion, pack};
use super::value::{Value, collect};
use crate::exec::sources::{scalar64, set_scalar64};
use crate::exec::wave::expand;
use crate::exec::{Lanes, Trap};
use crate::isa::Op;

multiversion!(execute, body);

#[inline(always)]
fn body(call: &mut Call<'_>) -> Result<(), Trap> {
    use Op::*;
    match call.op() {
        v_cndmask_b32 => {
            let mask = mask(call)?;
            call.lanes2(|i, a: u32, b: u32| if mask[i] != 0 { b } else { a })
        }
        v_add_co_u32 => with_carry(call, &[0; 64], add),
        v_sub_co_u32 => with_carry(call, &[0; 64], subtract),
        v_subrev_co_u32 => with_carry(call, &[0; 64], |a, b, c| subtract(b, a, c)),
        v_addc_co_u32 => with_carry(call, &mask(call)?, add),
        v_subb_co_u32 => with_carry(call, &mask(call)?, subtract),
        v_subbrev_co_u32 => with_carry(call, &mask(call)?, |a, b, c| subtract(b, a, c)),
        v_mad_u64_u32 => multiply_add(call, |a: u32, b: u32, c: u64| {
            (u64::from(a) * u64::from(b)).overflowing_add(c)
        }),
        v_mad_i64_i32 => multiply_add(call, |a: i32, b: i32, c: i64| {
            // The carry of the 65-bit sum: its sign, since both terms are signed.
            let sum = i128::from(a) * i128::from(b) + i128::from(c);
            (sum as i64, sum >> 64 & 1 != 0)
        }),
        _ => call.unimplemented(),
    }
}

/// The mask in the third source, which is VCC in the short encodings.
#[inline(always)]
fn mask(call: &Call<'_>) -> Result<Lanes, Trap> {
    Ok(expand(scalar64(call.wave, call.inst, call.inst.src[2])?))
}

/// Sum and carry of two sources and a carry (0 or all ones).
#[inline(always)]
fn add(a: u32, b: u32, carry: u32) -> (u32, bool) {
    let (sum, first) = a.overflowing_add(b);
    let (sum, second) = sum.overflowing_add(carry & 1);
    (sum, first || second)
}

#[inline(always)]
fn subtract(a: u32, b: u32, borrow: u32) -> (u32, bool) {
    let (difference, first) = a.overflowing_sub(b);
    let (difference, second) = difference.overflowing_sub(borrow & 1);
    (difference, first || second)
}

#[inline(always)]
fn with_carry(
    call: &mut Call<'_>,
    carry: &Lanes,
    f: impl Fn(u32, u32, u32) -> (u32, bool),
) -> Result<(), Trap> {
    let mut staging = [STAGING; 2];
    let [s0, s1] = &mut staging;
    let (a, b) = (call.source::<u32>(0, s0)?, call.source::<u32>(1, s1)?);
    let result = collect!(u32, i => f(at(a, i), at(b, i), carry[i]).0);
    let carries = pack(|i| f(at(a, i), at(b, i), carry[i]).1);
    call.write::<u32>(result)?;
    set_scalar64(call.wave, call.inst.sdst, carries & call.mask)
}

#[inline(always)]
fn multiply_add<A: Value, C: Value>(
    call: &mut Call<'_>,
    f: impl Fn(A, A, C) -> (C, bool),
) -> Result<(), Trap> {
    let mut staging = [STAGING; 3];
    let [s0, s1, s2] = &mut staging;
    let (a, b, c) = (call.source::<A>(0, s0)?, call.source::<A>(1, s1)?, call.source::<C>(2, s2)?);
    let result = collect!(C, i => f(at(a, i), at(b, i), at(c, i)).0);
    let carries = pack(|i| f(at(a, i), at(b, i), at(c, i)).1);
    call.write::<C>(result)?;
    set_scalar64(call.wave, call.inst.sdst, carries & call.mask)
}
