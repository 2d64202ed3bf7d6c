//! The shapes that every backend is driven through: one table per op.
//!
//! Sizes are paired, not multiplied out: where a table has two long lists, the second is walked
//! diagonally, so that every value meets every value of the first list or a good part of them.

use engine_core::kv_dtype::KvDType;
use engine_core::kv_scales::KvScales;

use crate::inputs::Inputs;

/// Row counts: none, one, and both sides of usual tile sizes.
pub const ROW_COUNTS: [usize; 7] = [0, 1, 2, 7, 63, 64, 65];

/// Feature sizes: both sides of a vector, odd tails, and SmolLM2's own.
pub const FEATURE_SIZES: [usize; 9] = [1, 15, 16, 17, 64, 96, 576, 577, 1536];

/// Head sizes of the model families.
pub const HEAD_DIMS: [usize; 7] = [16, 32, 64, 96, 128, 192, 256];

/// Query and KV heads: SmolLM2, Llama 3 8B, Qwen2 7B, Qwen3 14B, one, multi-head, multi-query.
pub const HEADS: [(usize, usize); 7] = [(9, 3), (32, 8), (28, 4), (40, 8), (1, 1), (6, 6), (16, 1)];

/// Token slots of a kv_block.
pub const BLOCK_SIZES: [usize; 5] = [1, 7, 16, 32, 128];

/// Sliding windows; 1,000 is wider than most contexts.
pub const WINDOWS: [Option<u32>; 4] = [None, Some(1), Some(24), Some(1000)];

/// Sequence lengths: both sides of blocks and tiles, and some long ones.
pub const CONTEXTS: [usize; 10] = [1, 15, 16, 17, 63, 64, 65, 257, 1000, 2049];

const KINDS: [Inputs; 3] = [Inputs::Normal, Inputs::Peaked, Inputs::Extreme];

/// A dense layer.
#[derive(Clone, Debug)]
pub struct LinearCase {
    /// Rows.
    pub num_rows: usize,
    /// Columns of the weight.
    pub in_features: usize,
    /// Rows of the weight.
    pub out_features: usize,
    /// Parts that the weight is packed from.
    pub num_parts: usize,
    /// With a bias.
    pub bias: bool,
    /// Added to what is there.
    pub add_to: bool,
    /// Numbers.
    pub inputs: Inputs,
}

/// Every row count with every input width and every output width.
pub fn linear() -> Vec<LinearCase> {
    let mut cases = Vec::new();
    for (r, &num_rows) in ROW_COUNTS.iter().enumerate() {
        for (i, &in_features) in FEATURE_SIZES.iter().enumerate() {
            cases.push(LinearCase {
                num_rows,
                in_features,
                out_features: FEATURE_SIZES[(i + 4 * r) % FEATURE_SIZES.len()],
                num_parts: 1 + (i + r) % 3,
                bias: (i + r) % 2 == 0,
                add_to: (i / 2 + r) % 2 == 0,
                inputs: KINDS[(i + r / 2) % 3],
            });
        }
    }
    cases
}

/// Token embedding.
#[derive(Clone, Debug)]
pub struct EmbedCase {
    /// Rows.
    pub num_tokens: usize,
    /// Rows of the table.
    pub vocab_size: usize,
    /// Columns of the table.
    pub hidden_size: usize,
    /// Numbers.
    pub inputs: Inputs,
}

/// Every row count with small and odd tables.
pub fn embed() -> Vec<EmbedCase> {
    let case = |(r, &num_tokens): (usize, &usize)| EmbedCase {
        num_tokens,
        vocab_size: [1, 2, 257][r % 3],
        hidden_size: FEATURE_SIZES[(3 * r + 1) % FEATURE_SIZES.len()],
        inputs: KINDS[r % 3],
    };
    ROW_COUNTS.iter().enumerate().map(case).collect()
}

/// RMSNorm of rows.
#[derive(Clone, Debug)]
pub struct RmsNormCase {
    /// Output rows.
    pub num_rows: usize,
    /// Width.
    pub hidden_size: usize,
    /// Takes listed rows of a longer input instead of the first ones.
    pub gather: bool,
    /// Added to mean(x²).
    pub eps: f32,
    /// Factor on the inputs: at 1e-3, eps decides.
    pub magnitude: f32,
    /// Numbers.
    pub inputs: Inputs,
}

