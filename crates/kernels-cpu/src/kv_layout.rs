//! The order of elements in the paged KV cache, written down once.

use std::ops::Range;

use engine_core::device::{KvCacheShape, OpError};
use engine_core::dtype::DType;
use engine_core::kv_scales::KvScales;

use crate::buffer::AlignedBuf;
use crate::fp8::{self, Encoder, Widen};

/// Where K and V elements lie. Per layer, with `bs` = `block_size` and pairs of bfloat16:
///
/// ```text
/// K  [num_blocks][num_kv_heads][head_dim / k_group][bs][k_group]     lanes = positions
/// V  [num_blocks][num_kv_heads][bs / v_group][head_dim][v_group]     lanes = head elements
/// ```
///
/// `k_group` and `v_group` are 2 where attention is in bfloat16 (the two products of one `vdpbf16ps`
/// lane) and 1 otherwise; `v_group` is 1 too when `block_size` is odd. So q·Kᵀ and p·V are the same
/// tile product as a dense layer, read straight from the cache, or from FP8 codes widened in this
/// very order.
#[derive(Clone, Copy, Debug)]
pub struct KvLayout {
    /// The cache's shape.
    pub shape: KvCacheShape,
    /// Neighbouring head elements of K that are stored together.
    pub k_group: usize,
    /// Neighbouring positions of V that are stored together.
    pub v_group: usize,
}

impl KvLayout {
    /// The layout for `shape` where attention is in `attention_dtype`.
    pub fn new(shape: KvCacheShape, attention_dtype: DType) -> KvLayout {
        let k_group = if attention_dtype == DType::BF16 { 2 } else { 1 };
        let v_group = if shape.block_size.is_multiple_of(2) { k_group } else { 1 };
        KvLayout { shape, k_group, v_group }
    }

    /// Elements of one kv_block and head, of K or of V.
    pub fn head_block_len(&self) -> usize {
        self.shape.block_size * self.shape.head_dim
    }

    /// Elements of one layer's K or V pool.
    pub fn pool_len(&self) -> usize {
        self.shape.num_blocks * self.shape.num_kv_heads * self.head_block_len()
    }

    /// First element of a kv_block and head in either pool.
    pub fn head_block(&self, block: usize, kv_head_idx: usize) -> usize {
        (block * self.shape.num_kv_heads + kv_head_idx) * self.head_block_len()
    }

    /// The bytes of a kv_block and head in either pool.
    pub(crate) fn head_block_bytes(&self, block: usize, kv_head_idx: usize) -> Range<usize> {
        let (first, size_bytes) =
            (self.head_block(block, kv_head_idx), self.shape.dtype.size_bytes());
        first * size_bytes..(first + self.head_block_len()) * size_bytes
    }

    /// Bytes of the neighbouring head elements of K that are stored together: 1, 2 or 4.
    pub(crate) fn k_group_bytes(&self) -> usize {
        self.k_group * self.shape.dtype.size_bytes()
    }

    /// The bytes of a kv_block, all heads, in either pool.
    pub(crate) fn block_bytes_in_pool(&self, block: usize) -> Range<usize> {
        let size_bytes = self.shape.dtype.size_bytes();
        self.head_block(block, 0) * size_bytes..self.head_block(block + 1, 0) * size_bytes
    }

    /// K element `d` of the token at `offset` in its kv_block, from [`KvLayout::head_block`].
    pub fn k_offset(&self, offset: usize, d: usize) -> usize {
        (d / self.k_group * self.shape.block_size + offset) * self.k_group + d % self.k_group
    }

    /// V element `d` of the token at `offset` in its kv_block, from [`KvLayout::head_block`].
    pub fn v_offset(&self, offset: usize, d: usize) -> usize {
        (offset / self.v_group * self.shape.head_dim + d) * self.v_group + offset % self.v_group
    }
}

/// The paged KV cache of all layers.
pub struct KvCache {
    pub(crate) layout: KvLayout,
    pub(crate) scales: KvScales,
    /// The format of queries and probabilities.
    pub(crate) attention_dtype: DType,
    pub(crate) fp8: Option<Fp8>,
    pub(crate) layers: Vec<KvLayer>,
}

/// One layer's pools.
pub(crate) struct KvLayer {
    pub(crate) k: AlignedBuf,
    pub(crate) v: AlignedBuf,
}

/// How codes are made and read.
pub(crate) struct Fp8 {
    pub(crate) encoder: Encoder,
    pub(crate) widen: Widen,
}

impl KvCache {
    pub(crate) fn new(
        shape: KvCacheShape,
        scales: &KvScales,
        compute_dtype: DType,
    ) -> Result<KvCache, OpError> {
        let attention_dtype = shape.dtype.attention_dtype(compute_dtype);
        let layout = KvLayout::new(shape, attention_dtype);
        let pool_bytes = layout.pool_len() * shape.dtype.size_bytes();
        let pool = || AlignedBuf::zeroed(pool_bytes, "the KV cache");
        let layers = (0..shape.num_layers)
            .map(|_| Ok(KvLayer { k: pool()?, v: pool()? }))
            .collect::<Result<_, OpError>>()?;
        let fp8 = shape.dtype.fp8().map(|format| Fp8 {
            encoder: Encoder::new(format),
            widen: Widen::new(format, attention_dtype),
        });
        Ok(KvCache { layout, scales: scales.clone(), attention_dtype, fp8, layers })
    }

    /// The format whose tile product reads the keys and values.
    pub(crate) fn tile_dtype(&self) -> DType {
        match self.fp8 {
            Some(_) => fp8::stored_as(self.attention_dtype),
            None => self.attention_dtype,
        }
    }

    /// The pools' bytes of one kv_block: K and V of each layer in turn.
    pub(crate) fn block_parts(&self, block: u32) -> impl Iterator<Item = &[u8]> {
        let range = self.layout.block_bytes_in_pool(block as usize);
        let pools = self.layers.iter().flat_map(|layer| [&layer.k, &layer.v]);
        pools.map(move |pool| &pool.as_slice::<u8>()[range.clone()])
    }

    /// As [`KvCache::block_parts`], to be written.
    pub(crate) fn block_parts_mut(&mut self, block: u32) -> impl Iterator<Item = &mut [u8]> {
        let range = self.layout.block_bytes_in_pool(block as usize);
        let pools = self.layers.iter_mut().flat_map(|layer| [&mut layer.k, &mut layer.v]);
        pools.map(move |pool| &mut pool.as_mut_slice::<u8>()[range.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_has_one_place() {
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            for (block_size, head_dim) in [(1, 2), (16, 64), (7, 6), (32, 128)] {
                let shape = KvCacheShape {
                    num_layers: 1,
                    num_blocks: 3,
                    block_size,
                    num_kv_heads: 2,
                    head_dim,
                    dtype: dtype.into(),
                };
                let layout = KvLayout::new(shape, dtype);
                let places = |place: &dyn Fn(usize, usize) -> usize| {
                    let mut seen = vec![false; layout.pool_len()];
                    for block in 0..3 {
                        for head in 0..2 {
                            for offset in 0..block_size {
                                for d in 0..head_dim {
                                    let idx = layout.head_block(block, head) + place(offset, d);
                                    assert!(!std::mem::replace(&mut seen[idx], true));
                                }
                            }
                        }
                    }
                    assert!(seen.into_iter().all(|place_used| place_used));
                };
                places(&|offset, d| layout.k_offset(offset, d));
                places(&|offset, d| layout.v_offset(offset, d));
            }
        }
    }
}
