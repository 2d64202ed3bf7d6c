//! How far a correct backend may be from the oracle: error bounds before the store.
//!
//! The oracle sums in f64 and rounds once to f32, so its own error is one unit roundoff
//! `u = 2⁻²⁴` of the result; a backend may do everything in f32. [`crate::check`] adds what
//! rounding to a 16-bit store allows.
//!
//! **Sums.** Adding `n` terms in f32 in any order, the products rounded too, errs by at most
//! `γₙ · Σ|terms|` with `γₙ ≈ n·u` (Higham, Accuracy and Stability, §3.1). That worst case needs
//! every rounding to go the same way; with independent roundings the error stays below
//! `λ·√n·u · Σ|terms|` except with probability `2·exp(−λ²/2)` (Higham and Mary, SIAM J. Sci.
//! Comput. 41, 2019). [`sum_factor`] takes the smaller of the two with λ = 6: one chance in 30
//! million per element for a naive loop, none at all for a kernel that sums in sixteen lanes; a
//! quarter of γₙ at 576 terms and a sixth at 1,536.
//!
//! **Underflow.** f32 subnormals may be flushed to zero in products and sums (x86's bf16 dot
//! product does): [`TINY`] for each operation, scaled by what it is multiplied with.

mod attention;
mod gemm_fp8;

use crate::ops;

pub use attention::{
    RowErrors, attention, attention_of_fp8_queries, attention_row, fp8_query_errors,
};
pub use gemm_fp8::gemm_fp8;

/// Unit roundoff of f32.
pub const U: f64 = 1.0 / (1_u64 << 24) as f64;

/// Smallest normal f32: what flushing a subnormal loses at most.
pub const TINY: f64 = f32::MIN_POSITIVE as f64;

/// Bound on the error of an f32 sum of `len` products, relative to the sum of their magnitudes.
pub fn sum_factor(len: usize) -> f64 {
    let len = len as f64;
    len.min(6.0 * len.sqrt()) * U
}

/// Errors of [`ops::linear`]: the sum of `in_features` products and a bias; then, for
/// `before = Some(old)`, the addition to `old` (one rounding of a number no larger than all the
/// magnitudes together).
pub fn linear(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    before: Option<&[f32]>,
    in_features: usize,
) -> Vec<f64> {
    let abs = |values: &[f32]| values.iter().map(|v| v.abs()).collect::<Vec<_>>();
    let num_rows = x.len() / in_features;
    let out_features = weight.len() / in_features;
    let mut magnitudes = vec![0.0; num_rows * out_features];
    let bias = bias.map(abs);
    ops::linear(&abs(x), &abs(weight), bias.as_deref(), in_features, &mut magnitudes);
    let flushed = in_features as f64 * TINY * (1.0 + largest(x) + largest(weight));
    let factor = sum_factor(in_features + 1) + 2.0 * U;
    let errors = magnitudes.iter().enumerate().map(|(i, &sum)| {
        let old = before.map_or(0.0, |before| f64::from(before[i].abs()));
        factor * f64::from(sum) + 2.0 * U * (f64::from(sum) + old) + flushed
    });
    errors.collect()
}

/// Errors of [`ops::rms_norm`] and [`ops::head_norm`] for the results `want`. The sum of squares
/// is relative to itself, for squares do not cancel; its error is halved by the root. Mean, eps,
/// root, reciprocal and two products round once each, and a root by an estimate with one Newton
/// step costs two more.
pub fn rms_norm(want: &[f32], weight: &[f32]) -> Vec<f64> {
    let factor = sum_factor(weight.len()) / 2.0 + 9.0 * U;
    let flushed = TINY * (1.0 + largest(weight));
    let errors = want.iter().map(|&y| factor * f64::from(y.abs()) + flushed);
    errors.collect()
}

/// Errors of [`ops::rope_angles`]: absolute, for cos and sin are factors of a rotation, in which
/// a small one matters no more than a large one. A good f32 cosine errs by 1 or 2 `u` below 1, the
/// oracle and the product with `attention_factor` by one each.
pub fn rope_angles(len: usize, attention_factor: f32) -> Vec<f64> {
    vec![4.0 * U * f64::from(attention_factor.abs()); len]
}

