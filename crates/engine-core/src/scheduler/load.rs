//! Sequences whose KV comes from outside.

use alloc::vec::Vec;
use core::ops::Range;

use super::room::Room;
use super::{Scheduler, find};
use crate::block_pool::{BlockId, BlockPool};
use crate::kv_tier::{KvLoad, LoadError};
use crate::prefix_cache::BlockHash;
use crate::request::SeqId;
use crate::sequence::Sequence;

/// The kv_blocks that were loaded into for a sequence when it ended.
#[derive(Debug)]
pub(super) struct Drain {
    pub(super) load: KvLoad,
    pub(super) block_table: Vec<BlockId>,
}

impl Scheduler {
    /// The KV of these tokens of a waiting sequence can be loaded from outside; holds until the sequence is
    /// admitted, or another offer comes. What comes before them and nobody has is computed meanwhile, but
    /// without chunked prefill: a prompt that is computed at once is loaded from its first missing token on,
    /// or not at all. Answers `false`, and does nothing, when no such sequence waits or it computes every
    /// token on purpose.
    pub fn offer(&mut self, seq_id: SeqId, tokens: Range<usize>) -> bool {
        let seq_idx = self.key_of(seq_id).and_then(|key| self.find_waiting(key));
        let Some(seq) = seq_idx.map(|seq_idx| &mut self.waiting[seq_idx]) else {
            return false;
        };
        seq.offer(tokens)
    }

    /// The loads that the last call of [`Scheduler::schedule`] began, in the order of admission. They are
    /// to be started after the step's copies, whatever becomes of the step.
    pub fn loads(&self) -> &[KvLoad] {
        &self.loads
    }

    /// Sequences that hold kv_blocks and have nothing to compute before what is loaded into them is there,
    /// first served first.
    pub fn loading(&self) -> &[Sequence] {
        &self.loading
    }

    /// Loads of sequences that have ended; until they are reported, nobody else gets their kv_blocks.
    pub fn draining(&self) -> impl ExactSizeIterator<Item = &KvLoad> {
        self.draining.iter().map(|drain| &drain.load)
    }

    /// A load is over: nobody writes to its kv_blocks any more, and the KV of the first `num_tokens` tokens
    /// of the sequence, but for those that are computed meanwhile, is there and verified. The sequence runs
    /// on from there once it has computed what comes before the load, or computes on if nothing came. Can
    /// be called at any time, also within a step.
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
        let is_it = |seq: &Sequence| seq.seq_id() == seq_id && seq.is_loading();
        let waiting_idx = self.loading.iter().position(is_it);
        let seq = match waiting_idx {
            Some(idx) => &mut self.loading[idx],
            None => match self.running.iter_mut().find(|seq| is_it(seq)) {
                Some(seq) => seq,
                None => return Err(LoadError::NotLoading { seq_id }),
            },
        };
        let max = seq.ahead().map_or(0, |ahead| ahead.tokens.end);
        if num_tokens > max {
            return Err(too_many(max));
        }
        let num_loaded = seq.end_load(num_tokens, &mut self.block_pool);
        self.stats.num_loaded_tokens += num_loaded as u64;
        self.stats.num_failed_loads += u64::from(num_tokens < max);
        if let Some(idx) = waiting_idx {
            let seq = self.loading.remove(idx);
            let (Ok(idx) | Err(idx)) = find(&self.running, seq.key());
            self.running.insert(idx, seq);
        }
        Ok(())
    }

    /// What a waiting sequence loads that finds `num_hit_tokens` in the prefix cache; `None` if there is
    /// nothing to load. What it has in host memory is nearer.
    pub(super) fn to_load(&self, seq: &Sequence, num_hit_tokens: usize) -> Option<Range<usize>> {
        let offered = seq.offered_tokens();
        // At least the last token is computed, for its logits.
        let end = offered.end.min(seq.num_tokens() - 1);
        let start = offered.start.min(end).next_multiple_of(self.config.block_size);
        let start = start.max(num_hit_tokens);
        let may_start = start == num_hit_tokens || self.config.enable_chunked_prefill;
        (seq.num_swapped_tokens() == 0 && may_start && start < end).then_some(start..end)
    }

    /// Has a sequence that is admitted, with the blocks of [`Scheduler`]'s hits, load these tokens, and
    /// compute `num_rows` of those before them in this step.
    pub(super) fn begin_load(
        &mut self,
        mut seq: Sequence,
        tokens: Range<usize>,
        num_rows: usize,
        room: &mut Room,
    ) {
        seq.begin_load(&self.hits, tokens.clone(), &mut self.block_pool);
        self.loads.push(KvLoad { seq_id: seq.seq_id(), tokens });
        self.in_the_making.extend(first_missing(&seq, &self.block_pool));
        self.stats.num_loads += 1;
        if seq.awaits_load() {
            let (Ok(idx) | Err(idx)) = find(&self.loading, seq.key());
            self.loading.insert(idx, seq);
            return;
        }
        self.stats.num_split_loads += 1;
        let (Ok(idx) | Err(idx)) = find(&self.running, seq.key());
        self.running.insert(idx, seq);
        if num_rows > 0 {
            self.plan_rows(idx, num_rows, room);
        }
    }

    /// What comes from outside need not be computed, nor loaded once more.
    pub(super) fn make_by_loads(&mut self) {
        let block_pool = &self.block_pool;
        let ahead = self.loading.iter().chain(&self.running);
        self.in_the_making.extend(ahead.filter_map(|seq| first_missing(seq, block_pool)));
    }

    /// Who has computed all before a load that is not over waits for it.
    pub(super) fn await_loads(&mut self) {
        for seq in self.running.extract_if(.., |seq| seq.awaits_load()) {
            let (Ok(idx) | Err(idx)) = find(&self.loading, seq.key());
            self.loading.insert(idx, seq);
        }
    }

    /// A sequence has ended: kv_blocks that are being loaded into stay with the load.
    pub(super) fn drain(&mut self, seq: &mut Sequence) {
        if let Some((tokens, block_table)) = seq.abandon_load() {
            let load = KvLoad { seq_id: seq.seq_id(), tokens };
            self.draining.push(Drain { load, block_table });
        }
    }

    /// Whether kv_blocks will come free that nobody can be made to give back now.
    pub(super) fn has_loads(&self) -> bool {
        !self.loading.is_empty()
            || !self.draining.is_empty()
            || self.running.iter().any(Sequence::is_loading)
    }
}

/// Index and hash of the first block that comes from outside and nobody has published yet.
fn first_missing(seq: &Sequence, block_pool: &BlockPool) -> Option<(usize, BlockHash)> {
    let cache = block_pool.prefix_cache()?;
    let mut blocks = seq.blocks_ahead();
    let (block_idx, hash) = blocks.find(|(_, hash)| cache.block(hash).is_none())?;
    Some((block_idx, *hash))
}
