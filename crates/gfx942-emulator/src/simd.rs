//! Loops compiled for the vector instructions that this CPU turns out to have.
//!
//! Only speed depends on what is found: a job must not contain anything that rounds differently with other
//! instructions. `f32::mul_add` is fused everywhere; Rust contracts nothing by itself.

/// A loop worth compiling more than once. Its `run`, and all that it calls, must be `#[inline(always)]`.
pub(crate) trait Job {
    /// The loop.
    fn run(self);
}

/// Runs `job` with the widest vectors there are.
#[inline]
pub(crate) fn run(job: impl Job) {
    #[cfg(target_arch = "x86_64")]
    {
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        if avx512 && avx2 {
            // SAFETY: the CPU has what the function is compiled for.
            return unsafe { with_avx512(job) };
        }
        if avx2 {
            // SAFETY: the CPU has what the function is compiled for.
            return unsafe { with_avx2(job) };
        }
    }
    job.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn with_avx512(job: impl Job) {
    job.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2(job: impl Job) {
    job.run();
}
