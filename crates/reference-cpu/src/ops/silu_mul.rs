//! The gated activation of the feed-forward block (SwiGLU, arXiv:2002.05202).

/// `out[t, i] = silu(gate_up[t, i]) · gate_up[t, width + i]`, `silu(x) = x / (1 + e^−x)`.
///
/// `gate_up` `[num_rows, 2 · width]`, `out` `[num_rows, width]`.
pub fn silu_mul(gate_up: &[f32], width: usize, out: &mut [f32]) {
    let rows = gate_up.chunks_exact(2 * width);
    for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
        let (gate, up) = row.split_at(width);
        for (i, out) in out.iter_mut().enumerate() {
            let gate = f64::from(gate[i]);
            *out = (gate / (1.0 + (-gate).exp()) * f64::from(up[i])) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::silu_mul;

    #[test]
    fn gates_the_second_half_with_the_first() {
        let mut out = [9.0; 4];
        let ln3 = 3.0_f32.ln();
        silu_mul(&[0.0, ln3, 5.0, 4.0, -1e4, 1e4, 2.0, 2.0], 2, &mut out);
        // silu(ln 3) = ln 3 · 3/4.
        assert_eq!(out[0], 0.0);
        assert!((out[1] - 3.0 * ln3).abs() < 1e-6);
        assert_eq!(out[2..], [0.0, 2e4]);
    }
}
