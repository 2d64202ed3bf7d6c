//! Weights of four bits, as GPTQ and AWQ checkpoints pack them.

/// How four-bit numbers lie in 32-bit words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Int4Format {
    /// AutoGPTQ's first format: a word is eight neighbouring input features of an output feature, lowest bits first; a word
    /// of zero points is eight neighbouring output features; what is stored is the zero point less one.
    Gptq,
    /// The same with zero points as they are (`checkpoint_format: gptq_v2`).
    GptqV2,
    /// AutoAWQ's `gemm` format: a word, of weights and of zero points, is eight neighbouring output features, from the lowest
    /// bits on numbers 0, 2, 4, 6, 1, 3, 5, 7 of them.
    Awq,
}

/// The output feature that lies at each place of a word of AWQ's.
const AWQ_ORDER: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];

/// Weights of `[in_features, out_features]`.
#[derive(Clone, Copy, Debug)]
pub struct Int4Weight<'a> {
    /// How they are packed.
    pub format: Int4Format,
    /// GPTQ: `[in_features / 8, out_features]`; AWQ: `[in_features, out_features / 8]`.
    pub qweight: &'a [u32],
    /// `[num_groups, out_features / 8]`.
    pub qzeros: &'a [u32],
    /// `[num_groups, out_features]`: binary16 numbers.
    pub scales: &'a [f32],
    /// The group of each input feature; `None`: `group_size` neighbours are one.
    pub g_idx: Option<&'a [u32]>,
    /// Input features of a group.
    pub group_size: usize,
    /// Input features.
    pub in_features: usize,
    /// Output features.
    pub out_features: usize,
}

/// `weight[o, i] = scales[g, o] · (q[i, o] − zero[g, o])` with `g` the group of `i`: `[out_features, in_features]`, exact in
/// f32.
pub fn int4_dequantize(args: &Int4Weight<'_>) -> Vec<f32> {
    let Int4Weight { in_features, out_features, .. } = *args;
    let mut weight = Vec::with_capacity(in_features * out_features);
    for o in 0..out_features {
        for i in 0..in_features {
            let group = args.g_idx.map_or(i / args.group_size, |g_idx| g_idx[i] as usize);
            let (q, zero) = (args.q(i, o) as f32, args.zero(group, o) as f32);
            weight.push(args.scales[group * out_features + o] * (q - zero));
        }
    }
    weight
}

impl Int4Weight<'_> {
    fn q(&self, i: usize, o: usize) -> u32 {
        match self.format {
            Int4Format::Gptq | Int4Format::GptqV2 => {
                nibble(self.qweight[i / 8 * self.out_features + o], i % 8)
            }
            Int4Format::Awq => nibble(self.qweight[(i * self.out_features + o) / 8], awq_place(o)),
        }
    }

    fn zero(&self, group: usize, o: usize) -> u32 {
        let word = self.qzeros[(group * self.out_features + o) / 8];
        match self.format {
            Int4Format::Gptq => nibble(word, o % 8) + 1,
            Int4Format::GptqV2 => nibble(word, o % 8),
            Int4Format::Awq => nibble(word, awq_place(o)),
        }
    }
}

fn awq_place(o: usize) -> usize {
    AWQ_ORDER.iter().position(|&feature| feature == o % 8).unwrap_or(0)
}

fn nibble(word: u32, place: usize) -> u32 {
    word >> (4 * place) & 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gptq_packs_along_the_input() {
        let args = Int4Weight {
            format: Int4Format::Gptq,
            // Input feature i of output feature 0 is i, of 1 is 15 - i; of the others 8.
            qweight: &[
                0x7654_3210,
                0x89ab_cdef,
                0x8888_8888,
                0x8888_8888,
                0x8888_8888,
                0x8888_8888,
                0x8888_8888,
                0x8888_8888,
            ],
            qzeros: &[0x7777_7737],
            scales: &[1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
            g_idx: None,
            group_size: 8,
            in_features: 8,
            out_features: 8,
        };
        let weight = int4_dequantize(&args);
        assert_eq!(weight[..8], [-8.0, -7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0]);
        assert_eq!(weight[8..16], [22.0, 20.0, 18.0, 16.0, 14.0, 12.0, 10.0, 8.0]);
        assert!(weight[16..].iter().all(|&w| w == 0.0));
        let second = Int4Weight { format: Int4Format::GptqV2, ..args };
        assert_eq!(int4_dequantize(&second)[0], -7.0);
    }

    #[test]
    fn awq_packs_along_the_output_in_its_own_order() {
        let args = Int4Weight {
            format: Int4Format::Awq,
            // From the lowest bits on, the features 0, 2, 4, 6, 1, 3, 5, 7, each holding its own number.
            qweight: &[0x7531_6420],
            qzeros: &[0x0000_0001],
            scales: &[1.0; 8],
            g_idx: None,
            group_size: 1,
            in_features: 1,
            out_features: 8,
        };
        assert_eq!(int4_dequantize(&args), [-1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    }

    #[test]
    fn features_go_to_the_groups_that_g_idx_says() {
        let args = Int4Weight {
            format: Int4Format::GptqV2,
            qweight: &[0x1111_1111; 8],
            qzeros: &[0, 0],
            scales: &[[1.0; 8], [3.0; 8]].concat(),
            g_idx: Some(&[0, 1, 0, 1, 1, 1, 0, 0]),
            group_size: 4,
            in_features: 8,
            out_features: 8,
        };
        assert_eq!(int4_dequantize(&args)[8..16], [1.0, 3.0, 1.0, 3.0, 3.0, 3.0, 1.0, 1.0]);
    }
}
