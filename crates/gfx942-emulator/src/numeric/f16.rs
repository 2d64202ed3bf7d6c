//! IEEE half precision, under the fields of MODE that govern it.

use super::{Rounding, flush_f16, narrow};
use crate::exec::Mode;

/// Positive infinity.
const INFINITY: u32 = 0x7c00;

/// The largest finite f16.
const MAX: u32 = 0x7bff;

/// What MODE says about f16 values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct F16Rules {
    /// How results are rounded.
    pub rounding: Rounding,
    /// Whether denormal sources keep their value.
    pub keep_source_denormals: bool,
    /// Whether denormal results keep their value.
    pub keep_result_denormals: bool,
    /// FP16_OVFL: a finite result beyond the range becomes ±65504.
    pub saturate: bool,
}

impl F16Rules {
    /// Round to nearest even, keep denormals, overflow to infinity.
    pub const IEEE: Self = Self {
        rounding: Rounding::NearestEven,
        keep_source_denormals: true,
        keep_result_denormals: true,
        saturate: false,
    };

    /// The rules that `mode` asks for.
    pub const fn of(mode: Mode) -> Self {
        Self {
            rounding: Rounding::of(mode.round_f16_f64()),
            keep_source_denormals: mode.denorm_f16_f64() & 1 != 0,
            keep_result_denormals: mode.denorm_f16_f64() & 2 != 0,
            saturate: mode.fp16_ovfl(),
        }
    }

    /// A source operand's value; exact.
    #[inline(always)]
    pub fn read(self, bits: u16) -> f32 {
        to_f32(if self.keep_source_denormals { bits } else { flush_f16(bits) })
    }

    /// The f32 `value` as an f16 (`v_cvt_f16_f32` after its source modifiers).
    ///
    /// An infinity is exact and stays one; FP16_OVFL changes finite values only.
    #[inline(always)]
    pub fn round(self, value: f32) -> u16 {
        let abs = value.to_bits() & 0x7fff_ffff;
        let negative = value.is_sign_negative();
        let code = narrow::directed::<10, 15>(abs, negative, self.rounding);
        let beyond = match self.rounding {
            _ if self.saturate => MAX,
            Rounding::NearestEven => INFINITY,
            Rounding::Up if !negative => INFINITY,
            Rounding::Down if negative => INFINITY,
            _ => MAX,
        };
        let code = if code > MAX { beyond } else { code };
        let code = if code < 0x400 && !self.keep_result_denormals { 0 } else { code };
        let code = if abs >= 0x7f80_0000 { special(abs) } else { code };
        code as u16 | (value.to_bits() >> 16 & 0x8000) as u16
    }

    /// The f64 `value` as an f16, rounded once. For results whose magnitude, if not zero, is above 2⁻¹²⁶.
    #[inline(always)]
    pub fn round_f64(self, value: f64) -> u16 {
        self.round(to_f32_odd(value))
    }

    /// a + b.
    #[inline(always)]
    pub fn add(self, a: u16, b: u16) -> u16 {
        self.sum(f64::from(self.read(a)), f64::from(self.read(b)))
    }

    /// a × b.
    #[inline(always)]
    pub fn mul(self, a: u16, b: u16) -> u16 {
        // Exact: twice eleven bits.
        self.round(self.read(a) * self.read(b))
    }

    /// a × b + c, rounded once.
    #[inline(always)]
    pub fn fma(self, a: u16, b: u16, c: u16) -> u16 {
        let product = f64::from(self.read(a)) * f64::from(self.read(b));
        self.sum(product, f64::from(self.read(c)))
    }

    /// a + b, rounded once.
    #[inline(always)]
    fn sum(self, a: f64, b: f64) -> u16 {
        let sum = add_odd(a, b);
        // Of all roundings, only this one has a negative sum of opposite numbers.
        let negative =
            self.rounding == Rounding::Down && (a.is_sign_negative() || b.is_sign_negative());
        self.round_f64(if sum == 0.0 && negative { -0.0 } else { sum })
    }
}

/// The code of an infinity or a NaN, which is quieted; the upper bits of its payload survive.
const fn special(abs: u32) -> u32 {
    if abs > 0x7f80_0000 { 0x7e00 | abs >> 13 & 0x3ff } else { INFINITY }
}

/// The value of an f16; exact. A signalling NaN stays one.
#[inline(always)]
pub fn to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let abs = u32::from(bits & 0x7fff);
    let normal = (abs << 13) + ((127 - 15) << 23);
    let special = abs << 13 | 0x7f80_0000;
    // 2⁻²⁴ times an integer below 1024.
    let denormal = (abs as f32 * f32::from_bits((127 - 24) << 23)).to_bits();
    let magnitude = match abs {
        0x7c00.. => special,
        0x400.. => normal,
        _ => denormal,
    };
    f32::from_bits(sign | magnitude)
}

/// An f64 to f32, rounded to odd: a later rounding to fewer bits is then as if it had been the only one.
#[inline(always)]
fn to_f32_odd(value: f64) -> f32 {
    const LOST: u64 = (1 << 29) - 1;
    let bits = value.to_bits();
    let sticky = if bits & LOST == 0 || value.is_nan() { 0 } else { LOST + 1 };
    f64::from_bits(bits & !LOST | sticky | if value.is_nan() { 1 << 51 } else { 0 }) as f32
}

/// a + b, rounded to odd.
#[inline(always)]
fn add_odd(a: f64, b: f64) -> f64 {
    let sum = a + b;
    let b_part = sum - a;
    let error = (a - (sum - b_part)) + (b - b_part);
    let even = sum.to_bits() & 1 == 0;
    let step = if (error > 0.0) == (sum > 0.0) { 1 } else { u64::MAX };
    // An infinity or NaN has a NaN for its error.
    let inexact = error != 0.0 && !error.is_nan();
    f64::from_bits(sum.to_bits().wrapping_add(if inexact && even { step } else { 0 }))
}

#[cfg(test)]
mod tests;
