//! Which sequences compute which tokens in the next step.
//!
//! There is no prefill phase and no decode phase: every step moves each sequence's
//! `num_computed_tokens` towards `num_tokens` under one budget of token rows, running sequences
//! first, then waiting ones, both in the order of their keys (priority, then arrival). A prompt
//! longer than what is left of the budget is computed in chunks. When a running sequence finds no
//! free kv_block, the last in that order gives all of its own back: its KV is copied to host memory
//! or, if that would take longer, computed again later. Such a step admits nobody.
//!
//! A step is [`Scheduler::schedule`], the copies of [`Scheduler::copies`], the model,
//! [`Scheduler::commit`]. Nothing counts as computed and nothing is published before the commit, so
//! a step whose model failed is simply scheduled again, or its sequences ended
//! ([`Scheduler::fail_step`]).
//!
//! A sequence whose KV can be had from outside ([`crate::kv_tier`]) holds kv_blocks while it is loaded,
//! and takes rows only for what comes before that.
//!
//! Two promises follow from rule 6 (a pool holds at least one `max_model_len` sequence): as long as
//! a sequence lives, a step is never empty, and the first running one is in every step, so each one
//! ends. Both hold once loads are reported: while the pool is short of blocks that are being loaded
//! into, which nobody can be made to give back, the first running one waits for them.

mod batch;
mod block_states;
mod commit;
mod config;
mod cost;
mod draft;
mod load;
mod preempt;
mod room;
mod running;
mod step;
mod waiting;

use alloc::collections::VecDeque;
use alloc::vec::{self, Vec};

pub use block_states::BlockState;
pub use config::{ConfigError, Refusal, SchedulerConfig, SchedulingPolicy};
pub use step::{
    BlockCopy, CommitError, CommittedToken, CopyDirection, FinishedSeq, SampledRuns, ScheduledSeq,
    SchedulerStats,
};

use crate::batch::Batch;
use crate::block_pool::{BlockId, BlockPool, HostPool};
use crate::capacity::blocks_for_tokens;
use crate::kv_tier::KvLoad;
use crate::prefix_cache::BlockHash;
use crate::request::{FinishReason, Request, SeqId};
use crate::sequence::{SeqKey, Sequence};
use cost::{CostModel, StepShape};
use load::Drain;

