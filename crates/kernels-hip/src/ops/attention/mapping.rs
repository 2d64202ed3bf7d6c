//! How the kernels of a variant are named and how many work-groups they need.

use super::shape::{AttentionShape, FP8_WORK_LIST, LDS, PARTITION, PING_PONG, SPLIT, WORK_LIST};
use crate::kv_layout::require_kernel_name;
use crate::launch::Geometry;
use crate::ops::{WAVE_SIZE, count};
use crate::result::Result;

/// Queries that a matrix instruction takes.
pub(super) const COLUMNS: usize = 16;

/// What a work-group does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mapping {
    /// A row and a query head.
    RowHead,
    /// Sixteen packed queries of a KV head of a sequence.
    Columns,
    /// The same, and this many partitions.
    Split(usize),
    /// This many times as many, with a wave for each sixteen.
    Waves(usize),
    /// As for eight waves, with four of them where each has room for two times sixteen.
    WavesOrPairs,
    /// What a list says, for this many work-groups.
    Work(usize),
}

impl Mapping {
    /// That of a variant.
    pub fn of(variant: &str) -> Self {
        match variant {
            SPLIT => Mapping::Split(1),
            PING_PONG => Mapping::Waves(8),
            LDS => Mapping::WavesOrPairs,
            WORK_LIST | FP8_WORK_LIST => Mapping::Work(0),
            _ if variant.starts_with("prefill_attention_v2") => Mapping::Waves(4),
            _ if variant.starts_with("prefill_attention_v4") => Mapping::Waves(4),
            _ if variant.contains("_mfma") => Mapping::Columns,
            _ => Mapping::RowHead,
        }
    }

    /// The kernel's name.
    pub fn symbol(self, variant: &str, shape: &AttentionShape) -> Result<String> {
        let q = require_kernel_name(shape.q_dtype.into())?;
        let kv = require_kernel_name(shape.kv_dtype)?;
        Ok(match self {
            Mapping::RowHead => format!("{variant}__{q}_{kv}"),
            _ => format!("{variant}__{q}_{kv}_d{}", shape.head_dim),
        })
    }

    /// The launch for that many rows and sequences.
    pub fn geometry(
        self,
        shape: &AttentionShape,
        num_tokens: usize,
        num_seqs: usize,
    ) -> Result<Geometry> {
        let [x, y, z] = match self {
            Mapping::WavesOrPairs => {
                [num_column_tiles(shape).div_ceil(8), shape.num_kv_heads, num_seqs]
            }
            Mapping::RowHead => [num_tokens, shape.num_qo_heads, 1],
            Mapping::Columns => [num_column_tiles(shape), shape.num_kv_heads, num_seqs],
            Mapping::Waves(num_waves) => {
                [num_column_tiles(shape).div_ceil(num_waves), shape.num_kv_heads, num_seqs]
            }
            Mapping::Split(partitions) => {
                let num_partitions = shape.max_seq_len.div_ceil(PARTITION);
                let tiles = num_column_tiles(shape).saturating_mul(shape.num_kv_heads);
                [num_partitions.div_ceil(partitions), tiles, num_seqs]
            }
            Mapping::Work(num_workgroups) => [num_workgroups, 1, 1],
        };
        let num_waves = match self {
            Mapping::Waves(num_waves) => num_waves,
            Mapping::WavesOrPairs if has_pairs(shape) => 4,
            Mapping::WavesOrPairs => 8,
            _ => 1,
        };
        let what = "the number of work-groups";
        Ok(Geometry {
            workgroups: [count(what, x)?, count(what, y)?, count(what, z)?],
            ..Geometry::linear(1, count("work-items", num_waves * WAVE_SIZE)?)
        })
    }
}

/// `num_sets` of `kernels/prefill_attention/prefill_attention_v5_mfma_lds.hip`.
fn has_pairs(shape: &AttentionShape) -> bool {
    shape.head_dim <= 96 && shape.kv_dtype.size_bytes() == 2
}

/// Tiles of packed queries of the longest chunk.
fn num_column_tiles(shape: &AttentionShape) -> usize {
    shape.num_packed_queries().div_ceil(COLUMNS)
}
