//! Code for the vector units that the machine turns out to have.

/// What the machine can do; made by looking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Simd(Level);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Level {
    /// What every machine of the architecture has.
    Baseline,
    /// AVX2, FMA, BMI (x86-64-v3).
    #[cfg(target_arch = "x86_64")]
    V3,
}

impl Simd {
    /// What every machine can do.
    #[cfg(test)]
    pub const BASELINE: Self = Self(Level::Baseline);

    /// What this machine can do.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt")
            && is_x86_feature_detected!("f16c")
        {
            return Self(Level::V3);
        }
        Self(Level::Baseline)
    }

    /// Whether code for x86-64-v3 can run.
    #[cfg(target_arch = "x86_64")]
    pub fn is_v3(self) -> bool {
        self.0 == Level::V3
    }
}

/// Makes `$name` out of the always-inlined `$body`, compiled once for every machine and once for better ones.
macro_rules! multiversion {
    ($name:ident, $body:ident) => {
        #[doc = concat!("[`", stringify!($body), "`], for the machine at hand.")]
        pub(super) fn $name(
            call: &mut $crate::exec::valu::call::Call<'_>,
        ) -> Result<(), $crate::exec::Trap> {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,f16c")]
                fn v3(
                    call: &mut $crate::exec::valu::call::Call<'_>,
                ) -> Result<(), $crate::exec::Trap> {
                    $body(call)
                }
                if call.simd.is_v3() {
                    // SAFETY: `Simd::detect` found all of the features.
                    return unsafe { v3(call) };
                }
            }
            $body(call)
        }
    };
}

pub(super) use multiversion;
