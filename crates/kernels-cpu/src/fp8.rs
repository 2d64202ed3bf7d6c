//! FP8 of the KV cache: codes from numbers, and the table by which kernels widen codes.

use engine_core::dtype::DType;
use engine_core::formats::{Fp8Format, Overflow};
use engine_core::kv_dtype::KvDType;

/// What every code of a format means, in a 16-bit format that has all its numbers.
#[derive(Clone)]
pub(crate) struct Widen {
    /// Bits of bfloat16 or binary16, by code.
    pub(crate) bits: [u16; 256],
}

impl Widen {
    /// The table for attention in `dtype`, whose tile products take 16-bit codes: bfloat16 for
    /// bfloat16, else binary16.
    pub(crate) fn new(format: Fp8Format, dtype: DType) -> Widen {
        let (narrow, wide) = (KvDType::Fp8(format), KvDType::Float(stored_as(dtype)));
        let bits = |code| wide.to_code(narrow.from_code(code as u32)) as u16;
        Widen { bits: std::array::from_fn(bits) }
    }
}

/// The 16-bit format that FP8 is widened to for attention in `dtype`. Binary16 is exact for f32 too:
/// its tile products take f32 rows.
pub(crate) fn stored_as(dtype: DType) -> DType {
    match dtype {
        DType::BF16 => DType::BF16,
        DType::F16 | DType::F32 => DType::F16,
    }
}

/// Makes codes of f32 numbers without a branch, so that loops vectorise: the same codes as
/// [`Fp8Format::encode`] with saturation.
#[derive(Clone, Copy)]
pub(crate) struct Encoder {
    max: f32,
    mantissa_bits: u32,
    /// Biased f32 exponent of the least normal number.
    least_exponent: u32,
    /// Code of positive NaN.
    nan: u32,
    /// The sign bit if zero may have it.
    zero_sign: u32,
}

const SIGN: u32 = 0x80;

impl Encoder {
    pub(crate) fn new(format: Fp8Format) -> Encoder {
        Encoder {
            max: format.max(),
            mantissa_bits: u32::from(format.mantissa_bits()),
            least_exponent: (127 + 1 - format.bias()) as u32,
            nan: u32::from(format.encode(f32::NAN, Overflow::Saturate)),
            zero_sign: u32::from(format.encode(-0.0, Overflow::Saturate)),
        }
    }

    /// The code of `x`.
    #[inline(always)]
    pub(crate) fn encode(&self, x: f32) -> u8 {
        let sign = x.to_bits() >> 24 & SIGN;
        let magnitude = f32::from_bits(x.to_bits() & 0x7fff_ffff);
        let clamped = if magnitude > self.max { self.max } else { magnitude };
        let exponent = (clamped.to_bits() >> 23).max(self.least_exponent);
        // 2²³ units in the last place of the code: adding it rounds the number to whole units, to
        // nearest even, and leaves their count in the low bits.
        let unit_exponent = exponent - self.mantissa_bits;
        let ruler = f32::from_bits((unit_exponent + 23) << 23);
        let units = (clamped + ruler).to_bits().wrapping_sub(ruler.to_bits());
        let code = ((exponent - self.least_exponent) << self.mantissa_bits).wrapping_add(units);
        let code = code | if code == 0 { sign & self.zero_sign } else { sign };
        (if x.is_nan() { self.nan | sign } else { code }) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_format() {
        for format in Fp8Format::ALL {
            let encoder = Encoder::new(format);
            let check = |x: f32| {
                let want = format.encode(x, Overflow::Saturate);
                assert_eq!(encoder.encode(x), want, "{format:?}: {x:e}");
            };
            // Every bfloat16, and what lies just beside it, where every border between codes is.
            for high in 0..=u32::from(u16::MAX) {
                for low in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                    check(f32::from_bits(high << 16 | low));
                }
            }
            (0..=u32::MAX).step_by(9973).for_each(|bits| check(f32::from_bits(bits)));
        }
    }

    #[test]
    fn widened_codes_are_the_formats_numbers() {
        for format in Fp8Format::ALL {
            for dtype in [DType::F32, DType::F16, DType::BF16] {
                let table = Widen::new(format, dtype);
                for code in 0..=u8::MAX {
                    let wide = KvDType::Float(stored_as(dtype));
                    let got = wide.from_code(u32::from(table.bits[usize::from(code)]));
                    let want = format.decode(code);
                    assert!(got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan());
                }
            }
        }
    }
}
