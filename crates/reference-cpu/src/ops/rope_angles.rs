//! cos and sin of every row's position.

/// `out[t] = [cos(p·f₀) …, sin(p·f₀) …]`, each times `attention_factor`, with `p = positions[t]`.
///
/// `inv_freq` `[rotary_dim / 2]`, `out` `[num_tokens, rotary_dim]`. The angle is the f32 product of
/// position and frequency, as Hugging Face computes it: at position 100,000 it is 0.004 off the
/// exact one, and a model was trained with that. cos and sin of that angle are exact to f32.
pub fn rope_angles(positions: &[u32], inv_freq: &[f32], attention_factor: f32, out: &mut [f32]) {
    let num_freqs = inv_freq.len();
    for (&position, out) in positions.iter().zip(out.chunks_exact_mut(2 * num_freqs)) {
        let (cos, sin) = out.split_at_mut(num_freqs);
        for (i, &inv_freq) in inv_freq.iter().enumerate() {
            let angle = f64::from(position as f32 * inv_freq);
            cos[i] = angle.cos() as f32 * attention_factor;
            sin[i] = angle.sin() as f32 * attention_factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::rope_angles;
    use core::f32::consts::FRAC_PI_2;

    #[test]
    fn cosines_come_before_sines() {
        let mut out = [9.0; 8];
        rope_angles(&[0, 1], &[FRAC_PI_2, 0.0], 2.0, &mut out);
        assert_eq!(out[..4], [2.0, 2.0, 0.0, 0.0]);
        assert!(out[4].abs() < 1e-6 && out[6] == 2.0);
        assert_eq!((out[5], out[7]), (2.0, 0.0));
    }

    #[test]
    fn the_angle_is_an_f32_product() {
        let mut out = [0.0; 2];
        rope_angles(&[100_003], &[0.3], 1.0, &mut out);
        let angle = f64::from(100_003.0_f32 * 0.3_f32);
        assert_eq!(out[1], angle.sin() as f32);
        let wide = 100_003.0 * f64::from(0.3_f32);
        assert!((wide.sin() - f64::from(out[1])).abs() > 1e-5, "the product was not rounded");
    }
}
