//! Guessed tokens in what a step has left.

use super::room::Room;
use super::{Scheduler, find};

impl Scheduler {
    /// Adds guesses to the sequences of the plan that decode, as far as rows and kv_blocks are left
    /// over: they never cost another sequence either.
    pub(super) fn schedule_drafts(&mut self, room: &mut Room) {
        let Some(ngram) = self.config.speculative else {
            return;
        };
        for scheduled in &mut self.plan {
            let Ok(seq_idx) = find(&self.running, scheduled.key()) else {
                continue;
            };
            let seq = &mut self.running[seq_idx];
            if scheduled.is_prefill {
                continue;
            }
            // The token after the last guess must still be wanted.
            let num_wanted = seq.max_num_tokens() - seq.num_tokens() - 1;
            let num_rows = seq.max_num_rows(self.block_pool.num_free()) - 1;
            let max_num_drafts =
                num_wanted.min(num_rows).min(room.num_rows).min(room.num_extra_rows_left());
            let num_drafts = seq.guess(&ngram, max_num_drafts);
            let has_grown = seq.grow(1 + num_drafts, &mut self.block_pool);
            debug_assert!(has_grown, "guesses fit in the blocks that are left");
            room.spend(num_drafts, false);
            scheduled.num_draft_tokens = num_drafts;
            scheduled.num_scheduled_tokens += num_drafts;
        }
    }
}
