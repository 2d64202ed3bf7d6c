//! Bounds of attention.

use core::ops::Range;

use engine_core::dtype::DType;
use engine_core::formats::Fp8Format;

use super::{TINY, U, sum_factor};
use crate::ops::{AttendedToken, Attention, AttentionRow, attended, fp8_row_scale};

/// Errors of [`ops::attention`](crate::ops::attention) for the rows `rows`, whose results are `want`:
/// [`attention_row`] for each.
pub fn attention(args: &Attention<'_>, rows: Range<usize>, want: &[f32]) -> Vec<f64> {
    attention_of_queries(args, rows, want, |query| vec![0.0; query.len()])
}

/// The same for a backend whose queries are off by [`fp8_query_errors`].
pub fn attention_of_fp8_queries(
    args: &Attention<'_>,
    rows: Range<usize>,
    want: &[f32],
) -> Vec<f64> {
    attention_of_queries(args, rows, want, fp8_query_errors)
}

fn attention_of_queries(
    args: &Attention<'_>,
    rows: Range<usize>,
    want: &[f32],
    query_errors: fn(&[f64]) -> Vec<f64>,
) -> Vec<f64> {
    let head_dim = args.shape.head_dim;
    let group = args.num_qo_heads / args.shape.num_kv_heads;
    let mut errors = Vec::with_capacity(want.len());
    let mut want_heads = want.chunks_exact(head_dim);
    for seq_idx in 0..args.batch.num_seqs() {
        let block_table = args.batch.block_table(seq_idx);
        for row in args.batch.rows(seq_idx).filter(|row| rows.contains(row)) {
            let seen = attended(args.batch.positions[row] as usize, args.window);
            for (head, want) in (0..args.num_qo_heads).zip(want_heads.by_ref()) {
                let token = |position| {
                    AttendedToken::new(args.key_value(block_table, position, head / group))
                };
                let (scale, v_scale) = args.factors(head / group);
                let row = AttentionRow {
                    query: args.query(row, head),
                    tokens: seen.clone().map(token).collect(),
                    scale,
                    v_scale,
                    soft_cap: None,
                    sink: None,
                };
                let want: Vec<f64> = want.iter().map(|&y| f64::from(y)).collect();
                let of_query = query_errors(&row.query);
                let of_row = attention_row(&row, &of_query, args.query_dtype, &want);
                errors.extend(of_row.out);
            }
        }
    }
    errors
}

/// Errors of a row's result and of its logarithm.
#[derive(Clone, Debug)]
pub struct RowErrors {
    /// Of each element.
    pub out: Vec<f64>,
    /// Of `lse`.
    pub lse: f64,
}

