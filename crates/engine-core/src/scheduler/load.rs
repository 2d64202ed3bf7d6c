//! Sequences whose KV comes from outside.

use alloc::vec::Vec;

use super::{Scheduler, find};
use crate::block_pool::{BlockId, BlockPool};
use crate::kv_tier::{KvLoad, LoadError};
use crate::prefix_cache::BlockHash;
use crate::request::SeqId;
use crate::sequence::Sequence;

/// The kv_blocks of a sequence that ended while it was loading.
#[derive(Debug)]
pub(super) struct Drain {
    pub(super) load: KvLoad,
    pub(super) block_table: Vec<BlockId>,
}

impl Scheduler {
    /// The KV of this many leading tokens of a waiting sequence can be loaded from outside; holds until
    /// the sequence is admitted, or another offer comes. Answers `false`, and does nothing, when no such
    /// sequence waits or it computes every token on purpose.
    pub fn offer(&mut self, seq_id: SeqId, num_tokens: usize) -> bool {
        let seq_idx = self.key_of(seq_id).and_then(|key| self.find_waiting(key));
        let Some(seq) = seq_idx.map(|seq_idx| &mut self.waiting[seq_idx]) else {
            return false;
        };
        seq.offer(num_tokens)
    }

    /// The loads that the last call of [`Scheduler::schedule`] began, in the order of admission. They are
    /// to be started after the step's copies, whatever becomes of the step.
    pub fn loads(&self) -> &[KvLoad] {
        &self.loads
    }

    /// Sequences that hold kv_blocks and wait for what is loaded into them, first served first.
    pub fn loading(&self) -> &[Sequence] {
        &self.loading
    }

    /// Loads of sequences that have ended; until they are reported, nobody else gets their kv_blocks.
    pub fn draining(&self) -> impl ExactSizeIterator<Item = &KvLoad> {
        self.draining.iter().map(|drain| &drain.load)
    }

    /// A load is over: nobody writes to its kv_blocks any more, and the KV of the first `num_tokens` tokens
    /// of the sequence is there and verified. The sequence runs on from there, or from where it was if
    /// that is more; the rest is computed. Can be called at any time, also within a step.
    ///
    /// # Errors
    /// [`LoadError`]; nothing has changed.
    pub fn end_load(&mut self, seq_id: SeqId, num_tokens: usize) -> Result<(), LoadError> {
        let too_many = |max| LoadError::TooManyTokens { seq_id, found: num_tokens, max };
        if let Some(idx) = self.draining.iter().position(|drain| drain.load.seq_id == seq_id) {
            let max = self.draining[idx].load.tokens.end;
            if num_tokens > max {
                return Err(too_many(max));
            }
            let mut drain = self.draining.remove(idx);
            self.block_pool.truncate(&mut drain.block_table, 0);
            return Ok(());
        }
        let Some(idx) = self.loading.iter().position(|seq| seq.seq_id() == seq_id) else {
            return Err(LoadError::NotLoading { seq_id });
        };
        let max = self.loading[idx].load_end();
        if num_tokens > max {
            return Err(too_many(max));
        }
        let mut seq = self.loading.remove(idx);
        let num_loaded = seq.end_load(num_tokens, &mut self.block_pool);
        self.stats.num_loaded_tokens += num_loaded as u64;
        self.stats.num_failed_loads += u64::from(num_tokens < max);
        if let Err(running_idx) = find(&self.running, seq.key()) {
            self.running.insert(running_idx, seq);
        }
        Ok(())
    }

    /// Where the load of a waiting sequence ends that finds `num_hit_tokens` in the prefix cache; `None` if
    /// there is nothing to load. What it has in host memory is nearer.
    pub(super) fn load_end(seq: &Sequence, num_hit_tokens: usize) -> Option<usize> {
        // At least the last token is computed, for its logits.
        let end = seq.num_offered_tokens().min(seq.num_tokens() - 1);
        (seq.num_swapped_tokens() == 0 && end > num_hit_tokens).then_some(end)
    }

    /// Has a sequence that is admitted, with the blocks of [`Scheduler`]'s hits, load up to token `end`.
    pub(super) fn begin_load(&mut self, mut seq: Sequence, end: usize) {
        let num_hit_tokens = self.hits.len() * self.config.block_size;
        seq.begin_load(&self.hits, end, &mut self.block_pool);
        self.stats.num_loads += 1;
        self.loads.push(KvLoad { seq_id: seq.seq_id(), tokens: num_hit_tokens..end });
        self.in_the_making.extend(first_missing(&seq, &self.block_pool));
        let (Ok(idx) | Err(idx)) = find(&self.loading, seq.key());
        self.loading.insert(idx, seq);
    }

    /// What is being loaded need not be computed, nor loaded once more.
    pub(super) fn make_by_loads(&mut self) {
        let block_pool = &self.block_pool;
        let made = self.loading.iter().filter_map(|seq| first_missing(seq, block_pool));
        self.in_the_making.extend(made);
    }

    /// A loading sequence has ended: its kv_blocks stay with the load.
    pub(super) fn drain(&mut self, seq: &mut Sequence) {
        let tokens = seq.num_computed_tokens()..seq.load_end();
        let load = KvLoad { seq_id: seq.seq_id(), tokens };
        self.draining.push(Drain { load, block_table: seq.abandon_load() });
    }

    /// Whether kv_blocks will come free that nobody who runs holds.
    pub(super) fn has_loads(&self) -> bool {
        !self.loading.is_empty() || !self.draining.is_empty()
    }
}

/// Index and hash of the first block that a load brings and nobody has published yet.
fn first_missing(seq: &Sequence, block_pool: &BlockPool) -> Option<(usize, BlockHash)> {
    let cache = block_pool.prefix_cache()?;
    let mut blocks = seq.loading_blocks();
    let (block_idx, hash) = blocks.find(|(_, hash)| cache.block(hash).is_none())?;
    Some((block_idx, *hash))
}
