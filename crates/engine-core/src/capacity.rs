//! What takes how much memory: the arithmetic that the engine allocates by, for whoever sizes the pool.

use crate::config::ModelConfig;
use crate::device::KvCacheShape;
use crate::dtype::DType;
use crate::limits::{MAX_NUM_BATCHED_TOKENS, MAX_NUM_BLOCKS, MAX_NUM_LOGIT_ROWS};

/// Bytes of the weights on the device: matrices of elements of
/// [`crate::device::Device::weight_size_bytes`], norms and biases in f32.
pub fn weight_bytes(config: &ModelConfig, weight_size_bytes: usize) -> u64 {
    let [layers, hidden, intermediate, vocab, head_dim] = [
        config.num_layers,
        config.hidden_size,
        config.intermediate_size,
        config.vocab_size,
        config.head_dim,
    ]
    .map(|n| n as u64);
    let q = config.num_qo_heads as u64 * head_dim;
    let qkv = q + 2 * config.num_kv_heads as u64 * head_dim;
    let if_any = |is: bool, len: u64| if is { len } else { 0 };
    let layer_matrices = hidden * (qkv + q + 3 * intermediate);
    let layer_vectors = 2 * hidden
        + if_any(config.qkv_bias, qkv)
        + if_any(config.o_bias, hidden)
        + if_any(config.mlp_bias, 2 * intermediate + hidden)
        + if_any(config.qk_norm, 2 * head_dim);
    let num_vocab_matrices = if config.tie_word_embeddings { 1 } else { 2 };
    let matrices = layers * layer_matrices + num_vocab_matrices * vocab * hidden;
    let vectors = layers * layer_vectors + hidden + config.rope.rotary_dim as u64 / 2;
    matrices * weight_size_bytes as u64 + vectors * DType::F32.size_bytes() as u64
}

/// Bytes of the activations of a step of `max_num_tokens` rows: what [`crate::model::Model::workspace`]
/// allocates, where a matrix input takes [`crate::device::Device::act_size_bytes`].
pub fn workspace_bytes(config: &ModelConfig, act_size_bytes: usize, max_num_tokens: usize) -> u64 {
    // No scheduler takes more, and what it would refuse must not overflow here.
    let max_num_tokens = max_num_tokens.min(MAX_NUM_BATCHED_TOKENS);
    let q = config.num_qo_heads * config.head_dim;
    let qkv = q + 2 * config.num_kv_heads * config.head_dim;
    let num_logit_rows = max_num_logit_rows(max_num_tokens);
    let f32s = max_num_tokens
        * (config.hidden_size + qkv + config.rope.rotary_dim + 2 * config.intermediate_size)
        + num_logit_rows * config.vocab_size;
    let inputs = max_num_tokens * (config.hidden_size + q + config.intermediate_size)
        + num_logit_rows * config.hidden_size;
    f32s as u64 * DType::F32.size_bytes() as u64 + inputs as u64 * act_size_bytes as u64
}

/// Rows of logits that are computed at once in steps of up to `max_num_tokens` rows.
pub fn max_num_logit_rows(max_num_tokens: usize) -> usize {
    max_num_tokens.min(MAX_NUM_LOGIT_ROWS)
}

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