/// Errors of [`AttentionRow::attend`], whose result is `want`, for a kernel that rounds weights to `weights`.
///
/// With `δⱼ` a bound on the error of the exponent `sⱼ − m` and of the exponential, every weight
/// is off by a factor between `e^−δⱼ` and `e^δⱼ`. An error that all weights share drops out of the
/// quotient `y = Σ wⱼvⱼ / Σ wⱼ`, so with `Pⱼ` the exact probabilities
/// `|δy| ≤ Σ Pⱼ·(e^δⱼ − 1)·|vⱼ − y| / Σ Pⱼ·e^−δⱼ`; and, whatever the weights, at most the largest `|vⱼ − y|`. Numerator and denominator are sums of `n` terms
/// each, and an online softmax may rescale them once per term: 2n roundings. `δⱼ` is the dot
/// product's error, three roundings of `sⱼ` (its last sum, the scale, the scale of the keys), three
/// of `sⱼ − m` (the difference and a base-2 exponential's product), and 4 `u` for the exponential.
/// The scale of the values multiplies result and error, and rounds once.
///
/// A token's own scales round once each, a bias twice. Under a soft-cap errors of the score shrink (the derivative of
/// tanh is at most 1), and tanh adds its own, absolute: 6 `u` of the cap. A sink is a term without a value.
///
/// A backend that attends in a 16-bit format may round the weights, relative to a running maximum,
/// to that format before they meet V: independent roundings of `ε = 2⁻⁸` (bfloat16) or `2⁻¹¹`
/// (binary16), so at most `ε · Σ|wⱼvⱼ|` and, as above, below `6ε · √Σ(wⱼvⱼ)²`.
///
/// `lse = m + ln Σ e^(sⱼ − m)` has the relative error of the sum as its absolute one, at most the largest `δⱼ`, and rounds
/// a few times itself.
///
/// A query that is off by `query_errors`, element by element, moves a score by up to `scale · Σ errorᵢ·|kᵢ|`.
pub fn attention_row(
    row: &AttentionRow<'_>,
    query_errors: &[f64],
    weights: DType,
    want: &[f64],
) -> RowErrors {
    let exponents = exponents(row, query_errors);
    let (rounding, least) = weight_rounding(weights);
    let exact: Vec<f64> = exponents.iter().map(|exponent| exponent.relative.exp()).collect();
    let shrunk: f64 = exact.iter().zip(&exponents).map(|(w, e)| w * (-e.delta).exp()).sum();
    // A weight of 0 stays 0, also where e^δ is infinite.
    let shift = |(weight, exponent): (&f64, &Exponent)| match *weight {
        0.0 => 0.0,
        weight => weight * exponent.delta.exp_m1(),
    };
    let shifts: Vec<f64> = exact.iter().zip(&exponents).map(shift).collect();
    let weight_sum: f64 = exact.iter().sum();
    let sum_factor = sum_factor(2 * exponents.len());
    let num_terms = exponents.len() as f64;
    let one = |(i, &y): (usize, &f64)| {
        let y = y / row.v_scale;
        let (mut shifted, mut magnitude, mut squares, mut largest) = (0.0, 0.0, 0.0_f64, 0.0_f64);
        let mut farthest = 0.0_f64;
        for (term, (weight, shift)) in exact.iter().zip(&shifts).enumerate() {
            // The sink, which is the last, has no token.
            let token = row.tokens.get(term);
            let value = token.map_or(0.0, |token| token.v_scale * f64::from(token.value[i]));
            let stored = token.map_or(0.0, |token| f64::from(token.value[i].abs()));
            shifted += shift * (value - y).abs();
            farthest = farthest.max((value - y).abs());
            magnitude += weight * value.abs();
            squares += (weight * value).powi(2);
            largest = largest.max(stored);
        }
        let sums = (sum_factor + U) * (magnitude / weight_sum + y.abs()) + 4.0 * U * y.abs();
        let rounded = rounding * magnitude.min(6.0 * squares.sqrt()) / weight_sum;
        let flushed = 2.0 * num_terms * (TINY + least) * (1.0 + largest);
        // The first is not a number where e^δ is infinite.
        let shifted = (shifted / shrunk).min(farthest);
        row.v_scale * (shifted + sums + rounded + flushed) + TINY
    };
    let out = want.iter().enumerate().map(one).collect();
    let largest_delta = exponents.iter().map(|exponent| exponent.delta).fold(0.0, f64::max);
    let sum_error = (shifts.iter().sum::<f64>() / shrunk).min(largest_delta) + sum_factor;
    let max = exponents.first().map_or(0.0, |exponent| exponent.max.abs());
    let lse = sum_error + 4.0 * U * (1.0 + max + weight_sum.ln().abs());
    RowErrors { out, lse }
}

/// By how much elements of a query are off after it was rounded to e4m3fnuz with the scale `s` of
/// [`fp8_row_scale`](crate::ops::fp8_row_scale): half of a last place of 3 bits, or of the subnormals' step of 2⁻¹⁰ `s`;
/// and `u` each for the division, the scale and the product with it.
pub fn fp8_query_errors(query: &[f64]) -> Vec<f64> {
    let values: Vec<f32> = query.iter().map(|&q| q as f32).collect();
    let scale = f64::from(fp8_row_scale(&values, Fp8Format::E4m3Fnuz));
    let error = |q: &f64| {
        (q.abs() * f64::exp2(-4.0)).max(scale * f64::exp2(-11.0)) + 4.0 * U * q.abs() + TINY
    };
    query.iter().map(error).collect()
}

