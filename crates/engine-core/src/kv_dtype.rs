//! Number formats of the KV cache.

use half::f16;

use crate::dtype::DType;
use crate::formats::{Fp8Format, Overflow};

/// A storage format of keys and values: those that are computed in, and the 8-bit ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KvDType {
    /// As matrix inputs.
    Float(DType),
    /// Eight bits and a scale: `value = code · scale`.
    Fp8(Fp8Format),
}

impl KvDType {
    /// Every format.
    pub const ALL: [KvDType; 7] = [
        KvDType::Float(DType::F32),
        KvDType::Float(DType::F16),
        KvDType::Float(DType::BF16),
        KvDType::Fp8(Fp8Format::E4m3),
        KvDType::Fp8(Fp8Format::E5m2),
        KvDType::Fp8(Fp8Format::E4m3Fnuz),
        KvDType::Fp8(Fp8Format::E5m2Fnuz),
    ];

    /// Bytes of one element.
    pub const fn size_bytes(self) -> usize {
        match self {
            KvDType::Float(dtype) => dtype.size_bytes(),
            KvDType::Fp8(_) => 1,
        }
    }

    /// vLLM's name for the format, with `fnuz` behind it where that is the flavour: in logs and in
    /// whatever identifies a cache.
    pub const fn name(self) -> &'static str {
        match self {
            KvDType::Float(dtype) => dtype.name(),
            KvDType::Fp8(Fp8Format::E4m3) => "fp8_e4m3",
            KvDType::Fp8(Fp8Format::E5m2) => "fp8_e5m2",
            KvDType::Fp8(Fp8Format::E4m3Fnuz) => "fp8_e4m3fnuz",
            KvDType::Fp8(Fp8Format::E5m2Fnuz) => "fp8_e5m2fnuz",
        }
    }

    /// The FP8 format, if it is one.
    pub const fn fp8(self) -> Option<Fp8Format> {
        match self {
            KvDType::Float(_) => None,
            KvDType::Fp8(format) => Some(format),
        }
    }

    /// The format in which attention computes with such a cache: the cache's own; and the compute
    /// dtype for FP8, whose numbers all three have.
    pub const fn attention_dtype(self, compute_dtype: DType) -> DType {
        match self {
            KvDType::Float(dtype) => dtype,
            KvDType::Fp8(_) => compute_dtype,
        }
    }

    /// `x` rounded to the format, to nearest even, and widened again. FP8 saturates: what is too
    /// large becomes the largest number, infinities too, and NaN stays NaN.
    pub fn round(self, x: f32) -> f32 {
        match self {
            KvDType::Float(dtype) => dtype.round(x),
            KvDType::Fp8(format) => format.decode(format.encode(x, Overflow::Saturate)),
        }
    }

    /// The bits of `value`, which the format represents. The payload of NaN is kept where the
    /// format has one.
    pub fn to_code(self, value: f32) -> u32 {
        let bits = value.to_bits();
        match self {
            KvDType::Float(DType::F32) => bits,
            KvDType::Float(DType::BF16) => bits >> 16,
            KvDType::Float(DType::F16) if value.is_nan() => {
                bits >> 16 & 0x8000 | 0x7c00 | bits >> 13 & 0x03ff
            }
            KvDType::Float(DType::F16) => u32::from(f16::from_f32(value).to_bits()),
            KvDType::Fp8(Fp8Format::E5m2) if value.is_nan() => {
                bits >> 24 & 0x80 | 0x7c | bits >> 21 & 0x03
            }
            KvDType::Fp8(format) => u32::from(format.encode(value, Overflow::Special)),
        }
    }

    /// The number that `code` stands for; [`KvDType::to_code`] gives the code back.
    pub fn from_code(self, code: u32) -> f32 {
        // Widened by hand: conversions make signalling NaN quiet.
        let nan = |sign: u32, payload: u32| f32::from_bits(sign | 0x7f80_0000 | payload);
        match self {
            KvDType::Float(DType::F32) => f32::from_bits(code),
            KvDType::Float(DType::BF16) => f32::from_bits(code << 16),
            KvDType::Float(DType::F16) if code & 0x7fff > 0x7c00 => {
                nan((code & 0x8000) << 16, (code & 0x03ff) << 13)
            }
            KvDType::Float(DType::F16) => f16::from_bits(code as u16).to_f32(),
            KvDType::Fp8(Fp8Format::E5m2) if code & 0x7f > 0x7c => {
                nan((code & 0x80) << 24, (code & 0x03) << 21)
            }
            KvDType::Fp8(format) => {
                let value = format.decode(code as u8);
                // decode gives a NaN without a sign.
                if value.is_nan() && code & 0x80 != 0 { -value } else { value }
            }
        }
    }
}

impl From<DType> for KvDType {
    fn from(dtype: DType) -> Self {
        KvDType::Float(dtype)
    }
}

impl core::fmt::Display for KvDType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back() {
        for dtype in KvDType::ALL {
            let num_codes = 1_u64 << (8 * dtype.size_bytes()).min(16);
            for code in 0..num_codes as u32 {
                let value = dtype.from_code(code);
                assert_eq!(dtype.to_code(value), code, "{dtype}: {value}");
                let rounded = dtype.round(value);
                let largest = dtype.fp8().map_or(f32::INFINITY, Fp8Format::max);
                let expected = value.clamp(-largest, largest);
                assert!(
                    value.is_nan() && rounded.is_nan() || rounded == expected,
                    "{dtype}: {value}"
                );
            }
        }
    }

    #[test]
    fn fp8_numbers_are_numbers_of_every_dtype() {
        for format in Fp8Format::ALL {
            for code in 0..=u8::MAX {
                let value = format.decode(code);
                for dtype in [DType::F32, DType::F16, DType::BF16] {
                    assert!(value.is_nan() || dtype.round(value).to_bits() == value.to_bits());
                }
            }
        }
    }
}
