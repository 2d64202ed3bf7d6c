//! Conversions of one number into another. Floats to integers cut off and saturate; a NaN becomes 0.

use super::call::{Call, multiversion};
use super::directed;
use super::value::F16;
use crate::exec::Trap;
use crate::isa::Op;
use crate::numeric::{F16Rules, Rounding};

multiversion!(execute, body);

#[inline(always)]
fn body(call: &mut Call<'_>) -> Result<(), Trap> {
    use Op::*;
    let f16 = F16Rules::of(call.wave.mode);
    match call.op() {
        v_cvt_f16_f32 => call.map1(|a: f32| F16(f16.round(a))),
        v_cvt_f32_f16 => call.map1(|a: F16| quiet(f16.read(a.0))),
        v_cvt_f16_i16 => call.map1(|a: i16| F16(f16.round(f32::from(a)))),
        v_cvt_f16_u16 => call.map1(|a: u16| F16(f16.round(f32::from(a)))),
        v_cvt_i16_f16 => call.map1(|a: F16| f16.read(a.0) as i16),
        v_cvt_u16_f16 => call.map1(|a: F16| f16.read(a.0) as u16),
        v_cvt_f64_f32 => call.map1(|a: f32| f64::from(a)),
        v_cvt_f64_i32 => call.map1(|a: i32| f64::from(a)),
        v_cvt_f64_u32 => call.map1(|a: u32| f64::from(a)),
        v_cvt_i32_f32 => call.map1(|a: f32| a as i32),
        v_cvt_u32_f32 => call.map1(|a: f32| a as u32),
        v_cvt_i32_f64 => call.map1(|a: f64| a as i32),
        v_cvt_u32_f64 => call.map1(|a: f64| a as u32),
        v_cvt_flr_i32_f32 => call.map1(|a: f32| a.floor() as i32),
        v_cvt_rpi_i32_f32 => call.map1(|a: f32| (a + 0.5).floor() as i32),
        // Signed sixteenths.
        v_cvt_off_f32_i4 => call.map1(|a: i32| (a << 28 >> 28) as f32 / 16.0),
        v_cvt_f32_ubyte0 => call.map1(|a: u32| (a & 0xff) as f32),
        v_cvt_f32_ubyte1 => call.map1(|a: u32| (a >> 8 & 0xff) as f32),
        v_cvt_f32_ubyte2 => call.map1(|a: u32| (a >> 16 & 0xff) as f32),
        v_cvt_f32_ubyte3 => call.map1(|a: u32| (a >> 24) as f32),
        _ if call.wave.mode.round_f32() != 0 => rounded(call),
        v_cvt_f32_i32 => call.map1(|a: i32| a as f32),
        v_cvt_f32_u32 => call.map1(|a: u32| a as f32),
        v_cvt_f32_f64 => call.map1(|a: f64| a as f32),
        _ => call.unimplemented(),
    }
}

/// To f32 under a MODE that does not round to nearest.
#[inline(never)]
fn rounded(call: &mut Call<'_>) -> Result<(), Trap> {
    let rounding = Rounding::of(call.wave.mode.round_f32());
    match call.op() {
        Op::v_cvt_f32_i32 => call.map1(|a: i32| directed::to_f32(f64::from(a), 0.0, rounding)),
        Op::v_cvt_f32_u32 => call.map1(|a: u32| directed::to_f32(f64::from(a), 0.0, rounding)),
        Op::v_cvt_f32_f64 => call.map1(|a: f64| directed::to_f32(a, 0.0, rounding)),
        _ => call.unimplemented(),
    }
}

/// A signalling NaN does not survive a conversion.
#[inline(always)]
fn quiet(value: f32) -> f32 {
    let bits = value.to_bits();
    f32::from_bits(if bits & 0x7fff_ffff > 0x7f80_0000 { bits | 0x0040_0000 } else { bits })
}
