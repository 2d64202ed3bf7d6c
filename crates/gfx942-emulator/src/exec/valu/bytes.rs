//! Operations on the bytes of a register.

use super::call::{Call, STAGING, at, multiversion};
use super::value::Value;
use crate::WAVE_SIZE;
use crate::exec::Trap;
use crate::isa::Op;

multiversion!(execute, body);

#[inline(always)]
fn body(call: &mut Call<'_>) -> Result<(), Trap> {
    use Op::*;
    match call.op() {
        v_perm_b32 => call.map3(permute),
        v_lerp_u8 => call.map3(|a: u32, b: u32, c: u32| {
            zip_bytes(a, b, |i, a, b| ((a + b + (c >> (8 * i) & 1)) >> 1) << (8 * i))
        }),
        v_sad_u8 => call.map3(|a: u32, b: u32, c: u32| sad(a, b).wrapping_add(c)),
        v_sad_hi_u8 => call.map3(|a: u32, b: u32, c: u32| (sad(a, b) << 16).wrapping_add(c)),
        v_sad_u16 => call.map3(|a: u32, b: u32, c: u32| {
            let halves = (a & 0xffff).abs_diff(b & 0xffff) + (a >> 16).abs_diff(b >> 16);
            halves.wrapping_add(c)
        }),
        v_sad_u32 => call.map3(|a: u32, b: u32, c: u32| a.abs_diff(b).wrapping_add(c)),
        v_msad_u8 => call.map3(|a: u32, b: u32, c: u32| masked_sad(a, b).wrapping_add(c)),
        v_qsad_pk_u16_u8 => call.map3(|a: u64, b: u32, c: u64| quad(a, b, c, sad)),
        v_mqsad_pk_u16_u8 => call.map3(|a: u64, b: u32, c: u64| quad(a, b, c, masked_sad)),
        v_mqsad_u32_u8 => quad32(call),
        _ => call.unimplemented(),
    }
}

/// Each byte of `selector` picks one of the eight bytes of `high` and `low`, a sign, 0 or 0xff.
#[inline(always)]
fn permute(high: u32, low: u32, selector: u32) -> u32 {
    let data = u64::from(high) << 32 | u64::from(low);
    pick(data, selector & 0xff)
        | pick(data, selector >> 8 & 0xff) << 8
        | pick(data, selector >> 16 & 0xff) << 16
        | pick(data, selector >> 24) << 24
}

#[inline(always)]
fn pick(data: u64, select: u32) -> u32 {
    // Signs are those of bytes 1, 3, 5 and 7.
    let byte = if select < 8 { select } else { (select & 3) << 1 | 1 };
    let picked = (data >> (byte << 3)) as u32 & 0xff;
    let sign = if picked & 0x80 != 0 { 0xff } else { 0 };
    let constant = if select == 12 { 0 } else { 0xff };
    if select < 8 {
        picked
    } else if select < 12 {
        sign
    } else {
        constant
    }
}

/// The sum of `f(i, a's byte i, b's byte i)`.
#[inline(always)]
fn zip_bytes(a: u32, b: u32, f: impl Fn(u32, u32, u32) -> u32) -> u32 {
    let byte = |i: u32| f(i, a >> (8 * i) & 0xff, b >> (8 * i) & 0xff);
    byte(0) + byte(1) + byte(2) + byte(3)
}

/// The sum of absolute differences of four bytes.
#[inline(always)]
fn sad(a: u32, b: u32) -> u32 {
    zip_bytes(a, b, |_, a, b| a.abs_diff(b))
}

/// The same without the bytes of `reference` that are zero.
#[inline(always)]
fn masked_sad(a: u32, reference: u32) -> u32 {
    zip_bytes(a, reference, |_, a, b| if b == 0 { 0 } else { a.abs_diff(b) })
}

/// Four sums over windows of `a` that are a byte apart, each added to 16 bits of `c`.
#[inline(always)]
fn quad(a: u64, b: u32, c: u64, sum: fn(u32, u32) -> u32) -> u64 {
    let part = |i: u64| {
        let sum = sum((a >> (8 * i)) as u32, b).wrapping_add((c >> (16 * i)) as u32 & 0xffff);
        u64::from(sum & 0xffff) << (16 * i)
    };
    part(0) | part(1) | part(2) | part(3)
}

/// `v_mqsad_u32_u8`: four sums, added to four registers, into four registers.
#[inline(always)]
fn quad32(call: &mut Call<'_>) -> Result<(), Trap> {
    let operands = [call.inst.src[2], call.inst.dst].map(|operand| operand.vector_index());
    let [Some(addend), Some(target)] = operands else {
        return call.unimplemented();
    };
    if addend % 256 > 252 || target % 256 > 252 {
        return Err(Trap::Undefined(
            "v_mqsad_u32_u8 needs four registers from each operand on".into(),
        ));
    }
    let mut staging = [STAGING; 2];
    let [s0, s1] = &mut staging;
    let (a, b) = (call.source::<u64>(0, s0)?, call.source::<u32>(1, s1)?);
    let sums: [_; 4] = std::array::from_fn(|i| {
        let addend = call.wave.vector(addend + i);
        let mut sums = [0; WAVE_SIZE];
        for (lane, sum) in sums.iter_mut().enumerate() {
            let window = (at::<u64>(a, lane) >> (8 * i)) as u32;
            *sum = masked_sad(window, u32::of(b[0][lane], 0)).wrapping_add(addend[lane]);
        }
        sums
    });
    for (i, sums) in sums.iter().enumerate() {
        call.wave.set_vector(target + i, call.mask, sums);
    }
    Ok(())
}
