//! Sums over a vocabulary, and e^x for x ≤ 0, in plain operations that compilers turn into vector
//! code: a vocabulary is exponentiated for every sampled token.
//!
//! x = k·ln 2 + r with |r| ≤ ln 2 / 2, and e^r by its Taylor series to r⁷, whose remainder is below
//! 0.347⁸/8! = 5.3e-9; with f32 rounding the relative error stays below 2e-7 (see the test). That
//! moves a log-probability by at most 2e-7, less than f32 can show of one below −4. No fused operations, so the bits are the same everywhere.

/// Below this, 0: less than 2⁻¹²⁵ of the likeliest token's probability.
const LOWEST: f32 = -87.0;
/// Adding 1.5 · 2²³ leaves the nearest integer in the low bits of the sum.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts; the first has few bits, so that its product with k is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// e^x for x ≤ 0; 0 for NaN and below −87.
#[inline(always)]
pub(super) fn exp_nonpositive(x: f32) -> f32 {
    let shifted = x * core::f32::consts::LOG2_E + ROUND;
    let k = shifted - ROUND;
    let r = (x - k * LN_2_HIGH) - k * LN_2_LOW;
    let mut series = 1.0 / 5040.0;
    series = series * r + 1.0 / 720.0;
    series = series * r + 1.0 / 120.0;
    series = series * r + 1.0 / 24.0;
    series = series * r + 1.0 / 6.0;
    series = series * r + 0.5;
    series = series * r + 1.0;
    series = series * r + 1.0;
    // `shifted`'s low bits are k, so its bits shifted up by 23 are k in the exponent's place.
    let result = f32::from_bits(series.to_bits().wrapping_add(shifted.to_bits() << 23));
    if x >= LOWEST { result } else { 0.0 }
}

/// Σ e^(x − max) over all finite `x`, in f64. `max` is finite.
pub(super) fn sum_exp(values: &[f32], max: f32) -> f64 {
    sum_of(values, |x| exp_nonpositive(x - max))
}

/// Σ x, in f64.
pub(super) fn sum(values: &[f32]) -> f64 {
    sum_of(values, |x| x)
}

/// Σ f(x), in an order that depends on the length alone.
#[inline(always)]
fn sum_of(values: &[f32], f: impl Fn(f32) -> f32) -> f64 {
    const LANES: usize = 16;
    let mut sums = [0.0f64; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(f(x));
        }
    }
    for (sum, &x) in sums.iter_mut().zip(rest) {
        *sum += f64::from(f(x));
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_error_stays_below_2e_7() {
        let mut worst = 0.0f64;
        for step in 0..=8_700_000u32 {
            let x = -(step as f32) * 1e-5;
            let expected = libm::exp(f64::from(x));
            worst = worst.max((f64::from(exp_nonpositive(x)) / expected - 1.0).abs());
        }
        assert!(worst < 2e-7, "worst relative error {worst:e}");
    }

    #[test]
    fn is_exact_at_0_and_never_above_1() {
        assert_eq!(exp_nonpositive(0.0), 1.0);
        assert_eq!(exp_nonpositive(-0.0), 1.0);
        let mut x = -f32::MIN_POSITIVE;
        while x > -1.0 {
            assert!(exp_nonpositive(x) <= 1.0, "{x:e}");
            x *= 1.001;
        }
    }

    #[test]
    fn what_is_not_a_probability_is_0() {
        for x in [f32::NAN, f32::NEG_INFINITY, -87.5, f32::MIN] {
            assert_eq!(exp_nonpositive(x), 0.0, "{x}");
        }
    }

    #[test]
    fn sums_every_element_whatever_the_length() {
        for len in 0..50 {
            let values: alloc::vec::Vec<f32> = (0..len).map(|i| -(i as f32) * 0.1).collect();
            let expected: f64 = values.iter().map(|&x| libm::exp(f64::from(x))).sum();
            assert!((sum_exp(&values, 0.0) - expected).abs() <= 2e-7 * expected, "{len}");
        }
    }
}
