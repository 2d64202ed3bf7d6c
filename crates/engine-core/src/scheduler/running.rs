//! The running sequences' part of a step.

use super::room::Room;
use super::{ScheduledSeq, Scheduler};

impl Scheduler {
    /// Gives running sequences their rows, in order; answers whether it had to preempt.
    pub(super) fn schedule_running(&mut self, room: &mut Room) -> bool {
        self.in_the_making.clear();
        let mut has_preempted = false;
        let mut seq_idx = 0;
        while seq_idx < self.running.len() && room.num_rows > 0 {
            let seq = &mut self.running[seq_idx];
            let num_rows = room.rows_for_running(seq, seq_idx == 0);
            if num_rows > 0 && !seq.grow(num_rows, &mut self.block_pool) {
                has_preempted = true;
                // The victim may be this very sequence; then the loop is done.
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
        let block_idx = seq.num_computed_tokens() / self.config.block_size;
        let Some(&hash) = seq.block_hashes().get(block_idx) else {
            return;
        };
        if self.block_pool.prefix_cache().is_some_and(|cache| cache.block(&hash).is_none()) {
            self.in_the_making.push((block_idx, hash));
        }
    }
}
