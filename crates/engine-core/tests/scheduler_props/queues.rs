//! Invariants of queues, block tables and pools, over a copy that tests can spoil.

use std::collections::{BTreeMap, BTreeSet};

use engine_core::block_pool::BlockId;
use engine_core::prefix_cache::BlockHash;
use engine_core::request::SeqId;
use engine_core::scheduler::{ScheduledSeq, Scheduler, SchedulerConfig, SchedulingPolicy};
use engine_core::sequence::{SeqKey, Sequence};

use crate::shadow::{Shadow, ensure};

/// A sequence as the queues have it.
#[derive(Clone, Debug)]
pub struct SeqView {
    pub key: SeqKey,
    pub num_tokens: usize,
    pub num_computed: usize,
    pub num_swapped: usize,
    pub block_table: Vec<u32>,
    pub host_blocks: Vec<u32>,
    pub block_hashes: Vec<BlockHash>,
    pub reads_cache: bool,
}

/// What the scheduler shows of itself.
#[derive(Clone, Debug)]
pub struct Queues {
    pub config: SchedulerConfig,
    pub running: Vec<SeqView>,
    pub waiting: Vec<SeqView>,
    pub free_blocks: Vec<u32>,
    pub free_blocks_back: Vec<u32>,
    pub ref_counts: Vec<u32>,
    /// The hash under which each block is published.
    pub hashes: Vec<Option<BlockHash>>,
    /// The block that is found under each of these hashes.
    pub found: BTreeMap<BlockHash, Option<u32>>,
    pub num_used_blocks: usize,
    pub num_published_blocks: usize,
    pub free_host_blocks: Vec<u32>,
    /// The step in progress.
    pub plan: BTreeMap<SeqId, ScheduledSeq>,
    pub num_preemptions: u64,
}

impl SeqView {
    fn of(seq: &Sequence) -> Self {
        SeqView {
            key: seq.key(),
            num_tokens: seq.num_tokens(),
            num_computed: seq.num_computed_tokens(),
            num_swapped: seq.num_swapped_tokens(),
            block_table: seq.block_table().iter().map(|block| block.0).collect(),
            host_blocks: seq.host_blocks().iter().map(|block| block.0).collect(),
            block_hashes: seq.block_hashes().to_vec(),
            reads_cache: seq.reads_prefix_cache(),
        }
    }
}

impl Queues {
    pub fn of(scheduler: &Scheduler) -> Self {
        let pool = scheduler.block_pool();
        let blocks = || (0..pool.num_blocks() as u32).map(BlockId);
        let cache = pool.prefix_cache();
        let hashes: Vec<_> = blocks().map(|block| cache.and_then(|c| c.hash_of(block))).collect();
        let find = |hash: BlockHash| (hash, cache.and_then(|c| c.block(&hash)).map(|b| b.0));
        Queues {
            config: *scheduler.config(),
            running: scheduler.running().iter().map(SeqView::of).collect(),
            waiting: scheduler.waiting().map(SeqView::of).collect(),
            free_blocks: pool.free_blocks().map(|block| block.0).collect(),
            free_blocks_back: pool.free_blocks_back().map(|block| block.0).collect(),
            ref_counts: blocks().map(|block| pool.ref_count(block)).collect(),
            found: hashes.iter().flatten().copied().map(find).collect(),
            hashes,
            num_used_blocks: pool.num_used(),
            num_published_blocks: cache.map_or(0, |cache| cache.num_blocks()),
            free_host_blocks: scheduler.host_pool().free_blocks().map(|block| block.0).collect(),
            plan: scheduler.plan().iter().map(|s| (s.seq_id, *s)).collect(),
            num_preemptions: scheduler.stats().num_preemptions,
        }
    }

    fn live(&self) -> impl Iterator<Item = &SeqView> {
        self.running.iter().chain(&self.waiting)
    }

    /// What holds at any time, against the truth.
    pub fn check(&self, shadow: &Shadow) -> Result<(), String> {
        self.check_blocks()?;
        self.check_host_blocks()?;
        self.check_published(shadow)?;
        self.check_tables()?;
        self.check_membership(shadow)
    }

    /// Invariants 1–4: a block is free once, or in as many tables as its count says.
    fn check_blocks(&self) -> Result<(), String> {
        let mut counts = vec![0; self.config.num_blocks];
        for seq in self.live() {
            let distinct: BTreeSet<_> = seq.block_table.iter().collect();
            ensure!(distinct.len() == seq.block_table.len(), "{:?} has a block twice", seq.key);
            seq.block_table.iter().for_each(|&block| counts[block as usize] += 1);
        }
        ensure!(counts == self.ref_counts, "counts {:?}, tables {counts:?}", self.ref_counts);
        let free: BTreeSet<u32> = self.free_blocks.iter().copied().collect();
        ensure!(free.len() == self.free_blocks.len(), "a block is free twice");
        for (block, &count) in counts.iter().enumerate() {
            let is_free = free.contains(&(block as u32));
            ensure!(is_free == (count == 0), "block {block} is in {count} tables: {is_free}");
        }
        let back = self.free_blocks_back.iter().rev();
        ensure!(back.eq(&self.free_blocks), "the free list differs from back to front");
        let num_used = self.config.num_blocks - free.len();
        ensure!(self.num_used_blocks == num_used, "{num_used} blocks are used");
        Ok(())
    }

