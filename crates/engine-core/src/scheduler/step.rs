//! What a step does, for whom, and what came of it.

use alloc::vec::Vec;
use core::ops::Range;

use crate::block_pool::{BlockId, HostBlockId};
use crate::request::{FinishReason, SeqId, Stop, TokenId};
use crate::sequence::{SeqKey, Sequence};

/// One sequence's part in a step: rows of the batch, in the batch's order of sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduledSeq {
    /// Whose rows.
    pub seq_id: SeqId,
    /// Its priority.
    pub priority: i32,
    /// Tokens computed before the step: the position of the first row.
    pub num_computed_tokens: usize,
    /// Rows, those of guesses included.
    pub num_scheduled_tokens: usize,
    /// Rows of guesses: the last ones. Their tokens are the sequence's `draft_token_ids`.
    pub num_draft_tokens: usize,
    /// Tokens of the prompt.
    pub num_prompt_tokens: usize,
    /// Rows below this position repeat what a preemption lost; they were reported before.
    pub first_new_position: usize,
    /// The step computes all that the sequence has: the logits of its last row give the next
    /// token, and those of each guess the token after it.
    pub samples: bool,
    /// The rows are a chunk of known tokens, not just the newest sampled one.
    pub is_prefill: bool,
    /// The sequence has been in no step before.
    pub is_first: bool,
}

impl ScheduledSeq {
    pub(super) fn new(seq: &Sequence, num_scheduled_tokens: usize) -> Self {
        let num_computed_tokens = seq.num_computed_tokens();
        ScheduledSeq {
            seq_id: seq.seq_id(),
            priority: seq.key().priority,
            num_computed_tokens,
            num_scheduled_tokens,
            num_draft_tokens: 0,
            num_prompt_tokens: seq.num_prompt_tokens(),
            first_new_position: seq.max_num_computed_tokens(),
            samples: num_computed_tokens + num_scheduled_tokens == seq.num_tokens(),
            is_prefill: num_computed_tokens < seq.num_prompt_tokens()
                || num_computed_tokens + 1 < seq.num_tokens(),
            is_first: seq.max_num_computed_tokens() == 0,
        }
    }

    pub(super) fn key(&self) -> SeqKey {
        SeqKey { priority: self.priority, seq_id: self.seq_id }
    }

    /// Without guesses it has one row, and that gives a token.
    pub(super) fn is_one_row(&self) -> bool {
        self.samples && self.num_scheduled_tokens - self.num_draft_tokens == 1
    }

    /// Positions of the rows.
    pub fn positions(&self) -> Range<usize> {
        self.num_computed_tokens..self.num_computed_tokens + self.num_scheduled_tokens
    }

    /// Positions of the rows whose logits predict a prompt token for the first time: what prompt
    /// log-probabilities are read from. The row at position `p` predicts the token at `p + 1`.
    pub fn new_prompt_positions(&self) -> Range<usize> {
        let rows = self.positions();
        let start = rows.start.max(self.first_new_position);
        start..rows.end.min(self.num_prompt_tokens - 1).max(start)
    }

    /// Where the first sampled token will stand in the sequence, from 0.
    pub fn sample_position(&self) -> usize {
        self.num_computed_tokens + self.num_scheduled_tokens - self.num_draft_tokens
    }

    /// Tokens of the output before the first that the step samples.
    pub fn num_output_tokens(&self) -> usize {
        self.sample_position().saturating_sub(self.num_prompt_tokens)
    }
}

/// The tokens sampled in a step: a run of at least one for each sequence that samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampledRuns {
    token_ids: Vec<TokenId>,
    /// Where each run ends in `token_ids`.
    ends: Vec<usize>,
}

impl SampledRuns {
    /// Adds the run of the next sequence.
    pub fn push(&mut self, run: &[TokenId]) {
        self.token_ids.extend_from_slice(run);
        self.ends.push(self.token_ids.len());
    }

    /// Forgets all runs and keeps their memory.
    pub fn clear(&mut self) {
        self.token_ids.clear();
        self.ends.clear();
    }

    /// Runs.
    pub fn num_runs(&self) -> usize {
        self.ends.len()
    }

    /// All tokens, run after run.
    pub fn token_ids(&self) -> &[TokenId] {
        &self.token_ids
    }

    /// The runs, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[TokenId]> {
        let starts = core::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.token_ids[start..end])
    }
}

impl FromIterator<TokenId> for SampledRuns {
    /// Runs of one token.
    fn from_iter<I: IntoIterator<Item = TokenId>>(token_ids: I) -> Self {
        let mut runs = SampledRuns::default();
        token_ids.into_iter().for_each(|token_id| runs.push(&[token_id]));
        runs
    }
}

