//! `kv_gather` and `kv_scatter`: kv_blocks on their way to the host and back.

use super::{ROW_LIST_LEN, WORKGROUP_SIZE, count, plain, row_list};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::kv_layout::KvLayout;
use crate::launch::{Argument, Geometry};
use crate::module::{Kernel, Module};
use crate::result::{Error, Result};
use crate::stream::Stream;
use crate::variant::{Any, Variant};

const GATHER: &str = "kv_gather_v1_naive";
const SCATTER: &str = "kv_scatter_v1_naive";

/// What there is of `kv_gather`.
pub(super) const GATHER_VARIANTS: &[Variant<Any>] = &[plain("kv_gather", GATHER, "none")];

/// What there is of `kv_scatter`.
pub(super) const SCATTER_VARIANTS: &[Variant<Any>] = &[plain("kv_scatter", SCATTER, "none")];

/// A pool's kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KvPart {
    /// Keys.
    K,
    /// Values.
    V,
}

/// Where kv_blocks lie as dense bytes, `[kv_head][slot][head_dim]` each, without padding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DenseBlocks {
    /// First byte of the first block.
    pub first: usize,
    /// Bytes from one block to the next.
    pub stride: usize,
}

/// Moves whole kv_blocks between a pool and dense bytes, bit for bit.
pub struct KvBlocks {
    gather: [Kernel; 2],
    scatter: [Kernel; 2],
    size_bytes: usize,
}

impl KvBlocks {
    /// Loads `kv_gather_v1_naive` and `kv_scatter_v1_naive` for elements of `size_bytes`, 1 or 2.
    ///
    /// # Errors
    ///
    /// If `size_bytes` is another, or the build has none for this device; HIP's.
    pub fn new(device: &Device, size_bytes: usize) -> Result<Self> {
        Self::of([&device.variant(GATHER)?, &device.variant(SCATTER)?], size_bytes)
    }

    /// As [`KvBlocks::new`], of code objects from elsewhere: what gathers, and what scatters.
    ///
    /// # Errors
    ///
    /// If they have no such kernels; HIP's.
    pub fn from_code_objects(
        device: &Device,
        [gather, scatter]: [&[u8]; 2],
        size_bytes: usize,
    ) -> Result<Self> {
        Self::of([&device.module(gather)?, &device.module(scatter)?], size_bytes)
    }

    fn of([gather, scatter]: [&Module; 2], size_bytes: usize) -> Result<Self> {
        let kernels = |module: &Module, name: &str| {
            let kernel = |part: &str| module.kernel(&format!("{name}__{part}_b{}", 8 * size_bytes));
            Ok::<_, Error>([kernel("k")?, kernel("v")?])
        };
        let (gather, scatter) = (kernels(gather, GATHER)?, kernels(scatter, SCATTER)?);
        Ok(KvBlocks { gather, scatter, size_bytes })
    }

    /// Copies the kv_blocks `block_ids` of a pool of keys or values to dense bytes.
    ///
    /// # Errors
    ///
    /// If a kv_block is not in the pool, or a size does not fit; HIP's.
    pub fn gather(
        &self,
        stream: &Stream,
        layout: &KvLayout,
        (pool, part): (&Buffer<u8>, KvPart),
        block_ids: &[u32],
        (dense, at): (&mut Buffer<u8>, DenseBlocks),
    ) -> Result<()> {
        self.check(layout, pool, block_ids, dense, at)?;
        for (first, block_ids) in Self::chunks(block_ids) {
            let dense = Argument::output_from(dense, at.first + first * at.stride);
            let buffers = [dense, Argument::input(pool)];
            self.launch(
                stream,
                &self.gather[part as usize],
                layout,
                buffers,
                block_ids,
                at.stride,
            )?;
        }
        Ok(())
    }

    /// Copies what [`KvBlocks::gather`] made to the kv_blocks `block_ids` of a pool. Of one that is listed twice, the last
    /// copy stays.
    ///
    /// # Errors
    ///
    /// If a kv_block is not in the pool, or a size does not fit; HIP's.
    pub fn scatter(
        &self,
        stream: &Stream,
        layout: &KvLayout,
        (pool, part): (&mut Buffer<u8>, KvPart),
        block_ids: &[u32],
        (dense, at): (&Buffer<u8>, DenseBlocks),
    ) -> Result<()> {
        self.check(layout, pool, block_ids, dense, at)?;
        for (first, block_ids) in Self::chunks(block_ids) {
            let dense = Argument::input_from(dense, at.first + first * at.stride);
            let buffers = [Argument::output(pool), dense];
            self.launch(
                stream,
                &self.scatter[part as usize],
                layout,
                buffers,
                block_ids,
                at.stride,
            )?;
        }
        Ok(())
    }

