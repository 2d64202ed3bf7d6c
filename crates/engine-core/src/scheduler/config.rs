//! What the scheduler may spend, and what it refuses.

use crate::capacity::blocks_for_tokens;
use crate::limits::{
    MAX_BLOCK_SIZE, MAX_MODEL_LEN, MAX_NUM_BATCHED_TOKENS, MAX_NUM_BLOCKS, MAX_NUM_SEQS,
};
use crate::prefix_cache::BlockHash;
use crate::request::Request;
use crate::speculative::NgramConfig;

/// Who is served first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum SchedulingPolicy {
    /// First come, first served.
    #[default]
    Fcfs,
    /// The lower [`Request::priority`], then first come, first served.
    Priority,
}

/// Bounds on steps and memory. vLLM's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
    /// kv_blocks that fit in the host memory set aside for preempted sequences; 0: none is swapped.
    pub num_host_blocks: usize,
    /// Who is served first.
    pub policy: SchedulingPolicy,
    /// Compute a prompt over several steps if it does not fit in what is left of one.
    pub enable_chunked_prefill: bool,
    /// Most rows of a prompt in a step while other sequences live; 0: no limit.
    pub long_prefill_token_threshold: usize,
    /// A step that decodes gets only so many other rows that it takes no longer than this, or a
    /// kv_block of them if the target cannot be met.
    pub tpot_target_us: Option<u64>,
    /// Use KV that earlier sequences computed.
    pub enable_prefix_caching: bool,
    /// What the engine's KV bits depend on besides tokens; see [`BlockHash::identity`].
    pub kv_identity: BlockHash,
    /// Most requests that wait.
    pub max_num_queued_reqs: Option<usize>,
    /// Guess tokens ahead.
    pub speculative: Option<NgramConfig>,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        SchedulerConfig::DEFAULT
    }
}

impl SchedulerConfig {
    /// vLLM's defaults. What depends on model and machine is to be set: `max_model_len` and
    /// `num_blocks` are 0, which [`SchedulerConfig::validate`] refuses.
    pub const DEFAULT: SchedulerConfig = SchedulerConfig {
        max_num_seqs: 256,
        max_num_batched_tokens: 2048,
        max_model_len: 0,
        block_size: 16,
        num_blocks: 0,
        num_host_blocks: 0,
        policy: SchedulingPolicy::Fcfs,
        enable_chunked_prefill: true,
        long_prefill_token_threshold: 0,
        tpot_target_us: None,
        enable_prefix_caching: true,
        kv_identity: BlockHash([0; 32]),
        max_num_queued_reqs: None,
        speculative: None,
    };

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
        in_range("num_host_blocks", self.num_host_blocks, 0, MAX_NUM_BLOCKS)?;
        if let Some((name, value, min, max)) = self.speculative.and_then(|n| n.out_of_range()) {
            return Err(ConfigError::OutOfRange { name, value, min, max });
        }
        self.validate_chunking()?;
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

    /// Without chunks, each sequence must fit in a step, and nothing may ask for smaller chunks.
    fn validate_chunking(&self) -> Result<(), ConfigError> {
        let SchedulerConfig { max_num_batched_tokens, max_model_len, .. } = *self;
        match () {
            () if self.enable_chunked_prefill => Ok(()),
            () if max_num_batched_tokens < max_model_len => {
                Err(ConfigError::StepTooSmall { max_num_batched_tokens, max_model_len })
            }
            () if self.long_prefill_token_threshold > 0 => {
                Err(ConfigError::NeedsChunks { name: "long_prefill_token_threshold" })
            }
            () if self.tpot_target_us.is_some() => {
                Err(ConfigError::NeedsChunks { name: "tpot_target_us" })
            }
            () => Ok(()),
        }
    }

    /// Whether a request can be taken while `num_waiting` others wait.
    pub(super) fn accept(&self, request: &Request, num_waiting: usize) -> Result<(), Refusal> {
        let (num_tokens, priority) = (request.prompt_token_ids.len(), request.priority);
        let max_model_len = self.max_model_len;
        match self.max_num_queued_reqs {
            _ if num_tokens == 0 => Err(Refusal::EmptyPrompt),
            _ if num_tokens >= max_model_len => {
                Err(Refusal::PromptTooLong { num_tokens, max_model_len })
            }
            _ if request.stop_rules.max_tokens == 0 => Err(Refusal::ZeroMaxTokens),
            _ if priority != 0 && self.policy == SchedulingPolicy::Fcfs => {
                Err(Refusal::PriorityIsOff { priority })
            }
            Some(max_num_queued_reqs) if num_waiting >= max_num_queued_reqs => {
                Err(Refusal::QueueFull { max_num_queued_reqs })
            }
            _ => Ok(()),
        }
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
    /// A sequence that is computed in one step needs a step that long.
    #[error(
        "without chunked prefill a step must hold a sequence of max_model_len {max_model_len}, but \
         max_num_batched_tokens is {max_num_batched_tokens}; raise it or enable chunked prefill"
    )]
    StepTooSmall {
        /// Rows of a step.
        max_num_batched_tokens: usize,
        /// Length of the longest sequence.
        max_model_len: usize,
    },
    /// An option that sets the size of chunks, and no chunks.
    #[error("{name} limits the chunks of a prompt; leave it out or enable chunked prefill")]
    NeedsChunks {
        /// The option.
        name: &'static str,
    },
}

/// Why a request is not taken. Nothing of it is kept.
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
    /// Priorities are not looked at.
    #[error(
        "the request has priority {priority}, but the scheduling policy is fcfs; leave the priority \
         out or start with the policy \"priority\""
    )]
    PriorityIsOff {
        /// The request's.
        priority: i32,
    },
    /// Too many requests wait.
    #[error("{max_num_queued_reqs} requests wait already, which is the most; try again later")]
    QueueFull {
        /// Most requests that wait.
        max_num_queued_reqs: usize,
    },
}
