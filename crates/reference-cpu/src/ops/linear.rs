//! The dense layer.

/// Input rows that are widened together: enough to pay for widening a weight row, few enough to
/// stay in a core's cache.
const ROW_BLOCK: usize = 64;

/// Independent partial sums of [`dot`].
const LANES: usize = 8;

/// `out[t, o] = Σᵢ x[t, i] · weight[o, i] + bias[o]`.
///
/// `x` `[num_rows, in_features]`, `weight` `[out_features, in_features]`, `out`
/// `[num_rows, out_features]`. An element depends on its row, its weight row and its bias alone.
pub fn linear(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    in_features: usize,
    out: &mut [f32],
) {
    let out_features = weight.len() / in_features;
    let mut weight_row = vec![0.0; in_features];
    let x_blocks = x.chunks(ROW_BLOCK * in_features);
    let out_blocks = out.chunks_mut(ROW_BLOCK * out_features);
    for (x, out) in x_blocks.zip(out_blocks) {
        let x: Vec<f64> = x.iter().copied().map(f64::from).collect();
        for (o, weight) in weight.chunks_exact(in_features).enumerate() {
            for (wide, &narrow) in weight_row.iter_mut().zip(weight) {
                *wide = f64::from(narrow);
            }
            let bias = bias.map_or(0.0, |bias| f64::from(bias[o]));
            for (t, x) in x.chunks_exact(in_features).enumerate() {
                out[t * out_features + o] = (dot(x, &weight_row) + bias) as f32;
            }
        }
    }
}

/// `Σᵢ x[i] · w[i]`, in a fixed order: element `i` goes to partial sum `i % 8`, the partial sums
/// are added from first to last, then the elements of the odd tail. Eight sums, because one would
/// wait for its own last addition.
pub fn dot(x: &[f64], w: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let (x_body, x_tail) = x.as_chunks::<LANES>();
    let (w_body, w_tail) = w.as_chunks::<LANES>();
    for (x, w) in x_body.iter().zip(w_body) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * w[lane];
        }
    }
    let body: f64 = sums.iter().sum();
    let tail: f64 = x_tail.iter().zip(w_tail).map(|(x, w)| x * w).sum();
    body + tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiplies_rows_by_weight_rows_and_adds_bias() {
        let x = [1.0, 2.0, 3.0, -1.0, 0.5, 4.0];
        let weight = [1.0, 0.0, 2.0, 0.0, -1.0, 1.0];
        let mut out = [0.0; 4];
        linear(&x, &weight, Some(&[10.0, 20.0]), 3, &mut out);
        assert_eq!(out, [17.0, 21.0, 17.0, 23.5]);
    }

    #[test]
    fn dot_covers_body_and_tail() {
        for len in 0..40 {
            let x: Vec<f64> = (0..len).map(f64::from).collect();
            let squares = f64::from((0..len).map(|i| i * i).sum::<i32>());
            assert_eq!(dot(&x, &x), squares, "length {len}");
        }
    }

    #[test]
    fn a_row_does_not_depend_on_its_block() {
        let x: Vec<f32> = (0..130 * 3).map(|i| (i as f32).sin()).collect();
        let weight = [0.3, -0.7, 1.1];
        let mut all = vec![0.0; 130];
        linear(&x, &weight, None, 3, &mut all);
        for (t, row) in x.chunks_exact(3).enumerate() {
            let mut alone = [0.0];
            linear(row, &weight, None, 3, &mut alone);
            assert_eq!(alone[0].to_bits(), all[t].to_bits(), "row {t}");
        }
    }
}
