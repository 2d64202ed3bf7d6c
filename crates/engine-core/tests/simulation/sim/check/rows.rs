//! The rows of a step: how many, whose, and where they go.

use engine_core::request::TokenId;
use engine_core::scheduler::ScheduledSeq;
use engine_core::speculative::propose;

use crate::sim::driver::Driver;
use crate::sim::follow::Changes;
use crate::sim::truth::TrueSeq;
use crate::sim::violation::{Verdict, ensure};

impl Driver<'_> {
    /// Invariants 18 and 20, and that the batch says what the plan says.
    pub(in crate::sim) fn check_plan(&self, changes: &Changes) -> Verdict {
        let num_rows: usize = self.plan.iter().map(|part| part.num_scheduled_tokens).sum();
        let budget = self.world.config.max_num_batched_tokens;
        ensure!("18", num_rows <= budget, "{num_rows} rows in a step of {budget}");
        let batch = &self.batch;
        let num_seqs = self.plan.len();
        let is_shaped = batch.token_ids.len() == num_rows
            && batch.positions.len() == num_rows
            && batch.slot_mapping.len() == num_rows
            && batch.cu_seqlens_q.len() == num_seqs + 1
            && batch.seq_lens.len() == num_seqs
            && batch.block_tables.len() == num_seqs * batch.max_num_blocks;
        ensure!("20", is_shaped, "the batch is misshapen for {num_rows} rows of {num_seqs}");
        let mut start = 0;
        for (seq_idx, part) in self.plan.iter().enumerate() {
            let end = start + part.num_scheduled_tokens;
            ensure!("20", batch.rows(seq_idx) == (start..end), "{:?}'s rows", part.seq_id);
            start = end;
            let Some(seq) = self.live.iter().find(|seq| seq.seq_id() == part.seq_id) else {
                continue;
            };
            ensure!("22", seq.is_running, "{:?} is scheduled, but does not run", part.seq_id);
            self.check_part(seq, part)?;
            self.check_batch(seq, part, seq_idx)?;
            if part.num_draft_tokens > 0 {
                self.check_drafts(seq, part, changes)?;
            }
        }
        Ok(())
    }

    fn check_part(&self, seq: &TrueSeq, part: &ScheduledSeq) -> Verdict {
        let seq_id = seq.seq_id();
        let num_rows = part.num_scheduled_tokens - part.num_draft_tokens;
        ensure!("20", num_rows >= 1, "{seq_id:?} has no rows but of guesses");
        let end = seq.num_computed + num_rows;
        let is_prefill = seq.num_computed < seq.load.prompt_len || seq.num_uncomputed() > 1;
        let expected = ScheduledSeq {
            seq_id,
            priority: seq.load.priority,
            num_computed_tokens: seq.num_computed,
            num_scheduled_tokens: part.num_scheduled_tokens,
            num_draft_tokens: part.num_draft_tokens,
            num_prompt_tokens: seq.load.prompt_len,
            first_new_position: seq.max_num_computed,
            samples: end == seq.num_tokens(),
            is_prefill,
            is_first: seq.max_num_computed == 0,
        };
        ensure!("20", *part == expected, "{part:?}, but {expected:?}");
        ensure!("20", end <= seq.num_tokens(), "{seq_id:?} has rows past its end");
        let is_before = num_rows <= seq.num_next_rows();
        ensure!("load", is_before, "{seq_id:?} computes what is loaded");
        let most = part.positions().end;
        let limit = seq.max_num_tokens;
        ensure!("18", most < limit, "{seq_id:?} computes {most} tokens and ends at {limit}");
        let config = &self.world.config;
        let threshold = config.long_prefill_token_threshold;
        let is_capped = threshold == 0 || self.live.len() == 1 || num_rows <= threshold;
        ensure!("18", is_capped, "{seq_id:?} has {num_rows} rows, over the threshold");
        let is_whole = config.enable_chunked_prefill || part.samples;
        ensure!("18", is_whole, "{seq_id:?} has a chunk of {num_rows} rows");
        Ok(())
    }

    fn check_batch(&self, seq: &TrueSeq, part: &ScheduledSeq, seq_idx: usize) -> Verdict {
        let (batch, seq_id) = (&self.batch, seq.seq_id());
        let block_size = self.world.config.block_size;
        let is_right = batch.seq_lens[seq_idx] as usize == part.positions().end;
        ensure!("20", is_right, "{seq_id:?} has a wrong seq_len");
        let table = batch.block_table(seq_idx);
        ensure!("20", table.starts_with(&seq.table), "{seq_id:?} has another table in the batch");
        for (row, position) in batch.rows(seq_idx).zip(part.positions()) {
            let slot = table[position / block_size] as usize * block_size + position % block_size;
            let is_right = batch.positions[row] as usize == position
                && batch.slot_mapping[row] == slot as i64
                && seq.token_ids.get(position).is_none_or(|id| batch.token_ids[row] == *id);
            ensure!("20", is_right, "row {row} is not position {position} of {seq_id:?}");
        }
        Ok(())
    }

    /// Guesses are made from the sequence's own text, beside a decode, and cost nobody anything.
    fn check_drafts(&self, seq: &TrueSeq, part: &ScheduledSeq, changes: &Changes) -> Verdict {
        let (num_drafts, seq_id) = (part.num_draft_tokens, seq.seq_id());
        let Some(ngram) = self.world.config.speculative else {
            ensure!("14", false, "{num_drafts} guesses, but guessing is off");
            return Ok(());
        };
        ensure!("14", part.samples && !part.is_prefill, "guesses in a prefill of {seq_id:?}");
        ensure!("14", changes.victims.is_empty(), "guesses in a step that preempts");
        let token_ids: Vec<TokenId> = seq.token_ids.iter().copied().map(TokenId).collect();
        let expected = propose(&token_ids, &ngram, num_drafts).iter().map(|token| token.0);
        let end = self.batch.rows(self.place(part)).end;
        let found = self.batch.token_ids[end - num_drafts..end].iter().copied();
        ensure!("14", found.eq(expected), "{seq_id:?} tries other tokens than were guessed");
        Ok(())
    }

    fn place(&self, part: &ScheduledSeq) -> usize {
        self.plan.iter().position(|other| other.seq_id == part.seq_id).unwrap_or_default()
    }
}
