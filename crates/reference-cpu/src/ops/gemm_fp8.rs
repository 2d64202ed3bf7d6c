//! The dense layer on FP8 codes with scales.

use engine_core::formats::Fp8Format;

/// Rows and columns of a block of weights that share a scale, and columns of a row of inputs that do.
pub const SCALE_BLOCK: usize = 128;

/// What codes are multiplied with.
#[derive(Clone, Copy, Debug)]
pub enum GemmScales<'a> {
    /// One for each row of inputs, and one for each row of weights.
    Rows {
        /// `[num_rows]`.
        x: &'a [f32],
        /// `[out_features]`.
        weight: &'a [f32],
    },
    /// One for each [`SCALE_BLOCK`] columns of a row of inputs, and one for each block of weights of as many rows and
    /// columns. The last ones may be smaller. As DeepSeek-V3 has it (arXiv:2412.19437, §3.3).
    Blocks {
        /// `[num_rows, ⌈in_features / 128⌉]`.
        x: &'a [f32],
        /// `[⌈out_features / 128⌉, ⌈in_features / 128⌉]`.
        weight: &'a [f32],
    },
}

impl GemmScales<'_> {
    /// The product of the two scales of element `k` of row `t` and weight row `o`.
    fn of(&self, [t, o, k]: [usize; 3], in_features: usize) -> f64 {
        let num_blocks = in_features.div_ceil(SCALE_BLOCK);
        let (x, weight) = match *self {
            GemmScales::Rows { x, weight } => (x[t], weight[o]),
            GemmScales::Blocks { x, weight } => {
                let block = k / SCALE_BLOCK;
                (x[t * num_blocks + block], weight[o / SCALE_BLOCK * num_blocks + block])
            }
        };
        f64::from(x) * f64::from(weight)
    }
}

/// The operands of [`gemm_fp8`].
#[derive(Clone, Copy, Debug)]
pub struct GemmFp8<'a> {
    /// Codes `[num_rows, in_features]`.
    pub x: &'a [u8],
    /// Codes `[out_features, in_features]`.
    pub weight: &'a [u8],
    /// What they are codes of.
    pub format: Fp8Format,
    /// What they are multiplied with.
    pub scales: GemmScales<'a>,
    /// `[out_features]`.
    pub bias: Option<&'a [f32]>,
    /// Columns.
    pub in_features: usize,
}

/// `out[t, o] = Σₖ x[t, k] · scale · weight[o, k] · scale + bias[o]`, and `Σ |…|` of the same: what its error is bounded by.
pub fn gemm_fp8(args: &GemmFp8<'_>) -> (Vec<f32>, Vec<f64>) {
    let GemmFp8 { x, weight, format, scales, bias, in_features } = *args;
    let (mut out, mut magnitudes) = (Vec::new(), Vec::new());
    for (t, x) in x.chunks_exact(in_features).enumerate() {
        for (o, weight) in weight.chunks_exact(in_features).enumerate() {
            let bias = bias.map_or(0.0, |bias| f64::from(bias[o]));
            let (mut sum, mut magnitude) = (bias, bias.abs());
            for (k, (&x, &weight)) in x.iter().zip(weight).enumerate() {
                let product = f64::from(format.decode(x)) * f64::from(format.decode(weight));
                let scaled = product * scales.of([t, o, k], in_features);
                sum += scaled;
                magnitude += scaled.abs();
            }
            out.push(sum as f32);
            magnitudes.push(magnitude);
        }
    }
    (out, magnitudes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_multiplied_with_the_scales_of_their_rows() {
        // 0x40 is 1, 0x48 is 2, 0xc4 is -1.5.
        let scales = GemmScales::Rows { x: &[2.0, 10.0], weight: &[0.5, 4.0] };
        let args = GemmFp8 {
            x: &[0x40, 0x48, 0x48, 0xc4],
            weight: &[0x48, 0x40, 0x40, 0],
            format: Fp8Format::E4m3Fnuz,
            scales,
            bias: Some(&[100.0, 0.0]),
            in_features: 2,
        };
        let (out, magnitudes) = gemm_fp8(&args);
        assert_eq!(out, [104.0, 8.0, 112.5, 80.0]);
        assert_eq!(magnitudes, [104.0, 8.0, 127.5, 80.0]);
    }

    #[test]
    fn blocks_of_128_have_their_own() {
        let one = [0x40; 130];
        let weights = [0x40; 130 * 130];
        let args = GemmFp8 {
            x: &one,
            weight: &weights,
            format: Fp8Format::E4m3Fnuz,
            scales: GemmScales::Blocks { x: &[1.0, 100.0], weight: &[1.0, 2.0, 3.0, 4.0] },
            bias: None,
            in_features: 130,
        };
        let (out, _) = gemm_fp8(&args);
        assert!(out[..128].iter().all(|&y| y == 128.0 + 2.0 * 200.0));
        assert!(out[128..].iter().all(|&y| y == 128.0 * 3.0 + 2.0 * 400.0));
    }
}
