//! Conversions to and from parts of a register.

use super::call::{Call, multiversion};
use super::value::F16;
use crate::exec::Trap;
use crate::isa::Op;
use crate::numeric::{F16Rules, Fp8, Rounding};

multiversion!(execute, body);

#[inline(always)]
fn body(call: &mut Call<'_>) -> Result<(), Trap> {
    use Op::*;
    let f16 = F16Rules::of(call.wave.mode);
    match call.op() {
        v_cvt_pk_i16_i32 => {
            call.map2(|a: i32, b: i32| pair(saturate(a) as u16, saturate(b) as u16))
        }
        v_cvt_pk_u16_u32 => {
            call.map2(|a: u32, b: u32| pair(a.min(0xffff) as u16, b.min(0xffff) as u16))
        }
        v_cvt_pk_u8_f32 => call.map3(|a: f32, b: u32, c: u32| with_byte(c, b, a as u8)),
        v_cvt_pkaccum_u8_f32 => {
            call.accumulate(|a: f32, b: u32, old: u32| with_byte(old, b, a as u8))
        }
        v_cvt_norm_i16_f16 => call.map1(|a: F16| snorm(f16.read(a.0))),
        v_cvt_norm_u16_f16 => call.map1(|a: F16| unorm(f16.read(a.0))),
        v_cvt_pknorm_i16_f16 => {
            call.map2(|a: F16, b: F16| pair(snorm(f16.read(a.0)), snorm(f16.read(b.0))))
        }
        v_cvt_pknorm_u16_f16 => {
            call.map2(|a: F16, b: F16| pair(unorm(f16.read(a.0)), unorm(f16.read(b.0))))
        }
        v_cvt_pknorm_i16_f32 => call.map2(|a: f32, b: f32| pair(snorm(a), snorm(b))),
        v_cvt_pknorm_u16_f32 => call.map2(|a: f32, b: f32| pair(unorm(a), unorm(b))),
        v_cvt_pkrtz_f16_f32 => {
            let rules = F16Rules { rounding: Rounding::TowardZero, ..f16 };
            call.map2(|a: f32, b: f32| pair(rules.round(a), rules.round(b)))
        }
        v_cvt_f32_fp8 => call.map1(|a: u32| Fp8::Fp8.to_f32(a as u8)),
        v_cvt_f32_bf8 => call.map1(|a: u32| Fp8::Bf8.to_f32(a as u8)),
        v_cvt_pk_f32_fp8 => call.map1(|a: u32| both(Fp8::Fp8, a)),
        v_cvt_pk_f32_bf8 => call.map1(|a: u32| both(Fp8::Bf8, a)),
        v_cvt_pk_fp8_f32 => pack(call, Fp8::Fp8),
        v_cvt_pk_bf8_f32 => pack(call, Fp8::Bf8),
        v_cvt_sr_fp8_f32 => stochastic(call, Fp8::Fp8),
        v_cvt_sr_bf8_f32 => stochastic(call, Fp8::Bf8),
        _ => call.unimplemented(),
    }
}

/// Two f32 into the half that `op_sel` chooses; the other half stays.
#[inline(always)]
fn pack(call: &mut Call<'_>, format: Fp8) -> Result<(), Trap> {
    let saturate = call.wave.mode.fp16_ovfl();
    let shift = if call.inst.modifiers.op_sel & 8 != 0 { 16 } else { 0 };
    call.accumulate(
        #[inline(always)]
        |a: f32, b: f32, old: u32| {
            let codes = [a, b].map(|value| u32::from(format.from_f32(value, saturate)));
            old & !(0xffff << shift) | (codes[0] | codes[1] << 8) << shift
        },
    )
}

/// One f32 into the byte that `op_sel` chooses; the others stay.
#[inline(always)]
fn stochastic(call: &mut Call<'_>, format: Fp8) -> Result<(), Trap> {
    let saturate = call.wave.mode.fp16_ovfl();
    let byte = u32::from(call.inst.modifiers.op_sel >> 2 & 3);
    call.accumulate(|a: f32, b: u32, old: u32| {
        with_byte(old, byte, format.from_f32_stochastic(a, b, saturate))
    })
}

/// The two lowest bytes as f32.
#[inline(always)]
fn both(format: Fp8, bits: u32) -> u64 {
    let [low, high] = [bits, bits >> 8].map(|bits| u64::from(format.to_f32(bits as u8).to_bits()));
    low | high << 32
}

#[inline(always)]
fn pair(low: u16, high: u16) -> u32 {
    u32::from(low) | u32::from(high) << 16
}

#[inline(always)]
fn with_byte(old: u32, byte: u32, value: u8) -> u32 {
    let shift = (byte & 3) * 8;
    old & !(0xff << shift) | u32::from(value) << shift
}

#[inline(always)]
fn saturate(value: i32) -> i16 {
    value.clamp(-0x8000, 0x7fff) as i16
}

/// −1 to 1 as −32767 to 32767.
#[inline(always)]
fn snorm(value: f32) -> u16 {
    (value.clamp(-1.0, 1.0) * 32767.0).round_ties_even() as i16 as u16
}

/// 0 to 1 as 0 to 65535.
#[inline(always)]
fn unorm(value: f32) -> u16 {
    (value.clamp(0.0, 1.0) * 65535.0).round_ties_even() as u16
}
