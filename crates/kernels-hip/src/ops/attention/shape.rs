//! What a variant of attention is chosen by, and the tables of variants.

use std::fmt;

use engine_core::dtype::DType;
use engine_core::kv_dtype::KvDType;

use crate::variant::Variant;

/// The shape of a launch of attention.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AttentionShape {
    /// The format of queries and results.
    pub q_dtype: DType,
    /// The format of keys and values.
    pub kv_dtype: KvDType,
    /// Query heads.
    pub num_qo_heads: usize,
    /// Key and value heads.
    pub num_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Token slots of a kv_block.
    pub block_size: usize,
    /// Whether tokens have scales of their own.
    pub has_token_scales: bool,
    /// Rows of the longest chunk.
    pub max_num_rows: usize,
    /// Tokens of the longest sequence.
    pub max_seq_len: usize,
}

impl fmt::Display for AttentionShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AttentionShape { q_dtype, kv_dtype, num_qo_heads, num_kv_heads, head_dim, .. } = self;
        write!(f, "{q_dtype} over {kv_dtype}, {num_qo_heads}/{num_kv_heads} heads of {head_dim}")?;
        if self.has_token_scales {
            f.write_str(", token scales")?;
        }
        write!(
            f,
            ", kv_block {}, up to {} rows of {} tokens",
            self.block_size, self.max_num_rows, self.max_seq_len
        )
    }
}

/// The reduction class of the plain ports.
const NAIVE: &str =
    "attention: f32 in order of d, tiles of 64 positions, f32 weights in position order";

/// The largest head that the plain ports have room for.
const NAIVE_MAX_HEAD_DIM: usize = 256;

pub(in crate::ops) const PAGED: &[Variant<AttentionShape>] = &[Variant {
    op: "paged_attention",
    name: "paged_attention_v1_naive",
    reduction_class: NAIVE,
    supports: naive,
}];

pub(in crate::ops) const PREFILL: &[Variant<AttentionShape>] = &[Variant {
    op: "prefill_attention",
    name: "prefill_attention_v1_naive",
    reduction_class: NAIVE,
    supports: naive,
}];

fn naive(shape: &AttentionShape) -> Result<(), String> {
    formats(shape)?;
    if shape.head_dim > NAIVE_MAX_HEAD_DIM {
        return Err(format!("head_dim is above {NAIVE_MAX_HEAD_DIM}"));
    }
    Ok(())
}

/// Whether there are matrix instructions, and kernels, for the formats.
fn formats(shape: &AttentionShape) -> Result<(), String> {
    use engine_core::formats::Fp8Format::{E4m3Fnuz, E5m2Fnuz};
    match (shape.q_dtype, shape.kv_dtype) {
        (DType::F32, _) => Err("queries have 16 bits".to_owned()),
        (q, KvDType::Float(kv)) if q == kv => Ok(()),
        (_, KvDType::Fp8(E4m3Fnuz | E5m2Fnuz)) => Ok(()),
        _ => Err("a cache is of the queries' format, fp8_e4m3fnuz or fp8_e5m2fnuz".to_owned()),
    }
}
