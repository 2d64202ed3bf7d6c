//! What the scheduler may spend, and what it refuses.

use crate::capacity::blocks_for_tokens;
use crate::limits::{
    MAX_BLOCK_SIZE, MAX_MODEL_LEN, MAX_NUM_BATCHED_TOKENS, MAX_NUM_BLOCKS, MAX_NUM_SEQS,
};

/// Bounds on steps and memory. vLLM's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedulerConfig {
    /// Most sequences that run at once.
    pub max_num_seqs: usize,
    /// Most token rows in a step.
    pub max_num_batched_tokens: usize,
    /// Most tokens of a sequence, prompt and output.
    pub max_model_len: usize,
    /// Token slots of a kv_block.
    pub block_size: usize,
    /// kv_blocks in the pool.
    pub num_blocks: usize,
}

impl SchedulerConfig {
    /// Whether a scheduler can keep its promises under these bounds.
    ///
    /// # Errors
    /// [`ConfigError`], for the first bound that is out of range, and for a pool that cannot hold
    /// one sequence of `max_model_len` tokens.
    pub fn validate(&self) -> Result<(), ConfigError> {
        in_range("max_num_seqs", self.max_num_seqs, 1, MAX_NUM_SEQS)?;
        in_range("max_num_batched_tokens", self.max_num_batched_tokens, 1, MAX_NUM_BATCHED_TOKENS)?;
        // A prompt has a token and so has an answer.
        in_range("max_model_len", self.max_model_len, 2, MAX_MODEL_LEN)?;
        in_range("block_size", self.block_size, 1, MAX_BLOCK_SIZE)?;
        in_range("num_blocks", self.num_blocks, 1, MAX_NUM_BLOCKS)?;
        let num_blocks_needed = blocks_for_tokens(self.max_model_len, self.block_size);
        if self.num_blocks < num_blocks_needed {
            return Err(ConfigError::PoolTooSmall {
                num_blocks: self.num_blocks,
                num_blocks_needed,
                max_model_len: self.max_model_len,
                num_tokens: self.num_blocks * self.block_size,
            });
        }
        Ok(())
    }
}

fn in_range(name: &'static str, value: usize, min: usize, max: usize) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::OutOfRange { name, value, min, max })
}

/// Why no scheduler can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A bound is not a sensible number.
    #[error("{name} is {value}; set it to a value from {min} to {max}")]
    OutOfRange {
        /// The bound.
        name: &'static str,
        /// Its value.
        value: usize,
        /// The least it can be.
        min: usize,
        /// The most it can be.
        max: usize,
    },
    /// One sequence could use up the pool and still not be done.
    #[error(
        "the KV cache has {num_blocks} blocks, but one sequence of max_model_len {max_model_len} \
         needs {num_blocks_needed}; lower max_model_len to {num_tokens} or give the KV cache more \
         memory"
    )]
    PoolTooSmall {
        /// kv_blocks in the pool.
        num_blocks: usize,
        /// kv_blocks of the longest sequence.
        num_blocks_needed: usize,
        /// Length of the longest sequence.
        max_model_len: usize,
        /// Tokens that the pool holds.
        num_tokens: usize,
    },
}

/// Why a request will never run. Nothing of it is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is nothing to predict from.
    #[error("the prompt is empty; give at least one token")]
    EmptyPrompt,
    /// Prompt and one token of output do not fit.
    #[error(
        "the prompt has {num_tokens} tokens, but max_model_len is {max_model_len} and at least one \
         token must be left for the output; shorten the prompt or raise max_model_len"
    )]
    PromptTooLong {
        /// Tokens of the prompt.
        num_tokens: usize,
        /// Most tokens of a sequence.
        max_model_len: usize,
    },
    /// No output is wanted.
    #[error("max_tokens is 0; ask for at least one token")]
    ZeroMaxTokens,
}
