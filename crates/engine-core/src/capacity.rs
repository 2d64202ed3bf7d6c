//! How much KV fits: the arithmetic that the scheduler allocates by, for whoever sizes the pool.

use crate::device::KvCacheShape;
use crate::limits::MAX_NUM_BLOCKS;

/// kv_blocks that hold `num_tokens` tokens of one sequence. `block_size` is at least 1.
pub const fn blocks_for_tokens(num_tokens: usize, block_size: usize) -> usize {
    num_tokens.div_ceil(block_size)
}

/// kv_blocks of this shape (its `num_blocks` is not read) that fit in `kv_cache_bytes`, at most
/// [`MAX_NUM_BLOCKS`]; 0 for a shape without elements.
pub fn blocks_that_fit(kv_cache_bytes: u64, shape: &KvCacheShape) -> usize {
    let num_blocks = kv_cache_bytes.checked_div(shape.block_bytes()).unwrap_or(0);
    usize::try_from(num_blocks).map_or(MAX_NUM_BLOCKS, |n| n.min(MAX_NUM_BLOCKS))
}

/// The most kv_blocks that `max_num_seqs` sequences of `max_model_len` tokens can hold at once: a
/// larger pool is never used up. At most [`MAX_NUM_BLOCKS`].
pub fn blocks_at_most(max_num_seqs: usize, max_model_len: usize, block_size: usize) -> usize {
    blocks_for_tokens(max_model_len, block_size).saturating_mul(max_num_seqs).min(MAX_NUM_BLOCKS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::kv_dtype::KvDType;

    const SMOLLM2: KvCacheShape = KvCacheShape {
        num_layers: 30,
        num_blocks: 0,
        block_size: 16,
        num_kv_heads: 3,
        head_dim: 64,
        dtype: KvDType::Float(DType::BF16),
    };

    #[test]
    fn a_block_more_begins_with_its_first_token() {
        let blocks = [0, 1, 16, 17, 32, 33].map(|n| blocks_for_tokens(n, 16));
        assert_eq!(blocks, [0, 1, 1, 2, 2, 3]);
        assert_eq!(blocks_for_tokens(7, 1), 7);
    }

    #[test]
    fn blocks_fit_to_the_byte() {
        // 2 (K, V) · 30 layers · 16 tokens · 3 heads · 64 elements · 2 bytes
        let block_bytes = 368_640;
        assert_eq!(SMOLLM2.block_bytes(), block_bytes);
        assert_eq!(blocks_that_fit(10 * block_bytes, &SMOLLM2), 10);
        assert_eq!(blocks_that_fit(10 * block_bytes - 1, &SMOLLM2), 9);
        assert_eq!(blocks_that_fit(0, &SMOLLM2), 0);
        assert_eq!(blocks_that_fit(u64::MAX, &SMOLLM2), MAX_NUM_BLOCKS);
    }

    #[test]
    fn a_shape_without_elements_has_no_blocks() {
        let empty = KvCacheShape { num_layers: 0, ..SMOLLM2 };
        assert_eq!(blocks_that_fit(1 << 30, &empty), 0);
    }

    #[test]
    fn no_more_blocks_than_all_sequences_can_hold() {
        assert_eq!(blocks_at_most(4, 100, 16), 28);
        assert_eq!(blocks_at_most(usize::MAX, usize::MAX, 1), MAX_NUM_BLOCKS);
    }
}
