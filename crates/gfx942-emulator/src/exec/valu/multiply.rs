//! Integer products, whole and of 24 or 16 bits.

use super::call::{Call, multiversion};
use crate::exec::Trap;
use crate::isa::Op;

multiversion!(execute, body);

#[inline(always)]
fn body(call: &mut Call<'_>) -> Result<(), Trap> {
    use Op::*;
    match call.op() {
        v_mul_lo_u32 => call.map2(|a: u32, b: u32| a.wrapping_mul(b)),
        v_mul_hi_u32 => call.map2(|a: u32, b: u32| ((u64::from(a) * u64::from(b)) >> 32) as u32),
        v_mul_hi_i32 => call.map2(|a: i32, b: i32| ((i64::from(a) * i64::from(b)) >> 32) as i32),
        v_mul_u32_u24 => call.map2(|a: u32, b: u32| u24(a).wrapping_mul(u24(b))),
        v_mul_i32_i24 => call.map2(|a: i32, b: i32| i24(a).wrapping_mul(i24(b))),
        v_mul_hi_u32_u24 => {
            call.map2(|a: u32, b: u32| ((u64::from(u24(a)) * u64::from(u24(b))) >> 32) as u32)
        }
        v_mul_hi_i32_i24 => {
            call.map2(|a: i32, b: i32| ((i64::from(i24(a)) * i64::from(i24(b))) >> 32) as i32)
        }
        v_mad_u32_u24 => {
            call.map3(|a: u32, b: u32, c: u32| u24(a).wrapping_mul(u24(b)).wrapping_add(c))
        }
        v_mad_i32_i24 => {
            call.map3(|a: i32, b: i32, c: i32| i24(a).wrapping_mul(i24(b)).wrapping_add(c))
        }
        v_mad_u32_u16 => {
            call.map3(|a: u16, b: u16, c: u32| (u32::from(a) * u32::from(b)).wrapping_add(c))
        }
        v_mad_i32_i16 => {
            call.map3(|a: i16, b: i16, c: i32| (i32::from(a) * i32::from(b)).wrapping_add(c))
        }
        _ => call.unimplemented(),
    }
}

#[inline(always)]
fn u24(value: u32) -> u32 {
    value & 0xff_ffff
}

#[inline(always)]
fn i24(value: i32) -> i32 {
    value << 8 >> 8
}
