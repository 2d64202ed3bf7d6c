//! Which instruction set the kernels use.

use engine_core::dtype::DType;

use crate::simd::Kernels;

/// An instruction-set path. Each is a numerics id of its own: results of two paths may differ in
/// the last bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuIsa {
    /// AVX-512 F, BW, DQ, VL and BF16 (Zen 4, Cooper Lake, Sapphire Rapids and later).
    Avx512,
    /// AVX2, FMA and F16C (Haswell, Zen and later).
    Avx2,
    /// Plain Rust: the same bits on every machine.
    Portable,
}

/// The path was asked for by name and this machine lacks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this CPU has no {}; use --cpu-isa auto", .0.requirement())]
pub struct IsaError(CpuIsa);

impl CpuIsa {
    /// All paths, best first.
    pub const ALL: [CpuIsa; 3] = [CpuIsa::Avx512, CpuIsa::Avx2, CpuIsa::Portable];

    /// The best path of this machine.
    pub fn detect() -> CpuIsa {
        let best = CpuIsa::ALL.into_iter().find(|isa| isa.is_available());
        best.unwrap_or(CpuIsa::Portable)
    }

    /// Bytes that an element of a matrix input of `dtype` takes on the best path of this machine: where its
    /// instructions do not know the format, rounded numbers are kept in f32.
    pub fn detected_act_size_bytes(dtype: DType) -> usize {
        Kernels::of(CpuIsa::detect()).store_of(dtype).size_bytes()
    }

    /// Whether this machine can run the path.
    pub fn is_available(self) -> bool {
        match self {
            CpuIsa::Portable => true,
            #[cfg(target_arch = "x86_64")]
            CpuIsa::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512bf16")
            }
            #[cfg(target_arch = "x86_64")]
            CpuIsa::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(not(target_arch = "x86_64"))]
            CpuIsa::Avx512 | CpuIsa::Avx2 => false,
        }
    }

    /// The path itself, if this machine can run it.
    ///
    /// # Errors
    /// [`IsaError`] names what is missing.
    pub fn require(self) -> Result<CpuIsa, IsaError> {
        if self.is_available() { Ok(self) } else { Err(IsaError(self)) }
    }

    /// The name in `--cpu-isa` and in the numerics id.
    pub const fn name(self) -> &'static str {
        match self {
            CpuIsa::Avx512 => "avx512",
            CpuIsa::Avx2 => "avx2",
            CpuIsa::Portable => "portable",
        }
    }

    const fn requirement(self) -> &'static str {
        match self {
            CpuIsa::Avx512 => "AVX-512 with BF16",
            CpuIsa::Avx2 => "AVX2 with FMA and F16C",
            CpuIsa::Portable => "portable path",
        }
    }
}
