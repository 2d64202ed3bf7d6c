//! Root mean square layer normalisation, arXiv:1910.07467.

/// `out[t, i] = x[r(t), i] / √(meanⱼ(x[r(t), j]²) + eps) · weight[i]`, with `r` = `rows`, or the
/// identity for `None`.
///
/// `x` `[_, hidden_size]`, `weight` `[hidden_size]`, `out` `[num_rows, hidden_size]`.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, rows: Option<&[u32]>, out: &mut [f32]) {
    let hidden_size = weight.len();
    for (t, out) in out.chunks_exact_mut(hidden_size).enumerate() {
        let row = rows.map_or(t, |rows| rows[t] as usize);
        out.copy_from_slice(&x[row * hidden_size..(row + 1) * hidden_size]);
        normalise(out, weight, eps);
    }
}

/// Divides `x` by its root mean square and multiplies by `weight`.
pub(super) fn normalise(x: &mut [f32], weight: &[f32], eps: f32) {
    let sum: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let root = (sum / x.len() as f64 + f64::from(eps)).sqrt();
    for (x, &weight) in x.iter_mut().zip(weight) {
        *x = (f64::from(*x) / root * f64::from(weight)) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::rms_norm;

    #[test]
    fn divides_by_the_root_mean_square() {
        // mean(3², 4²) = 12.5, and 12.5 + 3.5 = 4².
        let mut out = [0.0; 2];
        rms_norm(&[3.0, 4.0], &[1.0, 2.0], 3.5, None, &mut out);
        assert_eq!(out, [0.75, 2.0]);
    }

    #[test]
    fn takes_the_rows_it_is_told() {
        let x = [f32::NAN, f32::NAN, 3.0, 4.0];
        let mut out = [0.0; 4];
        rms_norm(&x, &[1.0, 2.0], 3.5, Some(&[1, 1]), &mut out);
        assert_eq!(out, [0.75, 2.0, 0.75, 2.0]);
    }
}
