//! Rotary position embedding, half-split, arXiv:2104.09864.

use engine_core::ops::Cols;

/// Rotates the leading `rotary_dim` elements of each head of `x` in place: with
/// `n = rotary_dim / 2`, the pair `(x[i], x[i + n])` turns by angle `i`.
///
/// `angles` `[num_rows, rotary_dim]`: the cosines of a row, then its sines.
pub fn rope(
    x: Cols<&mut [f32]>,
    angles: &[f32],
    num_rows: usize,
    num_heads: usize,
    head_dim: usize,
    rotary_dim: usize,
) {
    let width = num_heads * head_dim;
    let rows = x.buffer.chunks_mut(x.stride).take(num_rows);
    for (row, angles) in rows.zip(angles.chunks_exact(rotary_dim)) {
        let (cos, sin) = angles.split_at(rotary_dim / 2);
        let heads = &mut row[x.first_col..x.first_col + width];
        for head in heads.chunks_exact_mut(head_dim) {
            let (first, second) = head[..rotary_dim].split_at_mut(rotary_dim / 2);
            for i in 0..rotary_dim / 2 {
                let (a, b) = (f64::from(first[i]), f64::from(second[i]));
                let (cos, sin) = (f64::from(cos[i]), f64::from(sin[i]));
                first[i] = (a * cos - b * sin) as f32;
                second[i] = (b * cos + a * sin) as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_pairs_half_a_rotation_apart_and_leaves_the_rest() {
        // A quarter turn of (1, 3), no turn of (2, 4); the head's last element is not rotary.
        let mut x = [8.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        let view = Cols { buffer: &mut x[..], first_col: 1, stride: 6 };
        rope(view, &[0.0, 1.0, 1.0, 0.0], 1, 1, 5, 4);
        assert_eq!(x, [8.0, -3.0, 2.0, 1.0, 4.0, 5.0]);
    }
}
