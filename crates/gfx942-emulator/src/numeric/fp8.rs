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
    /// The value of all codes, exact.
    pub const fn table(self) -> &'static [f32; 256] {
        const FP8: [f32; 256] = values(3, 8);
        const BF8: [f32; 256] = values(2, 16);
        match self {
            Self::Fp8 => &FP8,
            Self::Bf8 => &BF8,
        }
    }

    /// The value of a code, exact.
    #[inline(always)]
    pub fn to_f32(self, code: u8) -> f32 {
        self.table()[usize::from(code)]
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

/// The values of a format with `fraction` bits of fraction and an exponent bias of `bias`.
const fn values(fraction: u32, bias: u32) -> [f32; 256] {
    let mut values = [0.0; 256];
    let mut code = 0;
    while code < 256_u32 {
        let (field, bits) =
            (code >> fraction & ((1 << (7 - fraction)) - 1), code & ((1 << fraction) - 1));
        let significand = if field == 0 { bits } else { bits | 1 << fraction };
        let exponent = 127 + if field == 0 { 1 } else { field } - bias - fraction;
        let magnitude = significand as f32 * f32::from_bits(exponent << 23);
        values[code as usize] = if code & 0x80 == 0 { magnitude } else { -magnitude };
        code += 1;
    }
    values[NAN as usize] = f32::NAN;
    values
}

#[cfg(test)]
mod tests;
