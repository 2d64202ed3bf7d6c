//! Admission: which waiting sequences join the running ones.

use super::room::Room;
use super::{Scheduler, find};
use crate::capacity::blocks_for_tokens;
use crate::sequence::Sequence;

impl Scheduler {
    /// Admits waiting sequences in order, each if all its present tokens fit in free kv_blocks: one
    /// that would at once be preempted by its own prompt stays where it is, and so do all behind
    /// it. Only one whose next block another sequence is computing in this very step, or loading, is
    /// passed over: it will find that block when it is done.
    pub(super) fn schedule_waiting(&mut self, room: &mut Room) {
        let mut seq_idx = 0;
        while seq_idx < self.waiting.len()
            && self.running.len() + self.loading.len() < self.config.max_num_seqs
        {
            if self.is_in_the_making(&self.waiting[seq_idx]) {
                self.stats.num_set_asides += 1;
                seq_idx += 1;
                if seq_idx == self.config.max_num_seqs {
                    return;
                }
            } else if !self.admit(seq_idx, room) {
                return;
            }
        }
    }

    /// Whether a sequence of the plan is computing the first block that `seq` would not find.
    ///
    /// A hash says what all blocks up to its own hold, so whoever has the same hash at the index of
    /// the block in the making has found or made all blocks before it.
    fn is_in_the_making(&self, seq: &Sequence) -> bool {
        let max_num_hits = seq.max_num_hits();
        seq.num_swapped_tokens() == 0
            && self.in_the_making.iter().any(|&(block_idx, hash)| {
                block_idx < max_num_hits && seq.block_hashes()[block_idx] == hash
            })
    }

    /// Admits `waiting[seq_idx]`; answers `false`, and changes nothing, if there is no room.
    fn admit(&mut self, seq_idx: usize, room: &mut Room) -> bool {
        let block_size = self.config.block_size;
        let seq = &self.waiting[seq_idx];
        if seq.find_hits(&self.block_pool, &mut self.hits) {
            self.stats.num_hash_mismatches += 1;
        }
        // What was swapped out and is found in the cache need not be copied.
        let num_hit_tokens = self.hits.len() * block_size;
        let num_computed = num_hit_tokens.max(seq.num_swapped_tokens());
        let to_load = self.to_load(seq, num_hit_tokens);
        let num_uncomputed =
            to_load.as_ref().map_or(seq.num_tokens(), |tokens| tokens.start) - num_computed;
        let num_rows = room.rows_for_waiting(num_uncomputed);
        let num_new = blocks_for_tokens(seq.num_tokens(), block_size) - self.hits.len();
        let has_rows = num_rows > 0 || to_load.is_some();
        if !has_rows || !self.block_pool.can_lend(&self.hits, num_new) {
            return false;
        }
        if to_load.is_none() && num_uncomputed == 1 && !self.make_room_for_decode(room) {
            return false;
        }
        let Some(mut seq) = self.waiting.remove(seq_idx) else {
            return false;
        };
        seq.reserve(&self.config);
        self.stats.num_prefix_query_tokens +=
            if seq.reads_prefix_cache() { seq.num_tokens() as u64 } else { 0 };
        self.stats.num_prefix_hit_tokens += num_hit_tokens as u64;
        if let Some(tokens) = to_load {
            self.begin_load(seq, tokens, num_rows, room);
            return true;
        }
        let num_tokens = num_computed + num_rows;
        seq.admit(&self.hits, num_tokens, num_computed, &mut self.block_pool);
        self.copy_in(
            &seq,
            num_hit_tokens / block_size..blocks_for_tokens(num_computed, block_size),
        );
        let Err(running_idx) = find(&self.running, seq.key()) else {
            return false;
        };
        self.running.insert(running_idx, seq);
        self.plan_rows(running_idx, num_rows, room);
        true
    }
}