/// Every row count with every width.
pub fn rms_norm() -> Vec<RmsNormCase> {
    let mut cases = Vec::new();
    for (r, &num_rows) in ROW_COUNTS.iter().enumerate() {
        for (i, &hidden_size) in FEATURE_SIZES.iter().enumerate() {
            cases.push(RmsNormCase {
                num_rows,
                hidden_size,
                gather: (i + r) % 2 == 0,
                eps: [1e-5, 1e-6][i % 2],
                magnitude: [1.0, 1e-3, 1e4][(i + r) % 3],
                inputs: KINDS[(i / 3 + r) % 3],
            });
        }
    }
    cases
}

/// An op on heads in a view of a wider buffer: [`HeadNorm`](engine_core::ops::HeadNorm) and
/// [`Rope`](engine_core::ops::Rope).
#[derive(Clone, Debug)]
pub struct HeadsCase {
    /// Rows.
    pub num_rows: usize,
    /// Heads of the view.
    pub num_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Elements that turn, for RoPE.
    pub rotary_dim: usize,
    /// Columns before the view.
    pub first_col: usize,
    /// Columns after the view.
    pub cols_after: usize,
    /// Factor on the inputs: at 1e-3, a norm's eps decides.
    pub magnitude: f32,
    /// Numbers.
    pub inputs: Inputs,
}

/// Every row count with every head size.
pub fn heads() -> Vec<HeadsCase> {
    let mut cases = Vec::new();
    for (r, &num_rows) in ROW_COUNTS.iter().enumerate() {
        for (d, &head_dim) in HEAD_DIMS.iter().enumerate() {
            let case_idx = r * HEAD_DIMS.len() + d;
            cases.push(HeadsCase {
                num_rows,
                num_heads: [1, 3, 9, 8][(r + d) % 4],
                head_dim,
                rotary_dim: [head_dim, head_dim / 2, 2][case_idx % 3],
                first_col: [0, head_dim, 5][(r + 2 * d) % 3],
                cols_after: [0, 3 * head_dim, 1][(2 * r + d) % 3],
                magnitude: [1.0, 1e-3][case_idx % 2],
                inputs: KINDS[(r + d) % 3],
            });
        }
    }
    cases
}

/// cos and sin of positions.
#[derive(Clone, Debug)]
pub struct RopeAnglesCase {
    /// Rows.
    pub num_tokens: usize,
    /// Position of the first row.
    pub first_position: u32,
    /// Frequencies.
    pub num_freqs: usize,
    /// Base of the frequencies.
    pub theta: f64,
    /// Factor on cos and sin.
    pub attention_factor: f32,
}

/// Every row count with every head size, near position 0 and near 131,072.
pub fn rope_angles() -> Vec<RopeAnglesCase> {
    let mut cases = Vec::new();
    for (r, &num_tokens) in ROW_COUNTS.iter().enumerate() {
        for (d, &head_dim) in HEAD_DIMS.iter().enumerate() {
            cases.push(RopeAnglesCase {
                num_tokens,
                first_position: [0, 1, 4095, 131_007][(r + d) % 4],
                num_freqs: [head_dim / 2, head_dim / 4, 1][(r + 2 * d) % 3],
                theta: [1e4, 1e5, 1e6][(r + d) % 3],
                attention_factor: [1.0, 1.138_629_4][d % 2],
            });
        }
    }
    cases
}

/// How an FP8 cache is scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KvScaling {
    /// Not at all.
    Ones,
    /// Keys by one number in each layer, values by another.
    PerTensor,
    /// Keys and values of each head by their own.
    PerHead,
}

/// A format of the cache with its scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KvFormat {
    /// The format.
    pub dtype: KvDType,
    /// How it is scaled.
    pub scaling: KvScaling,
}

impl KvFormat {
    /// Its scales. No two of a layer are equal unless they have to be, and none is a power of two:
    /// a division by it rounds.
    pub fn scales(self, num_layers: usize, num_kv_heads: usize) -> KvScales {
        let heads = |of_values: usize| {
            let place = (0..num_layers * num_kv_heads)
                .map(|i| (2 * (i / num_kv_heads) + of_values, i % num_kv_heads));
            let scale = |(tensor, head): (usize, usize)| match self.scaling {
                KvScaling::Ones => 1.0,
                KvScaling::PerTensor => [0.3, 0.7, 0.11, 2.3][tensor % 4],
                KvScaling::PerHead => {
                    [0.3, 0.7, 0.11, 2.3][tensor % 4] * (1.0 + 0.37 * head as f32)
                }
            };
            place.map(scale).collect::<Vec<f32>>()
        };
        let scales = KvScales::new(num_kv_heads, heads(0), heads(1));
        scales.unwrap_or_else(|_| KvScales::ones(num_layers, num_kv_heads))
    }
}

