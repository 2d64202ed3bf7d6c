//! Attention of one row and query head, with every feature that a kernel may have.

use engine_core::dtype::DType;

/// A token that the row attends.
#[derive(Clone, Copy, Debug)]
pub struct AttendedToken<'a> {
    /// Its key, as it is stored.
    pub key: &'a [f32],
    /// Its value, as it is stored.
    pub value: &'a [f32],
    /// Its own scale of the key, on top of its head's; 1 where there is none.
    pub k_scale: f64,
    /// Its own scale of the value.
    pub v_scale: f64,
    /// What is added to its logit.
    pub bias: f64,
}

impl<'a> AttendedToken<'a> {
    /// A token without scales and bias.
    pub fn new((key, value): (&'a [f32], &'a [f32])) -> Self {
        AttendedToken { key, value, k_scale: 1.0, v_scale: 1.0, bias: 0.0 }
    }
}

/// A row of one query head:
///
/// ```text
/// sⱼ  = cap(scale · k_scaleⱼ · q·kⱼ) + biasⱼ      cap(x) = soft_cap · tanh(x / soft_cap), or x
/// out = v_scale · Σⱼ e^sⱼ · v_scaleⱼ · vⱼ / (e^sink + Σⱼ e^sⱼ)
/// lse = ln(e^sink + Σⱼ e^sⱼ)
/// ```
///
/// Soft-cap: Gemma 2 (arXiv:2408.00118). Linear bias: ALiBi (arXiv:2108.12409). Sink: a logit that has no value, as in
/// gpt-oss; without one its exponential is 0. A row without a token has `out` 0.
#[derive(Clone, Debug)]
pub struct AttentionRow<'a> {
    /// The query, rounded to its format.
    pub query: Vec<f64>,
    /// What it attends, in position order.
    pub tokens: Vec<AttendedToken<'a>>,
    /// Factor on the scores, the head's scale of keys included.
    pub scale: f64,
    /// The head's scale of values.
    pub v_scale: f64,
    /// Bound of the scores.
    pub soft_cap: Option<f64>,
    /// The logit of nothing.
    pub sink: Option<f64>,
}

/// What attention gives for an [`AttentionRow`].
#[derive(Clone, Debug)]
pub struct Attended {
    /// The row's result.
    pub out: Vec<f64>,
    /// Logarithm of the sum of exponentials.
    pub lse: f64,
}

/// Where a kernel with matrix instructions rounds.
#[derive(Clone, Copy, Debug)]
pub struct WeightRounding {
    /// The format of weights when they meet values.
    pub dtype: DType,
    /// Positions whose weights are relative to one maximum: that of the partition so far, this tile included.
    pub tile_len: usize,
    /// Positions whose sums are kept apart from others, and merged in order.
    pub partition_len: usize,
    /// The position of the first token, for tiles and partitions begin at absolute positions.
    pub first_position: usize,
}

impl AttentionRow<'_> {
    /// `sⱼ` of each token.
    pub fn logits(&self) -> Vec<f64> {
        let logit = |token: &AttendedToken<'_>| {
            let products = self.query.iter().zip(token.key).map(|(q, &k)| q * f64::from(k));
            self.cap(self.scale * token.k_scale * products.sum::<f64>()) + token.bias
        };
        self.tokens.iter().map(logit).collect()
    }

    /// A score with its bound.
    pub fn cap(&self, score: f64) -> f64 {
        self.soft_cap.map_or(score, |cap| cap * (score / cap).tanh())
    }

    /// The exact result.
    pub fn attend(&self, head_dim: usize) -> Attended {
        let logits = self.logits();
        let sink = self.sink.unwrap_or(f64::NEG_INFINITY);
        let max = logits.iter().copied().fold(sink, f64::max);
        let (mut weight_sum, mut sums) = (0.0, vec![0.0; head_dim]);
        for (logit, token) in logits.iter().zip(&self.tokens) {
            let weight = (logit - max).exp();
            weight_sum += weight;
            add(&mut sums, weight * token.v_scale, token.value);
        }
        weight_sum += if self.sink.is_some() { (sink - max).exp() } else { 0.0 };
        self.finish(max, weight_sum, sums)
    }

    /// The result with weights rounded as a kernel does, and everything else exact.
    pub fn attend_rounded(&self, head_dim: usize, rounding: WeightRounding) -> Attended {
        let WeightRounding { dtype, tile_len, partition_len, first_position } = rounding;
        let logits = self.logits();
        // Maximum, sum and sums of all partitions so far.
        let mut total = (f64::NEG_INFINITY, 0.0, vec![0.0; head_dim]);
        let mut token_idx = 0;
        while token_idx < logits.len() {
            let partition = (first_position + token_idx) / partition_len;
            let (mut max, mut weight_sum, mut sums) = (f64::NEG_INFINITY, 0.0, vec![0.0; head_dim]);
            while token_idx < logits.len()
                && (first_position + token_idx) / partition_len == partition
            {
                let position = first_position + token_idx;
                let tile_end = (position / tile_len + 1) * tile_len - first_position;
                let tile = token_idx..tile_end.min(logits.len());
                let new_max = logits[tile.clone()].iter().copied().fold(max, f64::max);
                scale(&mut weight_sum, &mut sums, max, new_max);
                max = new_max;
                for (logit, token) in logits[tile.clone()].iter().zip(&self.tokens[tile.clone()]) {
                    let weight = (logit - max).exp();
                    weight_sum += weight;
                    let rounded = dtype.round((weight * token.v_scale) as f32);
                    add(&mut sums, f64::from(rounded), token.value);
                }
                token_idx = tile.end;
            }
            let new_max = total.0.max(max);
            scale(&mut total.1, &mut total.2, total.0, new_max);
            scale(&mut weight_sum, &mut sums, max, new_max);
            total.0 = new_max;
            total.1 += weight_sum;
            total.2.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
        }
        let (max, mut weight_sum, mut sums) = total;
        let new_max = self.sink.map_or(max, |sink| sink.max(max));
        scale(&mut weight_sum, &mut sums, max, new_max);
        weight_sum += self.sink.map_or(0.0, |sink| (sink - new_max).exp());
        self.finish(new_max, weight_sum, sums)
    }

    fn finish(&self, max: f64, weight_sum: f64, sums: Vec<f64>) -> Attended {
        if weight_sum == 0.0 {
            return Attended { out: sums, lse: f64::NEG_INFINITY };
        }
        let out = sums.into_iter().map(|sum| self.v_scale * sum / weight_sum).collect();
        Attended { out, lse: max + weight_sum.ln() }
    }
}

