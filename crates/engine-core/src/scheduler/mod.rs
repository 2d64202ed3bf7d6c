//! Which sequences compute which tokens in the next step.
//!
//! There is no prefill phase and no decode phase: every step moves each sequence's
//! `num_computed_tokens` towards `num_tokens` under one budget of token rows, running sequences
//! first, in order of arrival, then waiting ones. A prompt longer than what is left of the budget is
//! computed in chunks. When a running sequence finds no free kv_block, the sequence that arrived
//! last gives all of its own back and is computed again later (vLLM's recompute preemption); such a
//! step admits nobody.
//!
//! A step is [`Scheduler::schedule`], the model, [`Scheduler::commit`]. Nothing counts as computed
//! before the commit, so a step whose model failed is simply scheduled again.
//!
//! Two promises follow from rule 6 (a pool holds at least one `max_model_len` sequence): as long as
//! a sequence lives, a step is never empty, and the oldest is in every step, so each one ends.

mod batch;
mod config;
mod step;

use alloc::collections::VecDeque;
use alloc::vec::{self, Vec};

pub use config::{ConfigError, Refusal, SchedulerConfig};
pub use step::{CommitError, CommittedToken, FinishedSeq, ScheduledSeq, SchedulerStats};

use crate::batch::Batch;
use crate::block_pool::BlockPool;
use crate::capacity::blocks_for_tokens;
use crate::request::{FinishReason, Request, SeqId, TokenId};
use crate::sequence::Sequence;

/// The queues, the pool, and the step in progress.
#[derive(Debug)]
pub struct Scheduler {
    config: SchedulerConfig,
    block_pool: BlockPool,
    /// Without kv_blocks, by `SeqId`: the preempted are older than all that never ran.
    waiting: VecDeque<Sequence>,
    /// With kv_blocks, by `SeqId`: admission is in that order and preemption takes the last.
    running: Vec<Sequence>,
    /// The step in progress: entry `i` is of what was `running[i]` when it was scheduled.
    plan: Vec<ScheduledSeq>,
    committed: Vec<CommittedToken>,
    finished: Vec<FinishedSeq>,
    next_seq_id: SeqId,
    stats: SchedulerStats,
}

