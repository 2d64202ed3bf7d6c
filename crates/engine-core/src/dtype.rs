//! Number formats of weights, activations and KV.

use half::{bf16, f16};

/// A storage format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16: the upper half of a binary32.
    BF16,
}

impl DType {
    /// Bytes of one element.
    pub const fn size_bytes(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::F16 | DType::BF16 => 2,
        }
    }

    /// The least normal number: smaller ones have fewer bits, or become zero.
    pub const fn least_normal(self) -> f32 {
        match self {
            DType::F32 | DType::BF16 => f32::MIN_POSITIVE,
            DType::F16 => 1.0 / 16384.0,
        }
    }

    /// vLLM's name for the format: `float32`, `float16`, `bfloat16`.
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "float32",
            DType::F16 => "float16",
            DType::BF16 => "bfloat16",
        }
    }

    /// `x` rounded to the format, to nearest even, and widened again.
    pub fn round(self, x: f32) -> f32 {
        match self {
            DType::F32 => x,
            DType::F16 => f16::from_f32(x).to_f32(),
            DType::BF16 => bf16::from_f32(x).to_f32(),
        }
    }
}

/// Accepts vLLM's names and the usual short ones (`f32`, `half`, `bf16`, …).
impl core::str::FromStr for DType {
    type Err = UnknownDType;

    fn from_str(name: &str) -> Result<Self, UnknownDType> {
        match name {
            "float32" | "float" | "f32" => Ok(DType::F32),
            "float16" | "half" | "f16" => Ok(DType::F16),
            "bfloat16" | "bf16" => Ok(DType::BF16),
            _ => Err(UnknownDType),
        }
    }
}

impl core::fmt::Display for DType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// The name is none of the formats that Kvasir computes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown dtype; use float32, bfloat16 or float16")]
pub struct UnknownDType;