/// Errors of [`ops::rope`]: two products and a sum, and the oracle's rounding. `before` and the
/// result are whole heads; elements past `rotary_dim` stay as they are.
pub fn rope(before: &[f32], angles: &[f32], head_dim: usize) -> Vec<f64> {
    let half = angles.len() / 2;
    let mut errors = vec![0.0; before.len()];
    let heads = before.chunks_exact(head_dim);
    for (head, errors) in heads.zip(errors.chunks_exact_mut(head_dim)) {
        for i in 0..half {
            let (a, b) = (f64::from(head[i].abs()), f64::from(head[i + half].abs()));
            let (cos, sin) = (f64::from(angles[i].abs()), f64::from(angles[i + half].abs()));
            errors[i] = 3.0 * U * (a * cos + b * sin) + 3.0 * TINY;
            errors[i + half] = 3.0 * U * (b * cos + a * sin) + 3.0 * TINY;
        }
    }
    errors
}

/// Errors of [`ops::silu_mul`] for the results `want`.
///
/// `silu(x) = x / (1 + e^−x)`: a relative error ε of `e^−x` becomes `ε·e^−x / (1 + e^−x)`, which
/// matters for negative `x` alone. ε is a few `u` for the exponential, and `2·|x|·u` if it is
/// computed as `2^(x·log₂e)` with a rounded product. Where `e^−x` overflows f32 (|x| > 88) the
/// result is below `TINY` times the factors.
pub fn silu_mul(gate_up: &[f32], width: usize, want: &[f32]) -> Vec<f64> {
    let mut errors = Vec::with_capacity(want.len());
    let rows = gate_up.chunks_exact(2 * width);
    for (row, want) in rows.zip(want.chunks_exact(width)) {
        let (gate, up) = row.split_at(width);
        for ((&gate, &up), &want) in gate.iter().zip(up).zip(want) {
            let (gate, up, want) = (f64::from(gate), f64::from(up.abs()), f64::from(want.abs()));
            let share = 1.0 / (1.0 + gate.exp());
            let exp_error = (4.0 + 2.0 * gate.abs().min(90.0)) * U;
            let flushed = TINY * (1.0 + gate.abs()) * (1.0 + up);
            errors.push((6.0 * U + share * exp_error) * want + flushed);
        }
    }
    errors
}

fn largest(values: &[f32]) -> f64 {
    values.iter().fold(0.0, |largest, v| f64::from(v.abs()).max(largest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::Rng;

    fn normal(rng: &mut Rng, len: usize) -> Vec<f32> {
        (0..len).map(|_| rng.normal()).collect()
    }

    #[test]
    fn naive_f32_sums_stay_inside_and_use_a_visible_part() {
        let mut rng = Rng::new(11);
        for len in [2, 15, 64, 576, 1536] {
            let mut used = 0.0_f64;
            for _ in 0..200 {
                let (x, w) = (normal(&mut rng, len), normal(&mut rng, len));
                let naive = x.iter().zip(&w).fold(0.0_f32, |sum, (x, w)| sum + x * w);
                let mut exact = [0.0];
                ops::linear(&x, &w, None, len, &mut exact);
                let error = (f64::from(naive) - f64::from(exact[0])).abs();
                used = used.max(error / linear(&x, &w, None, None, len)[0]);
            }
            assert!(used <= 1.0, "length {len}: {used} of the bound");
            assert!(used > 0.001, "length {len}: the bound is vacuous, {used} used");
        }
    }

    #[test]
    fn losing_a_typical_product_of_a_long_row_shows() {
        let mut rng = Rng::new(5);
        let (x, w) = (normal(&mut rng, 1536), normal(&mut rng, 1536));
        let bound = linear(&x, &w, None, None, 1536)[0];
        let caught = x.iter().zip(&w).filter(|(x, w)| f64::from((*x * *w).abs()) > bound);
        assert!(caught.count() > 1400, "bound {bound}");
    }

    #[test]
    fn silu_in_f32_stays_inside() {
        let gates: Vec<f32> = (-2000..2000).map(|i| i as f32 * 0.06).collect();
        for &gate in &gates {
            let naive = gate / (1.0 + (-gate).exp2_of_log2()) * 1.5;
            let mut want = [0.0];
            ops::silu_mul(&[gate, 1.5], 1, &mut want);
            let bound = silu_mul(&[gate, 1.5], 1, &want)[0];
            let error = (f64::from(naive) - f64::from(want[0])).abs();
            assert!(error <= bound, "silu({gate}): {error:e} of {bound:e}");
            assert!(bound <= 1e-4 * f64::from(want[0].abs()) + 1e-35, "vacuous at {gate}");
        }
    }

    /// The sloppiest exponential that a backend may use: one rounded product, then `exp2`.
    trait Sloppy {
        fn exp2_of_log2(self) -> f32;
    }

    impl Sloppy for f32 {
        fn exp2_of_log2(self) -> f32 {
            (self * core::f32::consts::LOG2_E).exp2()
        }
    }
}
