//! What a step does, for whom, and what came of it.

use core::ops::Range;

use crate::request::{FinishReason, SeqId, Stop, TokenId};
use crate::sequence::Sequence;

/// One sequence's part in a step: rows of the batch, in the batch's order of sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduledSeq {
    /// Whose rows.
    pub seq_id: SeqId,
    /// Tokens computed before the step: the position of the first row.
    pub num_computed_tokens: usize,
    /// Rows.
    pub num_scheduled_tokens: usize,
    /// Tokens of the prompt.
    pub num_prompt_tokens: usize,
    /// Rows below this position repeat what a preemption lost; they were reported before.
    pub first_new_position: usize,
    /// The last row's logits give the next token: the step computes all that the sequence has.
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
            num_computed_tokens,
            num_scheduled_tokens,
            num_prompt_tokens: seq.num_prompt_tokens(),
            first_new_position: seq.max_num_computed_tokens(),
            samples: num_computed_tokens + num_scheduled_tokens == seq.num_tokens(),
            is_prefill: num_computed_tokens < seq.num_prompt_tokens()
                || num_computed_tokens + 1 < seq.num_tokens(),
            is_first: seq.max_num_computed_tokens() == 0,
        }
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

    /// Where the sampled token will stand in the sequence, from 0.
    pub fn sample_position(&self) -> usize {
        self.num_computed_tokens + self.num_scheduled_tokens
    }

    /// Tokens of the output before the one that the step samples.
    pub fn num_output_tokens(&self) -> usize {
        self.sample_position().saturating_sub(self.num_prompt_tokens)
    }
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
    /// One token per sampling sequence of the step is wanted.
    #[error("the step samples {expected} tokens, but {found} were given")]
    NumSampled {
        /// Tokens given.
        found: usize,
        /// Tokens wanted.
        expected: usize,
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
