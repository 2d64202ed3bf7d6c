//! 64-bit integers and bits.

use super::call::{Call, multiversion};
use crate::exec::Trap;
use crate::isa::Op;

multiversion!(execute, body);

#[inline(always)]
fn body(call: &mut Call<'_>) -> Result<(), Trap> {
    use Op::*;
    match call.op() {
        v_mov_b64 => call.map1(|a: u64| a),
        v_lshlrev_b64 => call.map2(|a: u32, b: u64| b << (a & 63)),
        v_lshrrev_b64 => call.map2(|a: u32, b: u64| b >> (a & 63)),
        v_ashrrev_i64 => call.map2(|a: u32, b: i64| b >> (a & 63)),
        v_lshl_add_u64 => call.map3(|a: u64, b: u32, c: u64| (a << (b & 7)).wrapping_add(c)),
        _ => call.unimplemented(),
    }
}