/// Every way to store each of `dtypes`: FP8 with every scaling, the others without.
pub fn kv_formats(dtypes: &[KvDType]) -> Vec<KvFormat> {
    let ways = |&dtype: &KvDType| {
        let scalings: &[KvScaling] = match dtype {
            KvDType::Float(_) => &[KvScaling::Ones],
            KvDType::Fp8(_) => &[KvScaling::Ones, KvScaling::PerTensor, KvScaling::PerHead],
        };
        scalings.iter().map(move |&scaling| KvFormat { dtype, scaling })
    };
    dtypes.iter().flat_map(ways).collect()
}

/// Rotation, writing and attention in one.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // The names are those of `engine_core::ops::RotateAttend`.
pub struct RotateAttendCase {
    pub num_qo_heads: usize,
    pub num_kv_heads: usize,
    pub head_dim: usize,
    pub rotary_dim: usize,
    pub block_size: usize,
    pub window: Option<u32>,
    pub seqs: Vec<SeqCase>,
}

/// Cases of [`RotateAttendCase`]: a decode with a sequence of more than one partition, and a chunk of which a part of each head
/// turns.
pub fn rotate_attend() -> Vec<RotateAttendCase> {
    let seq = |num_rows, seq_len| SeqCase { seq_len, num_rows };
    vec![
        RotateAttendCase {
            num_qo_heads: 4,
            num_kv_heads: 2,
            head_dim: 64,
            rotary_dim: 64,
            block_size: 16,
            window: None,
            seqs: vec![seq(1, 600), seq(2, 19), seq(1, 1)],
        },
        RotateAttendCase {
            num_qo_heads: 3,
            num_kv_heads: 1,
            head_dim: 64,
            rotary_dim: 32,
            block_size: 7,
            window: Some(24),
            seqs: vec![seq(11, 40), seq(1, 30)],
        },
    ]
}

/// Writing the cache.
#[derive(Clone, Debug)]
pub struct KvWriteCase {
    /// Rows; each third one has slot −1 and is skipped.
    pub num_tokens: usize,
    /// KV heads.
    pub num_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Token slots of a kv_block.
    pub block_size: usize,
    /// Numbers.
    pub inputs: Inputs,
}

/// Every row count with every block size.
pub fn kv_write() -> Vec<KvWriteCase> {
    let mut cases = Vec::new();
    for (r, &num_tokens) in ROW_COUNTS.iter().enumerate() {
        for (b, &block_size) in BLOCK_SIZES.iter().enumerate() {
            cases.push(KvWriteCase {
                num_tokens,
                num_kv_heads: [1, 3, 8, 4, 6][(r + b) % 5],
                head_dim: HEAD_DIMS[(r + 3 * b) % HEAD_DIMS.len()],
                block_size,
                inputs: KINDS[(r + b) % 3],
            });
        }
    }
    cases
}

/// A run of tokens on its way from one cache to another.
#[derive(Clone, Debug)]
pub struct KvRunCase {
    /// Tokens of the sequence.
    pub num_tokens: usize,
    /// First token and length of a run of it.
    pub run: (usize, usize),
    /// KV heads.
    pub num_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Token slots of a kv_block in the one cache, and in the other.
    pub block_sizes: [usize; 2],
}

/// Runs inside a kv_block, across borders, of whole ones, of one token and of none.
pub fn kv_run() -> Vec<KvRunCase> {
    let case = |num_tokens, run, num_kv_heads, head_dim, block_sizes| KvRunCase {
        num_tokens,
        run,
        num_kv_heads,
        head_dim,
        block_sizes,
    };
    vec![
        case(40, (0, 40), 3, 64, [16, 7]),
        case(33, (9, 17), 1, 128, [7, 16]),
        case(50, (18, 5), 2, 32, [32, 1]),
        case(70, (16, 48), 2, 64, [16, 128]),
        case(9, (8, 1), 4, 96, [1, 32]),
        case(5, (2, 0), 1, 64, [128, 16]),
    ]
}

/// One sequence of an attention case: the step computes its last `num_rows` tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeqCase {
    /// Tokens, the step's own included.
    pub seq_len: usize,
    /// Rows in the step.
    pub num_rows: usize,
}

