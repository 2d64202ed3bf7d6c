//! The canonical form of a sequence's keys and values: what leaves a device for a place that other
//! devices read.
//!
//! A run of tokens of one layer is `[kv_head][K, then V][token][head_dim]`, the codes of the cache's
//! format bit for bit, little endian, without padding. It says nothing about kv_blocks: neither their
//! size nor their order, nor how a backend arranges elements inside them. The heads of a tensor-parallel
//! shard are one contiguous part of it.

use core::ops::Range;

use crate::device::{KvCacheShape, OpError};

/// Tokens of one sequence in one layer of a paged cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvRun<'a> {
    /// The layer.
    pub layer_idx: usize,
    /// The sequence's kv_blocks, from its first token on.
    pub block_table: &'a [u32],
    /// The run's first token, by its position in the sequence.
    pub first_token: usize,
    /// Tokens of the run.
    pub num_tokens: usize,
}

/// The part of a run that lies in one kv_block, for one head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvPiece {
    /// The kv_block.
    pub block: u32,
    /// Token slots of the kv_block.
    pub slots: Range<usize>,
    /// The head.
    pub kv_head_idx: usize,
    /// Bytes of the canonical form that hold the keys of these slots, token by token.
    pub k_bytes: Range<usize>,
    /// And the values.
    pub v_bytes: Range<usize>,
}

impl KvRun<'_> {
    /// Bytes of the canonical form; saturates.
    pub fn num_bytes(&self, shape: &KvCacheShape) -> usize {
        let factors = [2, shape.num_kv_heads, shape.head_dim, shape.dtype.size_bytes()];
        factors.into_iter().fold(self.num_tokens, usize::saturating_mul)
    }

    /// Places of the block table that hold tokens of the run.
    pub fn table_range(&self, block_size: usize) -> Range<usize> {
        let first = self.first_token / block_size;
        if self.num_tokens == 0 {
            return first..first;
        }
        first..self.first_token.saturating_add(self.num_tokens).div_ceil(block_size)
    }

    /// Fails unless a transfer of the run to or from `num_bytes` bytes of host memory is possible:
    /// for backends, ahead of [`read_kv_run`](crate::device::Device::read_kv_run) and
    /// [`write_kv_run`](crate::device::Device::write_kv_run).
    ///
    /// # Errors
    /// [`OpError::Shape`] names what does not fit.
    pub fn check(
        &self,
        op: &'static str,
        shape: &KvCacheShape,
        num_bytes: usize,
    ) -> Result<(), OpError> {
        let refused = |what, found, expected| Err(OpError::Shape { op, what, found, expected });
        let expected = self.num_bytes(shape);
        if num_bytes != expected {
            return refused("bytes on the host", num_bytes, expected);
        }
        if self.layer_idx >= shape.num_layers {
            return refused("layer", self.layer_idx, shape.num_layers.saturating_sub(1));
        }
        let table = self.table_range(shape.block_size);
        let Some(blocks) = self.block_table.get(table.clone()) else {
            return refused("kv_blocks of the run", self.block_table.len(), table.end);
        };
        for (block_idx, &block) in blocks.iter().enumerate() {
            if block as usize >= shape.num_blocks {
                return refused("block id", block as usize, shape.num_blocks.saturating_sub(1));
            }
            // Two places of a run in one slot: nobody could say which of them stays.
            if blocks[..block_idx].contains(&block) {
                return refused("times that a run has a kv_block", 2, 1);
            }
        }
        Ok(())
    }

    /// The pieces of the run in the kv_blocks at `places` of its table, which
    /// [`KvRun::table_range`] contains: head by head, as the bytes lie.
    pub fn pieces(
        &self,
        shape: &KvCacheShape,
        places: Range<usize>,
    ) -> impl Iterator<Item = KvPiece> {
        let KvRun { block_table, first_token, num_tokens, .. } = *self;
        let KvCacheShape { block_size, num_kv_heads, .. } = *shape;
        let token_bytes = shape.head_dim * shape.dtype.size_bytes();
        (0..num_kv_heads).flat_map(move |kv_head_idx| {
            places.clone().map(move |place| {
                let first = first_token.max(place * block_size);
                let end = (first_token + num_tokens).min((place + 1) * block_size);
                let bytes = |part: usize| {
                    let row = (2 * kv_head_idx + part) * num_tokens + (first - first_token);
                    row * token_bytes..(row + end - first) * token_bytes
                };
                KvPiece {
                    block: block_table[place],
                    slots: first - place * block_size..end - place * block_size,
                    kv_head_idx,
                    k_bytes: bytes(0),
                    v_bytes: bytes(1),
                }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::dtype::DType;

    const SHAPE: KvCacheShape = KvCacheShape {
        num_layers: 2,
        num_blocks: 9,
        block_size: 4,
        num_kv_heads: 3,
        head_dim: 8,
        dtype: crate::kv_dtype::KvDType::Float(DType::BF16),
    };

    #[test]
    fn pieces_cover_the_canonical_form_once() {
        for (first_token, num_tokens) in [(0, 12), (3, 1), (2, 9), (5, 3), (4, 4), (7, 0)] {
            let run = KvRun { layer_idx: 1, block_table: &[5, 0, 8], first_token, num_tokens };
            let num_bytes = run.num_bytes(&SHAPE);
            assert_eq!(num_bytes, num_tokens * 3 * 2 * 8 * 2);
            run.check("test", &SHAPE, num_bytes).unwrap();
            let mut seen = vec![0; num_bytes];
            for piece in run.pieces(&SHAPE, run.table_range(4)) {
                assert_eq!(piece.k_bytes.len(), piece.slots.len() * 16);
                assert!(!piece.slots.is_empty() && piece.slots.end <= 4);
                let bytes = [piece.k_bytes, piece.v_bytes].into_iter().flatten();
                bytes.for_each(|byte| seen[byte] += 1);
            }
            assert!(seen.iter().all(|&times| times == 1), "{first_token}, {num_tokens}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let run = KvRun { layer_idx: 1, block_table: &[5, 0, 8], first_token: 3, num_tokens: 6 };
        let num_bytes = run.num_bytes(&SHAPE);
        run.check("test", &SHAPE, num_bytes).unwrap();
        for (run, num_bytes) in [
            (run, num_bytes + 1),
            (KvRun { layer_idx: 2, ..run }, num_bytes),
            (KvRun { first_token: 7, ..run }, num_bytes),
            (KvRun { first_token: usize::MAX, ..run }, num_bytes),
            (KvRun { block_table: &[5, 9, 8], ..run }, num_bytes),
            (KvRun { block_table: &[5, 0, 5], ..run }, num_bytes),
            (KvRun { num_tokens: usize::MAX, ..run }, usize::MAX),
        ] {
            let refused = run.check("test", &SHAPE, num_bytes);
            assert!(matches!(refused, Err(OpError::Shape { .. })), "{run:?}");
        }
    }
}
