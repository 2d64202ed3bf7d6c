//! The two 8-bit formats of gfx942: neither has infinities or a negative zero, and 0x80 is the only NaN
//! (manual, 7.2; elsewhere called e4m3fnuz and e5m2fnuz).

use super::narrow;

/// The only NaN.
const NAN: u32 = 0x80;

/// The largest magnitude: 240, or 57344.
const MAX: u32 = 0x7f;

/// An 8-bit format.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fp8 {
    /// Four bits of exponent (bias 8), three of fraction.
    Fp8,
    /// Five bits of exponent (bias 16), two of fraction.
    Bf8,
}

impl Fp8 {
    /// The value of a code, exact.
    #[inline(always)]
    pub const fn to_f32(self, code: u8) -> f32 {
        match self {
            Self::Fp8 => widen::<3, 8>(code),
            Self::Bf8 => widen::<2, 16>(code),
        }
    }

    /// The nearest code, ties to even. Beyond the range: NaN, or with `saturate` (FP16_OVFL) the largest value.
    #[inline(always)]
    pub fn from_f32(self, value: f32, saturate: bool) -> u8 {
        let abs = value.to_bits() & 0x7fff_ffff;
        let code = match self {
            Self::Fp8 => narrow::nearest_even::<3, 8>(abs),
            Self::Bf8 => narrow::nearest_even::<2, 16>(abs),
        };
        finish(value, code, saturate)
    }

    /// Stochastic rounding: the upper bits of `random` are added below the last place, then the rest is cut off.
    ///
    /// The manual has two accounts that disagree: pseudocode that adds and then rounds to nearest, and 7.2, which
    /// says that the sum is truncated. This is 7.2. Of a value on its way to a denormal, the bits that a normal
    /// number would not have are cut off before the addition, as was measured on gfx1201, the nearest relative for
    /// which a measurement is public.
    #[inline(always)]
    pub fn from_f32_stochastic(self, value: f32, random: u32, saturate: bool) -> u8 {
        let (fraction, bias) = match self {
            Self::Fp8 => (3, 8),
            Self::Bf8 => (2, 16),
        };
        let abs = value.to_bits() & 0x7fff_ffff;
        let (exponent, min_exponent) = (abs >> 23, 128 - bias);
        let significand = abs & 0x7f_ffff | 0x80_0000;
        let shift = 23 - fraction;
        let code = if exponent >= min_exponent {
            let units = (significand + (random >> (32 - shift))) >> shift;
            (exponent - min_exponent) * (1 << fraction) + units
        } else {
            // An f32 denormal has no leading one, and is further away than 32 bits reach.
            match min_exponent - exponent {
                below @ 1..=31 => ((significand >> shift) + (random >> (32 - below))) >> below,
                _ => 0,
            }
        };
        finish(value, code, saturate)
    }
}

/// The code with the sign, given the magnitude's in a format without end.
#[inline(always)]
fn finish(value: f32, code: u32, saturate: bool) -> u8 {
    let beyond = code > MAX || value.is_infinite();
    let code = if beyond { MAX } else { code };
    let sign = if code == 0 { 0 } else { value.to_bits() >> 24 & 0x80 };
    (if value.is_nan() || beyond && !saturate { NAN } else { code | sign }) as u8
}

/// The value of a code of a format with `FRACTION` bits of fraction and the exponent bias `BIAS`.
#[inline(always)]
const fn widen<const FRACTION: u32, const BIAS: u32>(code: u8) -> f32 {
    let abs = (code & 0x7f) as u32;
    let normal = (abs << (23 - FRACTION)) + ((127 - BIAS) << 23);
    let quantum = f32::from_bits((128 - BIAS - FRACTION) << 23);
    let denormal = (abs as i32 as f32 * quantum).to_bits();
    let magnitude = if abs < 1 << FRACTION { denormal } else { normal };
    let sign = ((code & 0x80) as u32) << 24;
    f32::from_bits(if code as u32 == NAN { f32::NAN.to_bits() } else { magnitude | sign })
}

#[cfg(test)]
mod tests;