impl Scheduler {
    /// A scheduler without requests.
    ///
    /// # Errors
    /// [`ConfigError`] when a bound is out of range or the pool cannot hold one sequence of
    /// `max_model_len` tokens.
    pub fn new(config: SchedulerConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Scheduler {
            config,
            block_pool: BlockPool::new(config.num_blocks as u32),
            waiting: VecDeque::new(),
            running: Vec::new(),
            plan: Vec::new(),
            committed: Vec::new(),
            finished: Vec::new(),
            next_seq_id: SeqId(0),
            stats: SchedulerStats::default(),
        })
    }

    /// Queues a request behind all others. It will end exactly once, see
    /// [`Scheduler::drain_finished`].
    ///
    /// # Errors
    /// [`Refusal`] when it could not finish even alone.
    pub fn add(&mut self, request: Request) -> Result<SeqId, Refusal> {
        let num_tokens = request.prompt_token_ids.len();
        let max_model_len = self.config.max_model_len;
        if num_tokens == 0 {
            return Err(Refusal::EmptyPrompt);
        }
        if num_tokens >= max_model_len {
            return Err(Refusal::PromptTooLong { num_tokens, max_model_len });
        }
        if request.stop_rules.max_tokens == 0 {
            return Err(Refusal::ZeroMaxTokens);
        }
        let seq_id = self.next_seq_id;
        self.next_seq_id = SeqId(seq_id.0 + 1);
        self.waiting.push_back(Sequence::new(seq_id, request));
        Ok(seq_id)
    }

    /// Plans the next step and writes it to `batch`. A step that was not committed is forgotten.
    ///
    /// The plan is empty only if no sequence lives. It allocates nothing once `batch` and the
    /// scheduler have grown to the load, but for sequences that are admitted.
    pub fn schedule(&mut self, batch: &mut Batch) -> &[ScheduledSeq] {
        self.plan.clear();
        let mut budget = self.config.max_num_batched_tokens;
        let has_preempted = self.schedule_running(&mut budget);
        if !has_preempted {
            self.schedule_waiting(&mut budget);
        }
        batch::fill(batch, &self.plan, &self.running, &self.config);
        &self.plan
    }

    /// Gives running sequences their tokens, oldest first; answers whether it had to preempt.
    fn schedule_running(&mut self, budget: &mut usize) -> bool {
        let block_size = self.config.block_size;
        let mut has_preempted = false;
        let mut seq_idx = 0;
        while seq_idx < self.running.len() && *budget > 0 {
            let num_tokens = self.running[seq_idx].num_uncomputed_tokens().min(*budget);
            if !self.running[seq_idx].grow(num_tokens, block_size, &mut self.block_pool) {
                has_preempted = true;
                // The victim may be this very sequence; then the loop is done.
                self.preempt_last();
                continue;
            }
            self.plan.push(ScheduledSeq::new(&self.running[seq_idx], num_tokens));
            *budget -= num_tokens;
            seq_idx += 1;
        }
        has_preempted
    }

    /// Sends the running sequence that arrived last back to the head of the queue.
    fn preempt_last(&mut self) {
        if let Some(mut victim) = self.running.pop() {
            victim.preempt(&mut self.block_pool);
            self.stats.num_preemptions += 1;
            self.waiting.push_front(victim);
        }
    }

    /// Admits waiting sequences in order, each if all its present tokens fit in free kv_blocks:
    /// one that would at once be preempted by its own prompt stays where it is, and so do all
    /// behind it.
    fn schedule_waiting(&mut self, budget: &mut usize) {
        let SchedulerConfig { max_num_seqs, max_model_len, block_size, .. } = self.config;
        while *budget > 0 && self.running.len() < max_num_seqs {
            let num_free = self.block_pool.num_free();
            let fits = |seq: &Sequence| blocks_for_tokens(seq.num_tokens(), block_size) <= num_free;
            if !self.waiting.front().is_some_and(fits) {
                return;
            }
            let Some(mut seq) = self.waiting.pop_front() else {
                return;
            };
            seq.reserve(max_model_len, block_size);
            let num_tokens = seq.num_uncomputed_tokens().min(*budget);
            let has_grown = seq.grow(num_tokens, block_size, &mut self.block_pool);
            debug_assert!(has_grown, "the whole sequence fits, so a chunk of it does");
            self.plan.push(ScheduledSeq::new(&seq, num_tokens));
            *budget -= num_tokens;
            self.running.push(seq);
        }
    }

    /// The step has been computed and `sampled` holds one token for each entry of the plan that
    /// samples, in order. Sequences that these tokens end give their kv_blocks back.
    ///
    /// Tokens of sequences that were ended since the step was scheduled are dropped.
    ///
    /// # Errors
    /// [`CommitError::NumSampled`]; the step is still in progress.
    pub fn commit(&mut self, sampled: &[TokenId]) -> Result<&[CommittedToken], CommitError> {
        let expected = self.plan.iter().filter(|scheduled| scheduled.samples).count();
        if sampled.len() != expected {
            return Err(CommitError::NumSampled { found: sampled.len(), expected });
        }
        self.committed.clear();
        if self.plan.is_empty() {
            return Ok(&self.committed);
        }
        self.stats.count_step(&self.plan);
        let mut sampled = sampled.iter();
        for scheduled in &self.plan {
            let token_id = if scheduled.samples { sampled.next() } else { None };
            let Ok(seq_idx) = find(&self.running, scheduled.seq_id) else {
                continue;
            };
            let seq = &mut self.running[seq_idx];
            seq.advance(scheduled.num_scheduled_tokens);
            if let Some(&token_id) = token_id {
                let stop = seq.append(token_id, self.config.max_model_len);
                self.committed.push(CommittedToken { seq_id: scheduled.seq_id, token_id, stop });
            }
        }
        self.plan.clear();
        self.retire_stopped();
        Ok(&self.committed)
    }

    /// Moves running sequences whose last token ended them to the finished ones.
    fn retire_stopped(&mut self) {
        for mut sequence in self.running.extract_if(.., |seq| seq.stop().is_some()) {
            sequence.release(&mut self.block_pool);
            if let Some(stop) = sequence.stop() {
                let (reason, stop_token_id) = (stop.reason, stop.stop_token_id);
                self.finished.push(FinishedSeq { sequence, reason, stop_token_id });
            }
        }
    }

    /// Ends a live sequence at once, between steps or within one, and frees its kv_blocks. Answers
    /// `false` when no such sequence lives.
    pub fn finish(&mut self, seq_id: SeqId, reason: FinishReason) -> bool {
        let mut sequence = if let Ok(seq_idx) = find(&self.running, seq_id) {
            self.running.remove(seq_idx)
        } else if let Ok(seq_idx) = self.waiting.binary_search_by_key(&seq_id, Sequence::seq_id)
            && let Some(sequence) = self.waiting.remove(seq_idx)
        {
            sequence
        } else {
            return false;
        };
        sequence.release(&mut self.block_pool);
        self.finished.push(FinishedSeq { sequence, reason, stop_token_id: None });
        true
    }

    /// The sequences that have ended since the last call, in order of ending: each sequence that
    /// [`Scheduler::add`] accepted comes exactly once.
    pub fn drain_finished(&mut self) -> vec::Drain<'_, FinishedSeq> {
        self.finished.drain(..)
    }

    /// The bounds.
    pub fn config(&self) -> &SchedulerConfig {
        &self.config
    }

    /// The kv_blocks.
    pub fn block_pool(&self) -> &BlockPool {
        &self.block_pool
    }

    /// Totals.
    pub fn stats(&self) -> &SchedulerStats {
        &self.stats
    }

    /// The step in progress.
    pub fn plan(&self) -> &[ScheduledSeq] {
        &self.plan
    }

    /// Sequences that hold kv_blocks, oldest first.
    pub fn running(&self) -> &[Sequence] {
        &self.running
    }

    /// Sequences that hold none, next to be admitted first.
    pub fn waiting(&self) -> impl ExactSizeIterator<Item = &Sequence> {
        self.waiting.iter()
    }

    /// Whether any sequence lives.
    pub fn has_unfinished(&self) -> bool {
        !self.running.is_empty() || !self.waiting.is_empty()
    }

    /// A live sequence.
    pub fn sequence(&self, seq_id: SeqId) -> Option<&Sequence> {
        if let Ok(seq_idx) = find(&self.running, seq_id) {
            return self.running.get(seq_idx);
        }
        let seq_idx = self.waiting.binary_search_by_key(&seq_id, Sequence::seq_id).ok()?;
        self.waiting.get(seq_idx)
    }
}

/// Where `seq_id` is among sequences ordered by id.
fn find(sequences: &[Sequence], seq_id: SeqId) -> Result<usize, usize> {
    sequences.binary_search_by_key(&seq_id, Sequence::seq_id)
}