    /// Each host block is free once or with one sequence once.
    fn check_host_blocks(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        let held = self.live().flat_map(|seq| &seq.host_blocks);
        for &block in held.chain(&self.free_host_blocks) {
            ensure!(seen.insert(block), "host block {block} is in two places");
        }
        let num_blocks = self.config.num_host_blocks;
        ensure!(seen.len() == num_blocks, "{} of {num_blocks} host blocks", seen.len());
        Ok(())
    }

    /// Invariants 10, 11 and 14: what is found under a hash is what the hash stands for.
    fn check_published(&self, shadow: &Shadow) -> Result<(), String> {
        for (block, hash) in self.hashes.iter().enumerate() {
            if let Some(hash) = hash {
                let found = self.found[hash];
                ensure!(found == Some(block as u32), "block {block}'s hash leads to {found:?}");
                shadow.check_published(block, hash)?;
            }
        }
        let num_published = self.hashes.iter().flatten().count();
        ensure!(num_published == self.num_published_blocks, "{num_published} have a hash");
        Ok(())
    }

    /// Invariant 6: tables are exactly as long as they must be.
    fn check_tables(&self) -> Result<(), String> {
        let block_size = self.config.block_size;
        for seq in &self.running {
            let planned = self.plan.get(&seq.key.seq_id);
            let num_rows = planned.map_or(0, |scheduled| scheduled.num_scheduled_tokens);
            let needed = (seq.num_computed + num_rows).div_ceil(block_size);
            let found = seq.block_table.len();
            ensure!(found == needed, "{:?} has {found} blocks for {needed}", seq.key);
            ensure!(seq.num_computed < seq.num_tokens, "{:?} has nothing to do", seq.key);
            ensure!(seq.num_swapped == 0, "{:?} runs but is swapped", seq.key);
        }
        for seq in &self.waiting {
            ensure!(seq.block_table.is_empty(), "{:?} waits with blocks", seq.key);
            ensure!(seq.num_computed == 0, "{:?} waits with KV", seq.key);
            let (found, needed) = (seq.host_blocks.len(), seq.num_swapped.div_ceil(block_size));
            ensure!(found == needed, "{:?} has {found} host blocks for {needed}", seq.key);
        }
        Ok(())
    }

    /// Invariants 18, 19 and 21: each live sequence is in one queue, both in order.
    fn check_membership(&self, shadow: &Shadow) -> Result<(), String> {
        let max_num_seqs = self.config.max_num_seqs;
        ensure!(self.running.len() <= max_num_seqs, "more than {max_num_seqs} run");
        for queue in [&self.running, &self.waiting] {
            let is_sorted = queue.is_sorted_by(|a, b| a.key < b.key);
            ensure!(is_sorted, "out of order: {queue:?}");
        }
        // A request is passed while another computes its next block, or when its swap has failed.
        let is_one_queue = self.config.policy == SchedulingPolicy::Fcfs
            && !self.config.enable_prefix_caching
            && self.config.num_host_blocks == 0;
        let mut ids: Vec<SeqId> = self.live().map(|seq| seq.key.seq_id).collect();
        ensure!(!is_one_queue || ids.is_sorted(), "out of order of arrival: {ids:?}");
        ids.sort();
        let live: Vec<SeqId> = shadow.seqs.keys().copied().collect();
        ensure!(ids == live, "{ids:?} are queued, but {live:?} live");
        for seq in self.live() {
            let truth = &shadow.seqs[&seq.key.seq_id];
            let found = (seq.num_tokens, seq.num_computed, seq.num_swapped);
            let expected = (truth.token_ids.len(), truth.num_computed, truth.num_swapped);
            ensure!(found == expected, "{:?}: {found:?}, but {expected:?}", seq.key);
            let reads_cache = self.config.enable_prefix_caching && !truth.skips_cache;
            ensure!(seq.reads_cache == reads_cache, "{:?} may read: {reads_cache}", seq.key);
        }
        Ok(())
    }

    /// Invariant 8: rows are written to blocks that nobody else has or can find.
    pub fn check_writable(&self) -> Result<(), String> {
        let block_size = self.config.block_size;
        for seq in &self.running {
            let Some(scheduled) = self.plan.get(&seq.key.seq_id) else { continue };
            let positions = scheduled.positions();
            for block_idx in positions.start / block_size..positions.end.div_ceil(block_size) {
                let block = seq.block_table[block_idx] as usize;
                ensure!(self.ref_counts[block] == 1, "{:?} writes to shared {block}", seq.key);
                ensure!(self.hashes[block].is_none(), "{:?} writes to published {block}", seq.key);
            }
        }
        Ok(())
    }
}
