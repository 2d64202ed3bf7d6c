//! The running sequences' part of a step.

use super::room::Room;
use super::{ScheduledSeq, Scheduler};
use crate::prefix_cache::BlockHash;

impl Scheduler {
    /// Gives running sequences their rows, in order; answers whether blocks were missing: nobody is
    /// admitted then.
    pub(super) fn schedule_running(&mut self, room: &mut Room) -> bool {
        self.in_the_making.clear();
        self.make_by_loads();
        let mut has_preempted = false;
        let mut seq_idx = 0;
        while seq_idx < self.running.len() && room.num_rows > 0 {
            let seq = &mut self.running[seq_idx];
            let num_rows = room.rows_for_running(seq, seq_idx == 0);
            if num_rows > 0 && !seq.grow(num_rows, &mut self.block_pool) {
                has_preempted = true;
                if self.is_short_of_loads() {
                    // Alone it fits: what it lacks is being loaded into, and nobody can give that back.
                    room.pass(&self.running[seq_idx]);
                    seq_idx += 1;
                    continue;
                }
                // The victim may be this very sequence. Those after it have all that they need.
                self.preempt_last(room);
                continue;
            }
            room.pass(&self.running[seq_idx]);
            if num_rows > 0 {
                self.plan_rows(seq_idx, num_rows, room);
            }
            seq_idx += 1;
        }
        has_preempted
    }

    /// Enters `running[seq_idx]` into the plan.
    pub(super) fn plan_rows(&mut self, seq_idx: usize, num_rows: usize, room: &mut Room) {
        let seq = &self.running[seq_idx];
        room.spend(num_rows, seq.is_one_row());
        self.plan.push(ScheduledSeq::new(seq, num_rows));
        let block_size = self.config.block_size;
        let end = (seq.num_computed_tokens() + num_rows).div_ceil(block_size);
        let is_unpublished = |hash: &BlockHash| {
            self.block_pool.prefix_cache().is_some_and(|cache| cache.block(hash).is_none())
        };
        // Whoever may not read the cache begins with blocks that are in it.
        let made = seq.block_hashes().iter().enumerate().take(end);
        let first = made
            .skip(seq.num_computed_tokens() / block_size)
            .find(|(_, hash)| is_unpublished(hash));
        if let Some((block_idx, &hash)) = first {
            self.in_the_making.push((block_idx, hash));
        }
    }
}