fn add(sums: &mut [f64], weight: f64, value: &[f32]) {
    for (sum, &value) in sums.iter_mut().zip(value) {
        *sum += weight * f64::from(value);
    }
}

/// Makes sums that were relative to `old` relative to `new`.
fn scale(weight_sum: &mut f64, sums: &mut [f64], old: f64, new: f64) {
    let shrink = if old == new { 1.0 } else { (old - new).exp() };
    *weight_sum *= shrink;
    sums.iter_mut().for_each(|sum| *sum *= shrink);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::Rng;

    fn row<'a>(pairs: &[(&'a [f32], &'a [f32])]) -> AttentionRow<'a> {
        AttentionRow {
            query: vec![1.0],
            tokens: pairs.iter().map(|&pair| AttendedToken::new(pair)).collect(),
            scale: 1.0,
            v_scale: 1.0,
            soft_cap: None,
            sink: None,
        }
    }

    #[test]
    fn each_feature_is_in_its_place() {
        // Scores 0 and ln 3: weights 1/4 and 3/4.
        let ln3 = [3.0_f32.ln()];
        let plain = row(&[(&[0.0], &[8.0]), (&ln3, &[4.0])]);
        let close = |attended: &Attended, out: f64, lse: f64| {
            assert!((attended.out[0] - out).abs() < 1e-6, "{attended:?}");
            assert!((attended.lse - lse).abs() < 1e-6, "{attended:?}");
        };
        close(&plain.attend(1), 5.0, 4.0_f64.ln());
        // A sink of ln 4 takes half of the weight.
        close(
            &AttentionRow { sink: Some(4.0_f64.ln()), ..plain.clone() }.attend(1),
            2.5,
            8.0_f64.ln(),
        );
        close(&AttentionRow { v_scale: 3.0, ..plain.clone() }.attend(1), 15.0, 4.0_f64.ln());
        let mut biased = plain.clone();
        (biased.tokens[0].bias, biased.tokens[1].v_scale) = (3.0_f64.ln(), 2.0);
        close(&biased.attend(1), 8.0, 6.0_f64.ln());
        let mut scaled = plain.clone();
        (scaled.scale, scaled.tokens[1].k_scale) = (2.0, 0.5);
        close(&scaled.attend(1), 5.0, 4.0_f64.ln());
        // Far above its cap a score is the cap.
        let capped = AttentionRow { soft_cap: Some(3.0_f64.ln()), scale: 1e9, ..plain.clone() };
        close(&capped.attend(1), 5.0, 4.0_f64.ln());
        let nothing = row(&[]).attend(1);
        assert_eq!((nothing.out[0], nothing.lse), (0.0, f64::NEG_INFINITY));
    }

    #[test]
    fn rounding_weights_changes_little_and_something() {
        let mut rng = Rng::new(8);
        let numbers: Vec<f32> = (0..600).map(|_| rng.normal()).collect();
        let pairs: Vec<(&[f32], &[f32])> = numbers.chunks(2).map(|c| c.split_at(1)).collect();
        let row = AttentionRow { sink: Some(0.5), ..row(&pairs) };
        let rounded = |dtype, first_position| {
            let rounding =
                WeightRounding { dtype, tile_len: 64, partition_len: 128, first_position };
            row.attend_rounded(1, rounding)
        };
        let exact = row.attend(1);
        for first_position in [0, 63, 100, 129] {
            // A weight in f32 is rounded too.
            let same = rounded(DType::F32, first_position);
            assert!((same.out[0] - exact.out[0]).abs() < 1e-6, "{same:?} {exact:?}");
            let off = (rounded(DType::BF16, first_position).out[0] - exact.out[0]).abs();
            assert!(off > 1e-7 && off < 1e-2, "{off}");
            assert!((same.lse - exact.lse).abs() < 1e-12);
        }
    }
}