/// A logit as a kernel has it.
struct Exponent {
    max: f64,
    relative: f64,
    delta: f64,
}

/// Of each token, and of the sink.
fn exponents(row: &AttentionRow<'_>, query_errors: &[f64]) -> Vec<Exponent> {
    let dot_factor = sum_factor(row.query.len());
    let score = |token: &AttendedToken<'_>| {
        let (mut dot, mut magnitude, mut moved) = (0.0, 0.0, 0.0);
        for ((q, error), &k) in row.query.iter().zip(query_errors).zip(token.key) {
            dot += q * f64::from(k);
            magnitude += (q * f64::from(k)).abs();
            moved += error * f64::from(k.abs());
        }
        let scale = row.scale * token.k_scale;
        let own_scale = if token.k_scale == 1.0 { 0.0 } else { 1.0 };
        let of_dot = dot_factor * (magnitude + moved) + moved;
        let error = scale.abs() * of_dot + (3.0 + own_scale) * U * (scale * dot).abs();
        let cap = row.soft_cap.map_or(0.0, |cap| 6.0 * U * cap);
        let bias = if token.bias == 0.0 { 0.0 } else { 3.0 * U * token.bias.abs() };
        let capped = row.cap(scale * dot);
        let added = if token.bias == 0.0 { 0.0 } else { U * capped.abs() };
        (capped + token.bias, error + cap + bias + added)
    };
    let mut scores: Vec<(f64, f64)> = row.tokens.iter().map(score).collect();
    // The kernel may multiply a sink by log₂e.
    scores.extend(row.sink.map(|sink| (sink, 2.0 * U * sink.abs())));
    let max = scores.iter().map(|s| s.0).fold(f64::NEG_INFINITY, f64::max);
    let exponent = |&(score, error): &(f64, f64)| Exponent {
        max,
        relative: score - max,
        delta: error + (3.0 * (score - max).abs() + 4.0) * U,
    };
    scores.iter().map(exponent).collect()
}

/// Unit roundoff of the format of weights where it is coarser than f32, and half its smallest subnormal.
fn weight_rounding(dtype: DType) -> (f64, f64) {
    match dtype {
        DType::F32 => (0.0, 0.0),
        DType::F16 => (f64::exp2(-11.0), f64::exp2(-25.0)),
        DType::BF16 => (f64::exp2(-8.0), TINY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::Rng;
    use crate::ops::fp8_quantize;

    #[test]
    fn a_query_in_fp8_is_off_by_no_more_and_hardly_less() {
        const FORMAT: Fp8Format = Fp8Format::E4m3Fnuz;
        let mut rng = Rng::new(3);
        let mut closest: f64 = 0.0;
        for _ in 0..200 {
            let query: Vec<f32> =
                (0..128).map(|_| rng.normal() * f32::exp2(-12.0 * rng.uniform() as f32)).collect();
            let scale = fp8_row_scale(&query, FORMAT);
            let mut codes = vec![0; query.len()];
            fp8_quantize(&query, scale, FORMAT, &mut codes);
            let exact: Vec<f64> = query.iter().map(|&q| f64::from(q)).collect();
            for ((q, code), error) in exact.iter().zip(codes).zip(fp8_query_errors(&exact)) {
                let off = (f64::from(FORMAT.decode(code)) * f64::from(scale) - q).abs();
                assert!(off <= error, "{q} of {scale} is off by {off}, {error} allowed");
                closest = closest.max(off / error);
            }
        }
        assert!(closest > 0.95, "{closest}");
    }
}
