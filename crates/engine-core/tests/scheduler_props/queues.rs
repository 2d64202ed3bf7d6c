//! Invariants of queues, block tables and pool, over a copy that tests can spoil.

use std::collections::{BTreeMap, BTreeSet};

use engine_core::request::SeqId;
use engine_core::scheduler::{Scheduler, SchedulerConfig};
use engine_core::sequence::Sequence;

use crate::shadow::{Shadow, ensure};

/// A sequence as the queues have it.
#[derive(Clone, Debug)]
pub struct SeqView {
    pub seq_id: SeqId,
    pub num_tokens: usize,
    pub num_computed: usize,
    pub block_table: Vec<u32>,
}

/// What the scheduler shows of itself.
#[derive(Clone, Debug)]
pub struct Queues {
    pub config: SchedulerConfig,
    pub running: Vec<SeqView>,
    pub waiting: Vec<SeqView>,
    pub free_blocks: Vec<u32>,
    pub num_used_blocks: usize,
    /// Rows of the step in progress.
    pub in_step: BTreeMap<SeqId, usize>,
    pub num_preemptions: u64,
}

impl SeqView {
    fn of(seq: &Sequence) -> Self {
        SeqView {
            seq_id: seq.seq_id(),
            num_tokens: seq.num_tokens(),
            num_computed: seq.num_computed_tokens(),
            block_table: seq.block_table().iter().map(|block| block.0).collect(),
        }
    }
}

impl SeqView {
    /// The part of its table that is not for a step in progress.
    fn computed_blocks(&self, block_size: usize) -> &[u32] {
        &self.block_table[..self.num_computed.div_ceil(block_size)]
    }
}

impl Queues {
    pub fn of(scheduler: &Scheduler) -> Self {
        let pool = scheduler.block_pool();
        let in_step = scheduler.plan().iter().map(|s| (s.seq_id, s.num_scheduled_tokens));
        Queues {
            config: *scheduler.config(),
            running: scheduler.running().iter().map(SeqView::of).collect(),
            waiting: scheduler.waiting().map(SeqView::of).collect(),
            free_blocks: pool.free_blocks().map(|block| block.0).collect(),
            num_used_blocks: pool.num_used(),
            in_step: in_step.collect(),
            num_preemptions: scheduler.stats().num_preemptions,
        }
    }

    /// What holds at any time, against the truth.
    pub fn check(&self, shadow: &Shadow) -> Result<(), String> {
        self.check_blocks()?;
        self.check_tables()?;
        self.check_membership(shadow)
    }

    /// Invariants 1–5: each block is free once or in one table once.
    fn check_blocks(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        let tables = self.running.iter().chain(&self.waiting).flat_map(|seq| &seq.block_table);
        for &block in self.free_blocks.iter().chain(tables) {
            ensure!(seen.insert(block), "block {block} is in two places");
        }
        let num_blocks = self.config.num_blocks;
        ensure!(seen.len() == num_blocks, "{} of {num_blocks} blocks are there", seen.len());
        ensure!(
            self.num_used_blocks + self.free_blocks.len() == num_blocks,
            "{} used blocks and {} free ones",
            self.num_used_blocks,
            self.free_blocks.len()
        );
        Ok(())
    }

    /// Invariant 6: tables are exactly as long as they must be.
    fn check_tables(&self) -> Result<(), String> {
        for seq in &self.running {
            let in_step = self.in_step.get(&seq.seq_id).copied().unwrap_or(0);
            let needed = (seq.num_computed + in_step).div_ceil(self.config.block_size);
            let found = seq.block_table.len();
            ensure!(found == needed, "{:?} has {found} blocks for {needed}", seq.seq_id);
            ensure!(seq.num_computed < seq.num_tokens, "{:?} has nothing to do", seq.seq_id);
        }
        for seq in &self.waiting {
            ensure!(seq.block_table.is_empty(), "{:?} waits with blocks", seq.seq_id);
            ensure!(seq.num_computed == 0, "{:?} waits with KV", seq.seq_id);
        }
        Ok(())
    }

    /// Invariants 18, 19 and 21: each live sequence is in one queue, all in order of arrival.
    fn check_membership(&self, shadow: &Shadow) -> Result<(), String> {
        let max_num_seqs = self.config.max_num_seqs;
        ensure!(self.running.len() <= max_num_seqs, "more than {max_num_seqs} run");
        let ids: Vec<SeqId> =
            self.running.iter().chain(&self.waiting).map(|seq| seq.seq_id).collect();
        ensure!(ids.is_sorted_by(|a, b| a < b), "out of order of arrival: {ids:?}");
        let live: Vec<SeqId> = shadow.seqs.keys().copied().collect();
        ensure!(ids == live, "{ids:?} are queued, but {live:?} live");
        for seq in self.running.iter().chain(&self.waiting) {
            let truth = &shadow.seqs[&seq.seq_id];
            let found = (seq.num_tokens, seq.num_computed);
            let expected = (truth.token_ids.len(), truth.num_computed);
            ensure!(found == expected, "{:?}: {found:?}, but {expected:?}", seq.seq_id);
        }
        Ok(())
    }

    /// What one call of `schedule` may change: invariants 7, 20, 22, 25, and no idle budget.
    pub fn check_scheduled(&self, before: &Queues) -> Result<(), String> {
        let has_preempted = self.num_preemptions > before.num_preemptions;
        let old: BTreeMap<SeqId, &SeqView> =
            before.running.iter().map(|seq| (seq.seq_id, seq)).collect();
        for seq in &self.running {
            match old.get(&seq.seq_id) {
                Some(old) => ensure!(
                    seq.block_table.starts_with(old.computed_blocks(self.config.block_size)),
                    "{:?}'s table was not appended to",
                    seq.seq_id
                ),
                None => ensure!(!has_preempted, "{:?} admitted in a preempting step", seq.seq_id),
            }
        }
        for seq in &self.waiting {
            let is_scheduled = self.in_step.contains_key(&seq.seq_id);
            ensure!(!is_scheduled, "{:?} is scheduled but waits", seq.seq_id);
        }
        self.check_progress(has_preempted)
    }

    fn check_progress(&self, has_preempted: bool) -> Result<(), String> {
        let oldest = self.running.iter().chain(&self.waiting).next();
        if let Some(oldest) = oldest {
            let is_scheduled = self.in_step.contains_key(&oldest.seq_id);
            ensure!(is_scheduled, "the oldest, {:?}, is not scheduled", oldest.seq_id);
        }
        let num_scheduled: usize = self.in_step.values().sum();
        if num_scheduled >= self.config.max_num_batched_tokens {
            return Ok(());
        }
        for seq in &self.running {
            let is_scheduled = self.in_step.contains_key(&seq.seq_id);
            ensure!(is_scheduled, "{:?} runs and budget is left, but it idles", seq.seq_id);
        }
        let has_place = !has_preempted && self.running.len() < self.config.max_num_seqs;
        if let Some(next) = self.waiting.first().filter(|_| has_place) {
            let needed = next.num_tokens.div_ceil(self.config.block_size);
            ensure!(needed > self.free_blocks.len(), "{:?} waits for nothing", next.seq_id);
        }
        Ok(())
    }
}
