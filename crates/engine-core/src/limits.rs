//! The largest sizes that the core works with, and why. Start-up and requests are checked against
//! them, so that no number from outside can ask for absurd memory or overflow an index.

/// Tokens of a kv_block. A sequence wastes half a kv_block on average, and no attention kernel
/// gains from pages above this.
pub const MAX_BLOCK_SIZE: usize = 256;

/// Tokens of a sequence. RoPE turns by the f32 product of position and frequency; integers above
/// 2²⁴ are not f32 numbers, so two positions would get one angle.
pub const MAX_MODEL_LEN: usize = 1 << 24;

/// Sequences in a step. Each has a row of logits on the host.
pub const MAX_NUM_SEQS: usize = 1 << 16;

/// Token rows in a step. Buffers for activations are this long times the widest layer.
pub const MAX_NUM_BATCHED_TOKENS: usize = 1 << 20;

/// kv_blocks in a pool. The pool keeps at most 68 bytes and 4 per token slot for each, most of it
/// for finding it again: 2 GiB at this size with 16 slots.
pub const MAX_NUM_BLOCKS: usize = 1 << 24;

/// Tokens guessed ahead for a sequence in a step. Each is a row that may be for nothing.
pub const MAX_NUM_SPECULATIVE_TOKENS: usize = 64;

/// Rows of the output projection. Sampling adds up one 41-bit weight per token in 64 bits.
pub const MAX_VOCAB_SIZE: usize = 1 << 22;

/// Rows of logits computed at once: their weights are read from memory once for all of them, and
/// the rows themselves stay a few megabytes.
pub const MAX_NUM_LOGIT_ROWS: usize = 64;
