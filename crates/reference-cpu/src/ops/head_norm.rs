//! RMSNorm of each head (Qwen3's QK-norm).

use engine_core::ops::Cols;

use super::rms_norm::normalise;

/// Normalises each of `num_heads` heads of each row of `x` in place, as
/// [`rms_norm`](super::rms_norm()) does a whole row. `weight` `[head_dim]`.
pub fn head_norm(x: Cols<&mut [f32]>, weight: &[f32], eps: f32, num_rows: usize, num_heads: usize) {
    let width = num_heads * weight.len();
    for row in x.buffer.chunks_mut(x.stride).take(num_rows) {
        let heads = &mut row[x.first_col..x.first_col + width];
        for head in heads.chunks_exact_mut(weight.len()) {
            normalise(head, weight, eps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_each_head_of_the_view_alone() {
        let mut x = [7.0, 3.0, 4.0, 30.0, 40.0, 9.0];
        let view = Cols { buffer: &mut x[..], first_col: 1, stride: 6 };
        head_norm(view, &[1.0, 2.0], 0.0, 1, 2);
        let (a, b) = (3.0 / 12.5_f64.sqrt(), 8.0 / 12.5_f64.sqrt());
        let (a, b) = (a as f32, b as f32);
        assert_eq!(x, [7.0, a, b, a, b, 9.0]);
    }
}
