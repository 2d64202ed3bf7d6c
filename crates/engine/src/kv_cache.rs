//! The KV cache's format: what may be asked for, and what it comes to on a backend.

use engine_core::dtype::DType;
use engine_core::formats::{Fp8Flavour, Fp8Format};
use engine_core::kv_dtype::KvDType;
use serde::{Deserialize, Serialize};

/// A format of the KV cache, by vLLM's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KvCacheDType {
    /// That of weights and matrix inputs.
    #[default]
    Auto,
    /// A format that is computed in.
    Float(DType),
    /// Eight bits, three of them behind the point: the usual FP8 of a cache.
    Fp8E4m3,
    /// Eight bits, two of them behind the point.
    Fp8E5m2,
}

impl KvCacheDType {
    /// Every name, `fp8` being `fp8_e4m3`.
    pub const NAMES: [&str; 7] =
        ["auto", "float32", "bfloat16", "float16", "fp8", "fp8_e4m3", "fp8_e5m2"];

    /// The format with weights in `dtype` and `flavour` of FP8.
    pub fn resolve(self, dtype: DType, flavour: Fp8Flavour) -> KvDType {
        match self {
            KvCacheDType::Auto => KvDType::Float(dtype),
            KvCacheDType::Float(dtype) => KvDType::Float(dtype),
            KvCacheDType::Fp8E4m3 => KvDType::Fp8(Fp8Format::E4m3.with_flavour(flavour)),
            KvCacheDType::Fp8E5m2 => KvDType::Fp8(Fp8Format::E5m2.with_flavour(flavour)),
        }
    }
}

impl From<DType> for KvCacheDType {
    fn from(dtype: DType) -> Self {
        KvCacheDType::Float(dtype)
    }
}

/// The name is none of [`KvCacheDType::NAMES`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no format of the KV cache; use one of {}", KvCacheDType::NAMES.join(", "))]
pub struct UnknownKvCacheDType {
    name: String,
}

impl std::str::FromStr for KvCacheDType {
    type Err = UnknownKvCacheDType;

    fn from_str(name: &str) -> Result<Self, UnknownKvCacheDType> {
        match name {
            "auto" => Ok(KvCacheDType::Auto),
            "fp8" | "fp8_e4m3" => Ok(KvCacheDType::Fp8E4m3),
            "fp8_e5m2" => Ok(KvCacheDType::Fp8E5m2),
            _ => match name.parse() {
                Ok(dtype) => Ok(KvCacheDType::Float(dtype)),
                Err(_) => Err(UnknownKvCacheDType { name: name.to_owned() }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known_and_nothing_else() {
        for name in KvCacheDType::NAMES {
            assert!(name.parse::<KvCacheDType>().is_ok(), "{name}");
        }
        assert_eq!("fp8".parse(), Ok(KvCacheDType::Fp8E4m3));
        assert_eq!("half".parse(), Ok(KvCacheDType::Float(DType::F16)));
        let error = "fp8_e4m3fnuz".parse::<KvCacheDType>().unwrap_err();
        assert!(error.to_string().contains("fp8_e5m2"), "{error}");
    }

    #[test]
    fn the_flavour_is_that_of_fp8_alone() {
        let resolve = |name: KvCacheDType| name.resolve(DType::BF16, Fp8Flavour::Fnuz);
        assert_eq!(resolve(KvCacheDType::Auto), KvDType::Float(DType::BF16));
        assert_eq!(resolve(DType::F32.into()), KvDType::Float(DType::F32));
        assert_eq!(resolve(KvCacheDType::Fp8E4m3), KvDType::Fp8(Fp8Format::E4m3Fnuz));
        assert_eq!(resolve(KvCacheDType::Fp8E5m2), KvDType::Fp8(Fp8Format::E5m2Fnuz));
    }
}