    /// Lists as long as a launch takes, with the place of their first; none has a kv_block twice, for the copies of one
    /// launch are in no order.
    fn chunks(block_ids: &[u32]) -> Vec<(usize, &[u32])> {
        let mut chunks = Vec::new();
        let mut first = 0;
        for at in 0..block_ids.len() {
            let chunk = &block_ids[first..at];
            if chunk.len() == ROW_LIST_LEN || chunk.contains(&block_ids[at]) {
                chunks.push((first, chunk));
                first = at;
            }
        }
        if first < block_ids.len() {
            chunks.push((first, &block_ids[first..]));
        }
        chunks
    }

    fn check(
        &self,
        layout: &KvLayout,
        pool: &Buffer<u8>,
        block_ids: &[u32],
        dense: &Buffer<u8>,
        at: DenseBlocks,
    ) -> Result<()> {
        let refused = |what, allowed, found| Err(Error::Value { what, allowed, found });
        let size_bytes = layout.dtype().size_bytes();
        if size_bytes != self.size_bytes {
            let allowed = "that of KvBlocks::new";
            return refused("the size of an element", allowed, size_bytes.to_string());
        }
        if let Some(&largest) = block_ids.iter().max() {
            let least = layout.pool_bytes(largest as usize + 1).unwrap_or(usize::MAX);
            pool.check_at_least("the pool", least)?;
        }
        let block_bytes =
            layout.num_kv_heads() * layout.block_size() * layout.head_dim() * size_bytes;
        if at.stride < block_bytes
            || !at.stride.is_multiple_of(size_bytes)
            || !at.first.is_multiple_of(size_bytes)
        {
            let found =
                format!("{} bytes for blocks of {block_bytes}, from {}", at.stride, at.first);
            return refused(
                "the stride of dense blocks",
                "whole elements, no less than a block",
                found,
            );
        }
        let Some(num_before) = block_ids.len().checked_sub(1) else { return Ok(()) };
        let before = num_before.saturating_mul(at.stride).saturating_add(at.first);
        dense.check_at_least("the dense blocks", before.saturating_add(block_bytes))
    }

    fn launch(
        &self,
        stream: &Stream,
        kernel: &Kernel,
        layout: &KvLayout,
        [to, from]: [Argument<'_>; 2],
        block_ids: &[u32],
        stride: usize,
    ) -> Result<()> {
        let list = row_list(block_ids);
        let stride = (stride / self.size_bytes) as u64;
        let sizes = [
            count("block_size", layout.block_size())?,
            count("num_kv_heads", layout.num_kv_heads())?,
            count("head_dim", layout.head_dim())?,
        ];
        let args = [
            to,
            from,
            Argument::value(&stride),
            Argument::value(&sizes[0]),
            Argument::value(&sizes[1]),
            Argument::value(&sizes[2]),
            Argument::value(&list),
        ];
        let geometry = Geometry {
            workgroups: [block_ids.len() as u32, sizes[1], 1],
            ..Geometry::linear(1, WORKGROUP_SIZE)
        };
        // SAFETY: a work-group touches one head of one listed kv_block in the pool and in the dense blocks; `check` has
        // found both inside their buffers, and elements of the kernel's size on their own boundary.
        unsafe { kernel.launch(stream, geometry, &args) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_has_no_block_twice_and_the_order_stays() {
        let ids: Vec<u32> = (0..300).chain([299, 7, 7]).collect();
        let chunks = KvBlocks::chunks(&ids);
        let starts: Vec<_> = chunks.iter().map(|&(first, chunk)| (first, chunk.len())).collect();
        assert_eq!(starts, [(0, 256), (256, 44), (300, 2), (302, 1)]);
        let joined: Vec<u32> = chunks.iter().flat_map(|(_, chunk)| chunk.iter().copied()).collect();
        assert_eq!(joined, ids);
        assert!(KvBlocks::chunks(&[]).is_empty());
    }
}
