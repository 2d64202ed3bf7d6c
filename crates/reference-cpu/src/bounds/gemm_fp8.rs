//! How far FP8 matrix products may be from the oracle.

use super::{TINY, U, sum_factor};
use crate::ops::{GemmFp8, SCALE_BLOCK};

/// Errors of [`crate::ops::gemm_fp8`], whose `magnitudes` are `Σ |…|`.
///
/// Products of two FP8 numbers are exact in f32. Their sum, in whatever order, is bounded as any other by [`sum_factor`]; with
/// scales of blocks it is a sum of sums, each of at most 128. A matrix instruction of gfx942 adds sixteen products at a time,
/// cut below 2⁻²⁴ of the largest of them: at most 32 `u` of it, and all those largest are at most `Σ |…|`; and it cuts once
/// more where it adds to what was there, 2 `u` of it, once for each 32 products. The product of the two scales, that with the
/// sum, its addition, and the bias round once each, and the oracle once.
pub fn gemm_fp8(args: &GemmFp8<'_>, magnitudes: &[f64]) -> Vec<f64> {
    let len = args.in_features;
    let sums = sum_factor(len.min(SCALE_BLOCK)) + sum_factor(len);
    let cuts = (32.0 + 2.0 * len.div_ceil(32) as f64) * U;
    let factor = sums.max(cuts) + 6.0 * U;
    magnitudes.iter().map(|magnitude| factor * magnitude + len as f64 * TINY).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::Rng;
    use crate::ops::{self, GemmScales};
    use engine_core::formats::Fp8Format;

    #[test]
    fn losing_a_typical_product_shows() {
        let mut rng = Rng::new(8);
        let mut codes = || (0..512).map(|_| 0x30 + rng.below(0x20) as u8).collect::<Vec<_>>();
        let (x, weight) = (codes(), codes());
        let args = GemmFp8 {
            x: &x,
            weight: &weight,
            format: Fp8Format::E4m3Fnuz,
            scales: GemmScales::Rows { x: &[0.3], weight: &[0.7] },
            bias: None,
            in_features: 512,
        };
        let (out, magnitudes) = ops::gemm_fp8(&args);
        let bound = gemm_fp8(&args, &magnitudes)[0];
        let without = |k: usize| {
            let mut x = x.clone();
            x[k] = 0;
            let (less, _) = ops::gemm_fp8(&GemmFp8 { x: &x, ..args });
            f64::from((out[0] - less[0]).abs())
        };
        let seen = (0..512).filter(|&k| without(k) > bound).count();
        assert!(seen > 480, "{seen} of 512, bound {bound:e} of {}", out[0]);
    }
}
