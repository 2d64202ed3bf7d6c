//! How sequences are split: the memory of partial results, and how many partitions a work-group takes.

use std::mem::{offset_of, size_of};

use bytemuck::NoUninit;

use super::mapping::COLUMNS;
use super::repack::grown;
use super::shape::{AttentionShape, PARTITION};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::ops::count;
use crate::result::Result;

/// `AttentionSplit` of `kernels/include/attention_split.h`.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
pub(super) struct AttentionSplit {
    pub out: u64,
    pub sums: u64,
    pub max_num_partitions: u32,
    pub partitions_per_workgroup: u32,
}

const _: () = assert!(offset_of!(AttentionSplit, sums) == 8);
const _: () = assert!(offset_of!(AttentionSplit, max_num_partitions) == 16);
const _: () = assert!(offset_of!(AttentionSplit, partitions_per_workgroup) == 20);
const _: () = assert!(size_of::<AttentionSplit>() == 24);

/// Partial results of one launch; grows, and is used again.
#[derive(Default)]
pub(super) struct Workspace {
    out: Option<Buffer<f32>>,
    sums: Option<Buffer<f32>>,
}

impl Workspace {
    /// Room for a launch.
    pub fn split(
        &mut self,
        device: &Device,
        shape: &AttentionShape,
        num_tokens: usize,
        partitions_per_workgroup: usize,
    ) -> Result<AttentionSplit> {
        let num_partitions = shape.max_seq_len.div_ceil(PARTITION);
        let num_heads = num_tokens.saturating_mul(shape.num_qo_heads);
        let num_partials = num_heads.saturating_mul(num_partitions);
        let out = grown(device, &mut self.out, num_partials.saturating_mul(shape.head_dim))?;
        let sums = grown(device, &mut self.sums, num_partials.saturating_mul(2))?;
        Ok(AttentionSplit {
            out,
            sums,
            max_num_partitions: count("partitions", num_partitions)?,
            partitions_per_workgroup: count("partitions", partitions_per_workgroup)?,
        })
    }
}

/// Waves that a compute unit runs side by side at one wave per SIMD.
pub(super) const WAVES_PER_COMPUTE_UNIT: usize = 4;

/// What a work-group costs besides its partitions, in quarters of a partition's time: the queries, and the first keys
/// and values, for which it waits.
pub(super) const START_QUARTERS: usize = 1;

/// How many partitions a work-group should take, for sequences of rows and tokens `lens`.
///
/// The model: every partition takes the same time, work-groups run in rounds of as many as the device has room for, and
/// a round is as long as one full work-group. Few partitions each fill the last round better, many need fewer starts.
/// A power of two, the least of the best. A model, not a measurement: nobody has timed it on hardware.
pub(super) fn partitions_per_workgroup(
    shape: &AttentionShape,
    lens: impl Iterator<Item = (u32, u32)>,
    num_compute_units: usize,
) -> usize {
    let group = shape.num_qo_heads / shape.num_kv_heads;
    let work: Vec<(usize, usize)> = lens
        .map(|(num_rows, seq_len)| {
            let column_tiles = (num_rows as usize * group).div_ceil(COLUMNS);
            (column_tiles * shape.num_kv_heads, (seq_len as usize).div_ceil(PARTITION))
        })
        .collect();
    let room = (num_compute_units * WAVES_PER_COMPUTE_UNIT).max(1);
    let longest = work.iter().map(|&(_, num_partitions)| num_partitions).max().unwrap_or(1);
    let quarters = |each: usize| {
        let workgroups: usize = work.iter().map(|&(tiles, n)| tiles * n.div_ceil(each)).sum();
        workgroups.div_ceil(room) * (4 * each + START_QUARTERS)
    };
    let powers = (0..usize::BITS).map(|shift| 1_usize << shift);
    let candidates = powers.take_while(|&each| each < 2 * longest);
    candidates.min_by_key(|&each| quarters(each)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use engine_core::dtype::DType;

    use super::*;

    fn chosen(lens: &[(u32, u32)]) -> usize {
        let shape = AttentionShape {
            q_dtype: DType::BF16,
            kv_dtype: DType::BF16.into(),
            num_qo_heads: 32,
            num_kv_heads: 8,
            head_dim: 128,
            block_size: 16,
            has_token_scales: false,
            max_num_rows: 1,
            max_seq_len: 0,
        };
        partitions_per_workgroup(&shape, lens.iter().copied(), 304)
    }

    #[test]
    fn few_sequences_are_split_to_the_last_and_many_are_not() {
        // 8 heads of 16 partitions: 128 work-groups of 1216.
        assert_eq!(chosen(&[(1, 8192)]), 1);
        // 2048 partitions do not fit at once, 1024 pairs do.
        assert_eq!(chosen(&[(1, 131_072)]), 2);
        // 64 of them: 8192 partitions, in one round of eight each.
        assert_eq!(chosen(&[(1, 8192); 64]), 8);
        // More work than any split could spread: whole sequences, fewest starts.
        assert_eq!(chosen(&[(1, 8192); 4864]), 16);
        assert_eq!(chosen(&[]), 1);
    }
}
