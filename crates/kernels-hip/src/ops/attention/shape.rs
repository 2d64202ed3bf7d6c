//! What a variant of attention is chosen by, and the tables of variants.

use std::fmt;

use engine_core::dtype::DType;
use engine_core::formats::Fp8Format;
use engine_core::kv_dtype::KvDType;

use super::mapping::COLUMNS;
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

/// The reduction class of the variants with matrix instructions: `kernels/include/attention_mfma.h` says it in full.
const MFMA: &str =
    "attention: mfma 16x16x16, tiles of 64 and partitions of 512 positions, 16-bit weights";

/// The same with another q.k: lower precision, and so taken by pin alone.
const MFMA_FP8: &str = "attention: queries in fp8 and mfma 16x16x32, then as mfma 16x16x16";

const fn paged(
    name: &'static str,
    reduction_class: &'static str,
    supports: fn(&AttentionShape) -> Result<(), String>,
) -> Variant<AttentionShape> {
    Variant { op: "paged_attention", name, reduction_class, supports }
}

const fn prefill(
    name: &'static str,
    reduction_class: &'static str,
    supports: fn(&AttentionShape) -> Result<(), String>,
) -> Variant<AttentionShape> {
    Variant { op: "prefill_attention", name, reduction_class, supports }
}

pub(in crate::ops) const PAGED: &[Variant<AttentionShape>] = &[
    paged(WORK_LIST, MFMA, split),
    paged(SPLIT, MFMA, split),
    paged(ONE_SHOT, MFMA, mfma),
    paged("paged_attention_v2_wave", NAIVE, vectors),
    paged("paged_attention_v1_naive", NAIVE, naive),
    paged(FP8_WORK_LIST, MFMA_FP8, mfma_fp8),
];

pub(in crate::ops) const PREFILL: &[Variant<AttentionShape>] = &[
    prefill(PING_PONG, MFMA, ping_pong),
    prefill(LDS, MFMA, lds),
    prefill("prefill_attention_v2_mfma_direct", MFMA, mfma),
    prefill("prefill_attention_v1_naive", NAIVE, naive),
    prefill("prefill_attention_v4_mfma_fp8", MFMA_FP8, mfma_fp8),
];

/// What merges the partial results of those that split.
pub(in crate::ops) const MERGE: &[Variant<AttentionShape>] = &[Variant {
    op: "attention_merge",
    name: "attention_merge_v1_in_order",
    reduction_class: MFMA,
    supports: formats,
}];

/// What makes kv_blocks of 64 slots of others.
pub(in crate::ops) const REPACK: &[Variant<AttentionShape>] = &[Variant {
    op: "attention_repack",
    name: "attention_repack_v1_naive",
    reduction_class: "none: a copy",
    supports: formats,
}];

/// The variant of `paged_attention` that serves every length with one launch of matrix instructions.
pub(super) const ONE_SHOT: &str = "paged_attention_v3_mfma_one_shot";

/// The variants of `paged_attention` that need a merge.
pub(super) const SPLIT: &str = "paged_attention_v4_mfma_split";
pub(super) const WORK_LIST: &str = "paged_attention_v5_mfma_work_list";
pub(super) const FP8_WORK_LIST: &str = "paged_attention_v6_mfma_fp8";

/// The variant of `prefill_attention` whose waves take turns.
pub(super) const PING_PONG: &str = "prefill_attention_v3_ping_pong";

/// The variant of `prefill_attention` for heads of any size whose waves share K and V.
pub(super) const LDS: &str = "prefill_attention_v5_mfma_lds";

/// Packed queries of a work-group of `prefill_attention_v2_mfma_direct`.
const DIRECT_COLUMNS: usize = 64;

/// Positions of a partition.
pub(super) const PARTITION: usize = 512;

fn split(shape: &AttentionShape) -> Result<(), String> {
    mfma(shape)?;
    if shape.max_seq_len <= PARTITION {
        return Err(format!("no sequence is longer than a partition of {PARTITION}"));
    }
    Ok(())
}

fn ping_pong(shape: &AttentionShape) -> Result<(), String> {
    mfma(shape)?;
    if shape.head_dim != 128 {
        return Err("head_dim is not 128".to_owned());
    }
    if shape.has_token_scales {
        return Err("tokens have scales".to_owned());
    }
    if shape.num_packed_queries() <= COLUMNS {
        return Err(format!("one wave has room for all queries: there are at most {COLUMNS}"));
    }
    Ok(())
}

fn lds(shape: &AttentionShape) -> Result<(), String> {
    mfma(shape)?;
    if shape.num_packed_queries() <= DIRECT_COLUMNS {
        return Err(format!(
            "half of the waves have nothing to do for up to {DIRECT_COLUMNS} queries"
        ));
    }
    Ok(())
}

