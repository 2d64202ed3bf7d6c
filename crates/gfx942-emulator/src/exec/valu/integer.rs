//! 32-bit integers and bits.

use super::call::{Call, multiversion};
use crate::exec::Trap;
use crate::isa::Op;

multiversion!(execute, body);

#[inline(always)]
fn body(call: &mut Call<'_>) -> Result<(), Trap> {
    use Op::*;
    match call.op() {
        v_mov_b32 => call.map1(|a: u32| a),
        v_not_b32 => call.map1(|a: u32| !a),
        v_bfrev_b32 => call.map1(|a: u32| a.reverse_bits()),
        v_ffbh_u32 => call.map1(|a: u32| found(a.leading_zeros())),
        v_ffbl_b32 => call.map1(|a: u32| found(a.trailing_zeros())),
        v_ffbh_i32 => call.map1(|a: i32| found((a ^ a >> 31).leading_zeros())),
        v_bcnt_u32_b32 => call.map2(|a: u32, b: u32| a.count_ones().wrapping_add(b)),
        v_and_b32 => call.map2(|a: u32, b: u32| a & b),
        v_or_b32 => call.map2(|a: u32, b: u32| a | b),
        v_xor_b32 => call.map2(|a: u32, b: u32| a ^ b),
        v_xnor_b32 => call.map2(|a: u32, b: u32| !(a ^ b)),
        v_lshlrev_b32 => call.map2(|a: u32, b: u32| b << (a & 31)),
        v_lshrrev_b32 => call.map2(|a: u32, b: u32| b >> (a & 31)),
        v_ashrrev_i32 => call.map2(|a: u32, b: i32| b >> (a & 31)),
        v_add_u32 if call.clamp() => call.map2(|a: u32, b: u32| a.saturating_add(b)),
        v_add_u32 => call.map2(|a: u32, b: u32| a.wrapping_add(b)),
        v_sub_u32 if call.clamp() => call.map2(|a: u32, b: u32| a.saturating_sub(b)),
        v_sub_u32 => call.map2(|a: u32, b: u32| a.wrapping_sub(b)),
        v_subrev_u32 if call.clamp() => call.map2(|a: u32, b: u32| b.saturating_sub(a)),
        v_subrev_u32 => call.map2(|a: u32, b: u32| b.wrapping_sub(a)),
        v_add_i32 if call.clamp() => call.map2(|a: i32, b: i32| a.saturating_add(b)),
        v_add_i32 => call.map2(|a: i32, b: i32| a.wrapping_add(b)),
        v_sub_i32 if call.clamp() => call.map2(|a: i32, b: i32| a.saturating_sub(b)),
        v_sub_i32 => call.map2(|a: i32, b: i32| a.wrapping_sub(b)),
        v_min_i32 => call.map2(|a: i32, b: i32| a.min(b)),
        v_max_i32 => call.map2(|a: i32, b: i32| a.max(b)),
        v_min_u32 => call.map2(|a: u32, b: u32| a.min(b)),
        v_max_u32 => call.map2(|a: u32, b: u32| a.max(b)),
        v_bfm_b32 => call.map2(|a: u32, b: u32| ones(a) << (b & 31)),
        _ => three(call),
    }
}

/// Three sources.
#[inline(always)]
fn three(call: &mut Call<'_>) -> Result<(), Trap> {
    use Op::*;
    match call.op() {
        v_min3_i32 => call.map3(|a: i32, b: i32, c: i32| a.min(b).min(c)),
        v_min3_u32 => call.map3(|a: u32, b: u32, c: u32| a.min(b).min(c)),
        v_max3_i32 => call.map3(|a: i32, b: i32, c: i32| a.max(b).max(c)),
        v_max3_u32 => call.map3(|a: u32, b: u32, c: u32| a.max(b).max(c)),
        v_med3_i32 => call.map3(|a: i32, b: i32, c: i32| a.min(b).max(a.max(b).min(c))),
        v_med3_u32 => call.map3(|a: u32, b: u32, c: u32| a.min(b).max(a.max(b).min(c))),
        v_bfe_u32 => call.map3(|a: u32, b: u32, c: u32| a >> (b & 31) & ones(c)),
        v_bfe_i32 => call.map3(|a: i32, b: u32, c: u32| signed_field(a >> (b & 31), c & 31)),
        v_bfi_b32 => call.map3(|a: u32, b: u32, c: u32| a & b | !a & c),
        v_alignbit_b32 => call.map3(|a: u32, b: u32, c: u32| align(a, b, c & 31)),
        v_alignbyte_b32 => call.map3(|a: u32, b: u32, c: u32| align(a, b, (c & 3) * 8)),
        v_lshl_add_u32 => call.map3(|a: u32, b: u32, c: u32| (a << (b & 31)).wrapping_add(c)),
        v_add_lshl_u32 => call.map3(|a: u32, b: u32, c: u32| a.wrapping_add(b) << (c & 31)),
        v_add3_u32 => call.map3(|a: u32, b: u32, c: u32| a.wrapping_add(b).wrapping_add(c)),
        v_lshl_or_b32 => call.map3(|a: u32, b: u32, c: u32| a << (b & 31) | c),
        v_and_or_b32 => call.map3(|a: u32, b: u32, c: u32| a & b | c),
        v_or3_b32 => call.map3(|a: u32, b: u32, c: u32| a | b | c),
        v_xad_u32 => call.map3(|a: u32, b: u32, c: u32| (a ^ b).wrapping_add(c)),
        _ => call.unimplemented(),
    }
}

/// A search's result: −1 where nothing was found.
#[inline(always)]
fn found(position: u32) -> u32 {
    if position == 32 { u32::MAX } else { position }
}

/// As many ones as the lowest five bits say.
#[inline(always)]
fn ones(num_bits: u32) -> u32 {
    (1u32 << (num_bits & 31)).wrapping_sub(1)
}

/// The lowest `width` bits, sign-extended.
#[inline(always)]
fn signed_field(value: i32, width: u32) -> i32 {
    let above = 32u32.wrapping_sub(width) & 31;
    if width == 0 { 0 } else { value << above >> above }
}

/// 32 bits out of 64.
#[inline(always)]
fn align(high: u32, low: u32, shift: u32) -> u32 {
    ((u64::from(high) << 32 | u64::from(low)) >> shift) as u32
}