/// Paged attention.
#[derive(Clone, Debug)]
pub struct AttentionCase {
    /// Query heads.
    pub num_qo_heads: usize,
    /// KV heads.
    pub num_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Token slots of a kv_block.
    pub block_size: usize,
    /// Tokens each row sees.
    pub window: Option<u32>,
    /// The batch.
    pub seqs: Vec<SeqCase>,
    /// Numbers of queries and keys; extreme ones for the values only.
    pub inputs: Inputs,
}

/// Every head grouping with every head size, in batches of every kind; each context as a decode
/// and as a chunk, each window with each block size.
pub fn attention() -> Vec<AttentionCase> {
    let mut cases = Vec::new();
    for (h, &(num_qo_heads, num_kv_heads)) in HEADS.iter().enumerate() {
        for (d, &head_dim) in HEAD_DIMS.iter().enumerate() {
            let case_idx = h * HEAD_DIMS.len() + d;
            cases.push(AttentionCase {
                num_qo_heads,
                num_kv_heads,
                head_dim,
                block_size: BLOCK_SIZES[case_idx % BLOCK_SIZES.len()],
                window: WINDOWS[case_idx % WINDOWS.len()],
                seqs: attention_batch(case_idx),
                inputs: KINDS[(h + d) % 3],
            });
        }
    }
    cases
}

/// Batches of seven kinds in turn, over contexts that go on at every turn.
fn attention_batch(case_idx: usize) -> Vec<SeqCase> {
    let turn = case_idx / 7;
    let context = |offset: usize| CONTEXTS[(3 * turn + offset) % CONTEXTS.len()];
    let seq =
        |seq_len: usize, num_rows: usize| SeqCase { seq_len, num_rows: num_rows.min(seq_len) };
    match case_idx % 7 {
        0 => vec![seq(context(case_idx), 1)],
        1 => vec![seq(CONTEXTS[turn % 7], 65)],
        2 => vec![seq(context(case_idx), 7)],
        3 => vec![seq(context(0), 1), seq(CONTEXTS[(turn + 3) % 7], 17), seq(context(5), 2)],
        4 => CONTEXTS[..7].iter().map(|&seq_len| seq(seq_len, 1)).collect(),
        5 => vec![seq(17, 17), seq(257, 33), seq(1, 1), seq(64, 1), seq(65, 2)],
        _ if turn == 0 => Vec::new(),
        _ => vec![seq(context(7), 3), seq(context(8), 1)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn linear_meets_every_row_count_with_every_width() {
        let cases = linear();
        let ins: HashSet<_> = cases.iter().map(|c| (c.num_rows, c.in_features)).collect();
        let outs: HashSet<_> = cases.iter().map(|c| (c.num_rows, c.out_features)).collect();
        assert_eq!((ins.len(), outs.len()), (63, 63));
        let modes: HashSet<_> = cases.iter().map(|c| (c.bias, c.add_to, c.num_parts)).collect();
        assert_eq!(modes.len(), 12);
    }

    #[test]
    fn every_format_has_its_scales() {
        let formats = kv_formats(&KvDType::ALL);
        assert_eq!(formats.len(), 3 + 4 * 3);
        for format in formats {
            let scales = format.scales(2, 3);
            let mut values: Vec<u32> = scales.values().map(f32::to_bits).collect();
            values.sort_unstable();
            values.dedup();
            let expected = match format.scaling {
                KvScaling::Ones => 1,
                KvScaling::PerTensor => 4,
                KvScaling::PerHead => 12,
            };
            assert_eq!(values.len(), expected, "{format:?}");
        }
    }

    #[test]
    fn attention_meets_every_context_window_and_block_size() {
        let cases = attention();
        let heads: HashSet<_> =
            cases.iter().map(|c| (c.num_qo_heads, c.num_kv_heads, c.head_dim)).collect();
        assert_eq!(heads.len(), 49);
        let pages: HashSet<_> = cases.iter().map(|c| (c.block_size, c.window)).collect();
        assert_eq!(pages.len(), BLOCK_SIZES.len() * WINDOWS.len());
        let seqs: HashSet<_> =
            cases.iter().flat_map(|c| &c.seqs).map(|s| (s.seq_len, s.num_rows == 1)).collect();
        for context in CONTEXTS {
            assert!(seqs.contains(&(context, true)), "no decode at {context}");
            assert!(context == 1 || seqs.contains(&(context, false)), "no chunk at {context}");
        }
        assert!(cases.iter().any(|c| c.seqs.is_empty()));
    }
}
