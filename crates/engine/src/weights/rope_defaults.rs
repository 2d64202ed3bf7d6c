//! RoPE values where a checkpoint says nothing; the same in transformers and llama.cpp.

/// Base of the frequencies.
pub(super) const THETA: f64 = 10_000.0;
/// YaRN: turns above which a frequency is left alone.
pub(super) const BETA_FAST: f64 = 32.0;
/// YaRN: turns below which a frequency is fully interpolated.
pub(super) const BETA_SLOW: f64 = 1.0;

/// YaRN's temperature, arXiv:2309.00071 eq. 22 with DeepSeek's weight `mscale`.
pub(super) fn yarn_mscale(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 }
}