/// The queues, the pools, and the step in progress.
#[derive(Debug)]
pub struct Scheduler {
    config: SchedulerConfig,
    block_pool: BlockPool,
    host_pool: HostPool,
    /// Without kv_blocks, by key.
    waiting: VecDeque<Sequence>,
    /// With kv_blocks, by key.
    running: Vec<Sequence>,
    /// With kv_blocks that are being loaded into, and nothing to compute before, by key.
    loading: Vec<Sequence>,
    /// What is still being loaded for sequences that have ended.
    draining: Vec<Drain>,
    /// Loads that the last step began.
    loads: Vec<KvLoad>,
    /// The step in progress.
    plan: Vec<ScheduledSeq>,
    copies: Vec<BlockCopy>,
    /// Index and hash of the first block that each prefill of the plan is about to fill, and of the first
    /// that each load brings, where nobody has published it yet.
    in_the_making: Vec<(usize, BlockHash)>,
    /// The prefix hits of the sequence that is being admitted.
    hits: Vec<BlockId>,
    committed: Vec<CommittedToken>,
    finished: Vec<FinishedSeq>,
    next_seq_id: SeqId,
    costs: CostModel,
    /// What the last committed step consisted of, until its duration is known.
    unmeasured: Option<StepShape>,
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
        let SchedulerConfig { num_blocks, block_size, num_host_blocks, .. } = config;
        let block_pool =
            BlockPool::new(num_blocks as u32, block_size, config.enable_prefix_caching);
        Ok(Scheduler {
            config,
            block_pool,
            host_pool: HostPool::new(num_host_blocks as u32),
            waiting: VecDeque::new(),
            running: Vec::new(),
            loading: Vec::with_capacity(config.max_num_seqs),
            draining: Vec::new(),
            loads: Vec::new(),
            plan: Vec::with_capacity(config.max_num_seqs),
            copies: Vec::with_capacity(num_host_blocks),
            in_the_making: Vec::with_capacity(2 * config.max_num_seqs),
            hits: Vec::with_capacity(blocks_for_tokens(config.max_model_len, block_size)),
            committed: Vec::with_capacity(config.max_num_batched_tokens),
            finished: Vec::new(),
            next_seq_id: SeqId(0),
            costs: CostModel::default(),
            unmeasured: None,
            stats: SchedulerStats::default(),
        })
    }

    /// Queues a request. It will end exactly once, see [`Scheduler::drain_finished`].
    ///
    /// # Errors
    /// [`Refusal`] when it could not finish even alone, or too many wait.
    pub fn add(&mut self, request: Request) -> Result<SeqId, Refusal> {
        self.config.accept(&request, self.waiting.len())?;
        let seq_id = self.next_seq_id;
        self.next_seq_id = SeqId(seq_id.0 + 1);
        self.enqueue(Sequence::new(seq_id, request, &self.config));
        // Whoever runs may have to come back without an allocation.
        self.waiting.reserve(self.running.len() + self.loading.len() + 1);
        Ok(seq_id)
    }

    /// Puts a sequence in its place among the waiting.
    fn enqueue(&mut self, sequence: Sequence) {
        let key = sequence.key();
        let seq_idx = self.waiting.partition_point(|other| other.key() < key);
        self.waiting.insert(seq_idx, sequence);
    }

    /// Plans the next step and writes it to `batch`. A step that was not committed is forgotten;
    /// its [`Scheduler::copies`] must have been executed, or reported as failed, all the same.
    ///
    /// The plan is empty only if no sequence lives, or those that do wait for loads. It allocates nothing once `batch` and the
    /// scheduler have grown to the load, but for sequences that are admitted.
    pub fn schedule(&mut self, batch: &mut Batch) -> &[ScheduledSeq] {
        self.settle_copies();
        self.loads.clear();
        self.drop_step();
        let mut room = self.room();
        let has_preempted = self.schedule_running(&mut room);
        if !has_preempted {
            self.schedule_waiting(&mut room);
            self.schedule_drafts(&mut room);
        }
        batch::fill(batch, &self.plan, [&self.running, &self.loading], &self.config);
        &self.plan
    }

    /// Forgets the step in progress: what it took is given back, last first so that the same step
    /// would take the same again; what it admitted runs on.
    fn drop_step(&mut self) {
        for scheduled in self.plan.iter().rev() {
            if let Ok(seq_idx) = find(&self.running, scheduled.key()) {
                self.running[seq_idx].trim(&mut self.block_pool);
            }
        }
        self.plan.clear();
    }

    /// Ends a live sequence at once, between steps or within one, and frees its blocks; those that are
    /// being loaded into when the load is reported. Answers `false` when no such sequence lives.
    pub fn finish(&mut self, seq_id: SeqId, reason: FinishReason) -> bool {
        let Some(mut sequence) = self.take(seq_id) else {
            return false;
        };
        self.drain(&mut sequence);
        sequence.release(&mut self.block_pool);
        self.host_pool.free(&mut sequence.host_blocks);
        sequence.forget_swapped();
        self.finished.push(FinishedSeq { sequence, reason, stop_token_id: None });
        true
    }

    /// Takes a live sequence out of its queue.
    fn take(&mut self, seq_id: SeqId) -> Option<Sequence> {
        let key = self.key_of(seq_id)?;
        if let Ok(seq_idx) = find(&self.running, key) {
            return Some(self.running.remove(seq_idx));
        }
        match find(&self.loading, key) {
            Ok(seq_idx) => Some(self.loading.remove(seq_idx)),
            Err(_) => self.waiting.remove(self.find_waiting(key)?),
        }
    }

    /// The step in progress failed: each sequence that has a part in it ends with
    /// [`FinishReason::Error`], all others live on. Answers how many ended.
    pub fn fail_step(&mut self) -> usize {
        let mut num_ended = 0;
        for plan_idx in 0..self.plan.len() {
            let seq_id = self.plan[plan_idx].seq_id;
            num_ended += usize::from(self.finish(seq_id, FinishReason::Error));
        }
        self.plan.clear();
        self.stats.num_failed_steps += u64::from(num_ended > 0);
        num_ended
    }

    /// The last committed step took this long. Chunk sizes under `tpot_target_us` follow it; the
    /// same durations give the same schedule.
    pub fn observe_step(&mut self, duration_us: u64) {
        if let Some(shape) = self.unmeasured.take() {
            self.costs.observe_step(shape, duration_us);
        }
    }

    /// The copies of `num_blocks` blocks between device and host took this long.
    pub fn observe_copy(&mut self, num_blocks: usize, duration_us: u64) {
        self.costs.observe_copy(num_blocks, duration_us);
    }

    /// Forgets all KV: cached prefixes, and what waits in host memory, which is computed again.
    /// Answers `false`, and does nothing, while a sequence holds kv_blocks.
    pub fn reset_prefix_cache(&mut self) -> bool {
        let has_reset = self.block_pool.reset_prefix_cache();
        if has_reset {
            for seq in &mut self.waiting {
                self.host_pool.free(&mut seq.host_blocks);
                seq.forget_swapped();
            }
        }
        has_reset
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

    /// The room for kv_blocks in host memory.
    pub fn host_pool(&self) -> &HostPool {
        &self.host_pool
    }

    /// Totals.
    pub fn stats(&self) -> SchedulerStats {
        SchedulerStats {
            num_published_blocks: self.block_pool.num_published(),
            num_evicted_blocks: self.block_pool.num_evicted(),
            ..self.stats
        }
    }

    /// The step in progress.
    pub fn plan(&self) -> &[ScheduledSeq] {
        &self.plan
    }

    /// What must be copied between device and host after [`Scheduler::schedule`] and before its
    /// model runs, in this order. For the sequence of a copy that fails call
    /// [`Scheduler::fail_swap`], execute those of all others, and schedule again.
    pub fn copies(&self) -> &[BlockCopy] {
        &self.copies
    }

    /// Sequences that hold kv_blocks and compute, first served first.
    pub fn running(&self) -> &[Sequence] {
        &self.running
    }

    /// Sequences that hold none, first served first.
    pub fn waiting(&self) -> impl ExactSizeIterator<Item = &Sequence> {
        self.waiting.iter()
    }

    /// Whether any sequence lives.
    pub fn has_unfinished(&self) -> bool {
        !self.running.is_empty() || !self.waiting.is_empty() || !self.loading.is_empty()
    }

    /// A live sequence.
    pub fn sequence(&self, seq_id: SeqId) -> Option<&Sequence> {
        let key = self.key_of(seq_id)?;
        if let Ok(seq_idx) = find(&self.running, key) {
            return self.running.get(seq_idx);
        }
        match find(&self.loading, key) {
            Ok(seq_idx) => self.loading.get(seq_idx),
            Err(_) => self.waiting.get(self.find_waiting(key)?),
        }
    }

    /// The key of a sequence, if it lives; without priorities its id says it.
    fn key_of(&self, seq_id: SeqId) -> Option<SeqKey> {
        match self.config.policy {
            SchedulingPolicy::Fcfs => Some(SeqKey { priority: 0, seq_id }),
            SchedulingPolicy::Priority => self
                .running
                .iter()
                .chain(&self.loading)
                .chain(&self.waiting)
                .map(Sequence::key)
                .find(|key| key.seq_id == seq_id),
        }
    }

    fn find_waiting(&self, key: SeqKey) -> Option<usize> {
        self.waiting.binary_search_by_key(&key, Sequence::key).ok()
    }
}

/// Where the sequence with this key is among sequences in order, or where it would have to be.
fn find(sequences: &[Sequence], key: SeqKey) -> Result<usize, usize> {
    sequences.binary_search_by_key(&key, Sequence::key)
}
