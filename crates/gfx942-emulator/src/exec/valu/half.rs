//! 16-bit integers.

use super::call::{Call, multiversion};
use crate::exec::Trap;
use crate::isa::Op;

multiversion!(execute, body);

#[inline(always)]
fn body(call: &mut Call<'_>) -> Result<(), Trap> {
    use Op::*;
    match call.op() {
        v_add_u16 if call.clamp() => call.map2(|a: u16, b: u16| a.saturating_add(b)),
        v_add_u16 => call.map2(|a: u16, b: u16| a.wrapping_add(b)),
        v_sub_u16 if call.clamp() => call.map2(|a: u16, b: u16| a.saturating_sub(b)),
        v_sub_u16 => call.map2(|a: u16, b: u16| a.wrapping_sub(b)),
        v_subrev_u16 if call.clamp() => call.map2(|a: u16, b: u16| b.saturating_sub(a)),
        v_subrev_u16 => call.map2(|a: u16, b: u16| b.wrapping_sub(a)),
        v_add_i16 if call.clamp() => call.map2(|a: i16, b: i16| a.saturating_add(b)),
        v_add_i16 => call.map2(|a: i16, b: i16| a.wrapping_add(b)),
        v_sub_i16 if call.clamp() => call.map2(|a: i16, b: i16| a.saturating_sub(b)),
        v_sub_i16 => call.map2(|a: i16, b: i16| a.wrapping_sub(b)),
        v_mul_lo_u16 => call.map2(|a: u16, b: u16| a.wrapping_mul(b)),
        v_lshlrev_b16 => call.map2(|a: u16, b: u16| b << (a & 15)),
        v_lshrrev_b16 => call.map2(|a: u16, b: u16| b >> (a & 15)),
        v_ashrrev_i16 => call.map2(|a: u16, b: i16| b >> (a & 15)),
        v_min_i16 => call.map2(|a: i16, b: i16| a.min(b)),
        v_max_i16 => call.map2(|a: i16, b: i16| a.max(b)),
        v_min_u16 => call.map2(|a: u16, b: u16| a.min(b)),
        v_max_u16 => call.map2(|a: u16, b: u16| a.max(b)),
        v_min3_i16 => call.map3(|a: i16, b: i16, c: i16| a.min(b).min(c)),
        v_min3_u16 => call.map3(|a: u16, b: u16, c: u16| a.min(b).min(c)),
        v_max3_i16 => call.map3(|a: i16, b: i16, c: i16| a.max(b).max(c)),
        v_max3_u16 => call.map3(|a: u16, b: u16, c: u16| a.max(b).max(c)),
        v_med3_i16 => call.map3(|a: i16, b: i16, c: i16| a.min(b).max(a.max(b).min(c))),
        v_med3_u16 => call.map3(|a: u16, b: u16, c: u16| a.min(b).max(a.max(b).min(c))),
        v_mad_u16 | v_mad_legacy_u16 => {
            call.map3(|a: u16, b: u16, c: u16| a.wrapping_mul(b).wrapping_add(c))
        }
        v_mad_i16 | v_mad_legacy_i16 => {
            call.map3(|a: i16, b: i16, c: i16| a.wrapping_mul(b).wrapping_add(c))
        }
        v_pack_b32_f16 => {
            let f16 = crate::numeric::F16Rules::of(call.wave.mode);
            let kept = move |bits: u16| {
                if f16.keep_source_denormals { bits } else { crate::numeric::flush_f16(bits) }
            };
            call.map2(|a: super::value::F16, b: super::value::F16| {
                u32::from(kept(a.0)) | u32::from(kept(b.0)) << 16
            })
        }
        v_sat_pk_u8_i16 => call.map1(|a: u32| saturate(a) | saturate(a >> 16) << 8),
        _ => call.unimplemented(),
    }
}

/// The i16 in the low half as a byte.
#[inline(always)]
fn saturate(value: u32) -> u32 {
    (value as i16).clamp(0, 255) as u32
}