/// Every variant with matrix instructions serves what all of them do: which one is taken may depend on lengths, and the
/// reduction class may not.
fn mfma(shape: &AttentionShape) -> Result<(), String> {
    formats(shape)?;
    let head_dims = match (shape.q_dtype, shape.kv_dtype) {
        (_, KvDType::Float(_)) | (DType::BF16, KvDType::Fp8(Fp8Format::E4m3Fnuz)) => EVERY_HEAD_DIM,
        _ => USUAL_HEAD_DIMS,
    };
    if !head_dims.contains(&shape.head_dim) {
        return Err(format!("head_dim is not one of {head_dims:?}"));
    }
    Ok(())
}

/// Keys go to matrix instructions as they are stored.
fn mfma_fp8(shape: &AttentionShape) -> Result<(), String> {
    if shape.kv_dtype.fp8().is_none() {
        return Err("the cache is not of FP8".to_owned());
    }
    mfma(shape)
}

/// A lane loads 16 bytes of values: neighbouring slots of one kv_block.
fn vectors(shape: &AttentionShape) -> Result<(), String> {
    naive(shape)?;
    let num_slots = 16 / shape.kv_dtype.size_bytes();
    if !shape.block_size.is_multiple_of(num_slots) {
        return Err(format!("kv_block is no multiple of the {num_slots} slots of a load"));
    }
    Ok(())
}

/// Heads that kernels are compiled for with the formats of most models.
const EVERY_HEAD_DIM: &[usize] = &[64, 96, 128, 192, 256];

/// Those with other formats.
const USUAL_HEAD_DIMS: &[usize] = &[64, 128];

/// A lane's 16-byte load of values is up to 16 tokens of one kv_block.
const MIN_BLOCK_SIZE: usize = 16;

impl AttentionShape {
    /// Queries of the longest chunk that share a KV head.
    pub(super) fn num_packed_queries(&self) -> usize {
        self.max_num_rows.saturating_mul(self.num_qo_heads / self.num_kv_heads)
    }

    /// Whether kernels with matrix instructions read kv_blocks of this size as they are; others are repacked first.
    pub(super) fn has_even_blocks(&self) -> bool {
        self.block_size.is_power_of_two() && self.block_size >= MIN_BLOCK_SIZE
    }
}

fn naive(shape: &AttentionShape) -> Result<(), String> {
    formats(shape)?;
    if shape.head_dim > NAIVE_MAX_HEAD_DIM {
        return Err(format!("head_dim is above {NAIVE_MAX_HEAD_DIM}"));
    }
    Ok(())
}

/// Whether there are matrix instructions, and kernels, for the formats.
fn formats(shape: &AttentionShape) -> Result<(), String> {
    use Fp8Format::{E4m3Fnuz, E5m2Fnuz};
    match (shape.q_dtype, shape.kv_dtype) {
        (DType::F32, _) => Err("queries have 16 bits".to_owned()),
        (q, KvDType::Float(kv)) if q == kv => Ok(()),
        (_, KvDType::Fp8(E4m3Fnuz | E5m2Fnuz)) => Ok(()),
        _ => Err("a cache is of the queries' format, fp8_e4m3fnuz or fp8_e5m2fnuz".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reduction class of the variant that is taken if all are compiled in.
    fn class(table: &[Variant<AttentionShape>], shape: &AttentionShape) -> Option<&'static str> {
        table.iter().find(|row| (row.supports)(shape).is_ok()).map(|row| row.reduction_class)
    }

    #[test]
    fn neither_lengths_nor_block_sizes_choose_the_reduction_class() {
        let formats = [
            (DType::BF16, KvDType::Float(DType::BF16)),
            (DType::F16, KvDType::Fp8(Fp8Format::E5m2Fnuz)),
            (DType::BF16, KvDType::Float(DType::F16)),
            (DType::F32, KvDType::Float(DType::F32)),
        ];
        for (q_dtype, kv_dtype) in formats {
            for head_dim in [16, 64, 80, 96, 112, 128, 192, 256, 272] {
                let mut classes = Vec::new();
                for block_size in [1, 8, 16, 24, 48, 64, 256] {
                    for (max_num_rows, max_seq_len) in
                        [(0, 0), (1, 1), (1, 512), (1, 513), (2, 900), (4096, 70_000)]
                    {
                        let shape = AttentionShape {
                            q_dtype,
                            kv_dtype,
                            num_qo_heads: 28,
                            num_kv_heads: 4,
                            head_dim,
                            block_size,
                            has_token_scales: false,
                            max_num_rows,
                            max_seq_len,
                        };
                        classes.extend([class(PAGED, &shape), class(PREFILL, &shape)]);
                    }
                    classes.dedup();
                    assert_eq!(
                        classes.len(),
                        1,
                        "{q_dtype} {kv_dtype} {head_dim} {block_size}: {classes:?}"
                    );
                }
            }
        }
    }
}
