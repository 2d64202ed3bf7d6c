//! What a step still has to give.

use super::Scheduler;
use crate::sequence::Sequence;

/// Rows that the step in the making can still give away.
#[derive(Debug)]
pub(super) struct Room {
    /// Rows in all.
    pub(super) num_rows: usize,
    /// Of these, the rows kept for running sequences that come later and need but one: a long
    /// prompt does not make them stall.
    num_kept: usize,
    /// Sequences with one row, those included that one is kept for.
    num_decodes: usize,
    /// Rows beyond one per sequence that end in time for `tpot_target_us`.
    max_num_extra_rows: usize,
    /// Those of them that were given away.
    num_extra_rows: usize,
    /// Rows of a sequence.
    max_chunk: usize,
    enable_chunked_prefill: bool,
}

impl Scheduler {
    /// The room of a new step.
    pub(super) fn room(&self) -> Room {
        let num_one_row = self.running.iter().filter(|seq| seq.is_one_row()).count();
        let num_live = self.running.len() + self.loading.len() + self.waiting.len();
        let threshold = self.config.long_prefill_token_threshold;
        Room {
            num_rows: self.config.max_num_batched_tokens,
            num_kept: num_one_row,
            num_decodes: num_one_row,
            // Without a decode nobody waits for a token.
            max_num_extra_rows: if num_one_row > 0 {
                self.max_num_extra_rows(num_one_row)
            } else {
                usize::MAX
            },
            num_extra_rows: 0,
            max_chunk: if threshold > 0 && num_live > 1 { threshold } else { usize::MAX },
            enable_chunked_prefill: self.config.enable_chunked_prefill,
        }
    }

    /// Rows that a step may have beside `num_decodes` decodes.
    fn max_num_extra_rows(&self, num_decodes: usize) -> usize {
        self.config.tpot_target_us.map_or(usize::MAX, |target_us| {
            // Below a kv_block a prompt would take longer than its answer is worth.
            self.costs.num_extra_rows(target_us, num_decodes).max(self.config.block_size)
        })
    }

    /// Has the step wait for one decode more; answers `false`, and changes nothing, if the rows
    /// that it has already would then be too many.
    pub(super) fn make_room_for_decode(&self, room: &mut Room) -> bool {
        if room.max_num_extra_rows == usize::MAX {
            return true;
        }
        let max_num_extra_rows = self.max_num_extra_rows(room.num_decodes + 1);
        if max_num_extra_rows < room.num_extra_rows {
            return false;
        }
        room.num_decodes += 1;
        room.max_num_extra_rows = max_num_extra_rows.min(room.max_num_extra_rows);
        true
    }
}

impl Room {
    /// Rows for a running sequence; 0: not in this step. The first of all gets at least one.
    pub(super) fn rows_for_running(&self, seq: &Sequence, is_first: bool) -> usize {
        if seq.is_one_row() {
            return self.num_rows.min(1);
        }
        let num_rows = self.rows_for_waiting(seq.num_next_rows());
        if is_first && !self.enable_chunked_prefill {
            // The budget of a step without chunks holds any sequence.
            return seq.num_next_rows();
        }
        if is_first { num_rows.max(1) } else { num_rows }
    }

    /// Rows for a sequence that lacks `num_uncomputed` and would not be kept rows for.
    pub(super) fn rows_for_waiting(&self, num_uncomputed: usize) -> usize {
        let num_rows = self.num_rows.saturating_sub(self.num_kept).min(num_uncomputed);
        if !self.enable_chunked_prefill {
            return if num_rows < num_uncomputed { 0 } else { num_rows };
        }
        num_rows.min(self.max_chunk).min(self.num_extra_rows_left())
    }

    /// A running sequence had its turn, or lost it; if one row was kept for it, it is no longer.
    pub(super) fn pass(&mut self, seq: &Sequence) {
        self.num_kept -= usize::from(seq.is_one_row());
    }

    /// Rows are given to a sequence.
    pub(super) fn spend(&mut self, num_rows: usize, is_one_row: bool) {
        self.num_rows -= num_rows;
        if !is_one_row {
            self.num_extra_rows += num_rows;
        }
    }

    /// Rows beyond one per sequence that can still be given away.
    pub(super) fn num_extra_rows_left(&self) -> usize {
        self.max_num_extra_rows.saturating_sub(self.num_extra_rows)
    }
}