/// Which way a kv_block is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyDirection {
    /// From the device to the host.
    Out,
    /// From the host to the device.
    In,
}

/// A kv_block to copy, all layers of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockCopy {
    /// Whose KV.
    pub seq_id: SeqId,
    /// Which way.
    pub direction: CopyDirection,
    /// Where on the device.
    pub device: BlockId,
    /// Where on the host.
    pub host: HostBlockId,
}

/// A sampled token in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommittedToken {
    /// Whose.
    pub seq_id: SeqId,
    /// The token.
    pub token_id: TokenId,
    /// The sequence has ended with it.
    pub stop: Option<Stop>,
}

/// A sequence that has ended, with all that it was.
#[derive(Clone, Debug)]
pub struct FinishedSeq {
    /// Its tokens and what happened to it; it holds no kv_blocks any more.
    pub sequence: Sequence,
    /// Why it ended.
    pub reason: FinishReason,
    /// The one of the request's `stop_token_ids` that ended it.
    pub stop_token_id: Option<TokenId>,
}

/// Why a step was not committed; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// One run per sampling sequence of the step is wanted.
    #[error("{expected} sequences of the step sample, but tokens of {found} were given")]
    NumRuns {
        /// Runs given.
        found: usize,
        /// Runs wanted.
        expected: usize,
    },
    /// A run has at least a token, and at most one more than there were guesses.
    #[error("sequence {} samples 1 to {max} tokens, but {found} were given", seq_id.0)]
    RunLength {
        /// Whose.
        seq_id: SeqId,
        /// Tokens given.
        found: usize,
        /// Most tokens.
        max: usize,
    },
    /// A token that was not guessed has no row after it that could give another.
    #[error("the run of sequence {} goes on after a token that was not guessed", seq_id.0)]
    NotGuessed {
        /// Whose.
        seq_id: SeqId,
    },
}

/// Totals since the scheduler was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedulerStats {
    /// Steps committed.
    pub num_steps: u64,
    /// Token rows of those steps.
    pub num_scheduled_tokens: u64,
    /// Most sequences in a step.
    pub max_num_seqs_in_step: usize,
    /// Steps with both a prefill and a decode.
    pub num_mixed_steps: u64,
    /// Parts of sequences that prefilled without sampling: more rows were still to come.
    pub num_partial_prefills: u64,
    /// Sequences that lost their kv_blocks, each time.
    pub num_preemptions: u64,
    /// Preemptions that saved the KV in host memory; all others compute it again.
    pub num_swaps_out: u64,
    /// Sequences that came back from host memory.
    pub num_swaps_in: u64,
    /// Sequences whose KV was lost on the way to host memory or back.
    pub num_failed_swaps: u64,
    /// Tokens of admitted sequences that may read the prefix cache.
    pub num_prefix_query_tokens: u64,
    /// Those of them whose KV was found in it.
    pub num_prefix_hit_tokens: u64,
    /// Blocks found under the right hash with other tokens.
    pub num_hash_mismatches: u64,
    /// Blocks put into the prefix cache.
    pub num_published_blocks: u64,
    /// Blocks of the prefix cache that were lent again.
    pub num_evicted_blocks: u64,
    /// Waiting sequences passed over for a step because another was computing their next block.
    pub num_set_asides: u64,
    /// Loads of KV from outside.
    pub num_loads: u64,
    /// Those of them before whose tokens there were others to compute meanwhile.
    pub num_split_loads: u64,
    /// Tokens that sequences computed while others of theirs were being loaded.
    pub num_tokens_beside_loads: u64,
    /// Tokens whose KV they brought.
    pub num_loaded_tokens: u64,
    /// Those that brought fewer tokens than were offered; the rest was computed.
    pub num_failed_loads: u64,
    /// Guessed tokens.
    pub num_draft_tokens: u64,
    /// Those that were right and became part of an output.
    pub num_accepted_tokens: u64,
    /// Steps whose sequences ended with an error.
    pub num_failed_steps: u64,
}

impl SchedulerStats {
    pub(super) fn count_step(&mut self, plan: &[ScheduledSeq]) {
        let num_prefills = plan.iter().filter(|scheduled| scheduled.is_prefill).count();
        let num_tokens: usize = plan.iter().map(|scheduled| scheduled.num_scheduled_tokens).sum();
        self.num_steps += 1;
        self.num_scheduled_tokens += num_tokens as u64;
        self.max_num_seqs_in_step = self.max_num_seqs_in_step.max(plan.len());
        self.num_mixed_steps += u64::from(0 < num_prefills && num_prefills < plan.len());
        let num_partial = plan.iter().filter(|scheduled| !scheduled.samples).count();
        self.num_partial_prefills += num_partial as u64;
    }
}
