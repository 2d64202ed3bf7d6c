//! Loops compiled for the vector instructions that this CPU turns out to have.
//!
//! Only speed depends on what is found: a job must not contain anything that rounds differently with other
//! instructions. `f32::mul_add` is fused everywhere; Rust contracts nothing by itself.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// A loop worth compiling more than once. Its `run`, and all that it calls, must be `#[inline(always)]`.
pub(crate) trait Job {
    /// What comes of it.
    type Output;

    /// The loop.
    fn run(self) -> Self::Output;
}

/// Runs `job` with the widest vectors there are.
#[inline(always)]
pub(crate) fn run<J: Job>(job: J) -> J::Output {
    Simd::detect().run(job)
}

/// What the machine can do; made by looking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Simd(u8);

impl Simd {
    /// Nobody has looked yet.
    const UNKNOWN: Self = Self(0);

    /// What every machine of the architecture can do.
    pub const PORTABLE: Self = Self(1);

    /// AVX2, FMA, BMI (x86-64-v3).
    #[cfg(target_arch = "x86_64")]
    const AVX2: Self = Self(2);

    /// AVX-512 as well (x86-64-v4).
    #[cfg(target_arch = "x86_64")]
    const AVX512: Self = Self(3);

    /// What this machine can do.
    #[inline(always)]
    pub fn detect() -> Self {
        static FOUND: AtomicU8 = AtomicU8::new(Simd::UNKNOWN.0);
        match Self(FOUND.load(Relaxed)) {
            Self::UNKNOWN => {
                let found = Self::look();
                FOUND.store(found.0, Relaxed);
                found
            }
            found => found,
        }
    }

    /// Everything that this machine can do, the least first.
    #[cfg(test)]
    pub fn all() -> impl Iterator<Item = Self> {
        (Self::PORTABLE.0..=Self::detect().0).map(Self)
    }

    #[cold]
    fn look() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt")
            && is_x86_feature_detected!("f16c")
        {
            let wide = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512cd")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            return if wide { Self::AVX512 } else { Self::AVX2 };
        }
        Self::PORTABLE
    }

    /// Runs `job` as compiled for this.
    #[inline(always)]
    pub fn run<J: Job>(self, job: J) -> J::Output {
        #[cfg(target_arch = "x86_64")]
        {
            if self == Self::AVX512 {
                // SAFETY: `look` found all of the features.
                return unsafe { with_avx512(job) };
            }
            if self == Self::AVX2 {
                // SAFETY: `look` found all of the features.
                return unsafe { with_avx2(job) };
            }
        }
        job.run()
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(
    enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt,f16c"
)]
fn with_avx512<J: Job>(job: J) -> J::Output {
    job.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,f16c")]
fn with_avx2<J: Job>(job: J) -> J::Output {
    job.run()
}
