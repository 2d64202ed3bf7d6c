//! Taking kv_blocks from a running sequence, and keeping their KV in host memory meanwhile.

use core::ops::Range;

use super::room::Room;
use super::{BlockCopy, CopyDirection, Scheduler, find};
use crate::request::SeqId;
use crate::sequence::Sequence;

impl Scheduler {
    /// Whether all but one of those that run, and others, are being loaded, and hold what that one lacks.
    pub(super) fn is_short_of_loads(&self) -> bool {
        let mut others = self.running.iter().filter(|seq| !seq.is_loading());
        self.has_loads() && others.nth(1).is_none()
    }

    /// Sends the running sequence that is last in order back to the queue, but for those whose kv_blocks
    /// somebody is writing to. It is in no step: those before it in order are served before it.
    pub(super) fn preempt_last(&mut self, room: &mut Room) {
        let Some(victim_idx) = self.running.iter().rposition(|seq| !seq.is_loading()) else {
            return;
        };
        let mut victim = self.running.remove(victim_idx);
        room.pass(&victim);
        victim.forget_ahead(&mut self.block_pool);
        self.stats.num_preemptions += 1;
        if self.is_swap_cheaper(&victim) {
            self.copy_out(&mut victim);
        }
        victim.preempt(&mut self.block_pool);
        self.enqueue(victim);
    }

    fn is_swap_cheaper(&self, victim: &Sequence) -> bool {
        let (num_blocks, num_tokens) = (victim.block_table().len(), victim.num_computed_tokens());
        num_blocks <= self.host_pool.num_free()
            && self.costs.is_swap_cheaper(num_blocks, num_tokens)
    }

    fn copy_out(&mut self, victim: &mut Sequence) {
        let num_blocks = victim.block_table().len();
        if !self.host_pool.allocate(num_blocks, &mut victim.host_blocks) {
            return;
        }
        self.push_copies(CopyDirection::Out, victim, 0..num_blocks);
        self.stats.num_swaps_out += 1;
    }

    /// Has the blocks `block_idxs` of a sequence that was swapped out, if it was, copied back.
    pub(super) fn copy_in(&mut self, seq: &Sequence, block_idxs: Range<usize>) {
        if seq.host_blocks().is_empty() {
            return;
        }
        self.push_copies(CopyDirection::In, seq, block_idxs);
        self.stats.num_swaps_in += 1;
    }

    fn push_copies(&mut self, direction: CopyDirection, seq: &Sequence, block_idxs: Range<usize>) {
        let seq_id = seq.seq_id();
        let (table, host_blocks) = (seq.block_table(), seq.host_blocks());
        let copy = |idx: usize| BlockCopy {
            seq_id,
            direction,
            device: table[idx],
            host: host_blocks[idx],
        };
        self.copies.extend(block_idxs.map(copy));
    }

    /// The copies have been executed: host blocks of those that came back are free again.
    pub(super) fn settle_copies(&mut self) {
        self.copies.clear();
        for seq in &mut self.running {
            self.host_pool.free(&mut seq.host_blocks);
        }
    }

    /// A copy of [`Scheduler::copies`] failed: what the sequence had in host memory is lost, and it
    /// is computed again. The step in progress is dropped; schedule the next. Answers `false`, and
    /// does nothing, when there is no such sequence or it has nothing in host memory.
    pub fn fail_swap(&mut self, seq_id: SeqId) -> bool {
        let is_swapped = |seq: &Sequence| !seq.host_blocks().is_empty();
        let Some(key) = self.sequence(seq_id).filter(|seq| is_swapped(seq)).map(Sequence::key)
        else {
            return false;
        };
        self.drop_step();
        self.stats.num_failed_swaps += 1;
        if let Ok(seq_idx) = find(&self.running, key) {
            let mut seq = self.running.remove(seq_idx);
            seq.release(&mut self.block_pool);
            self.enqueue(seq);
        }
        if let Some(seq_idx) = self.find_waiting(key) {
            let seq = &mut self.waiting[seq_idx];
            self.host_pool.free(&mut seq.host_blocks);
            seq.forget_swapped();
        }
        true
    }
}
