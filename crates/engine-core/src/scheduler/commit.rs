//! What a computed step changes.

use alloc::vec::Vec;

use super::cost::StepShape;
use super::{CommitError, CommittedToken, FinishedSeq, SampledRuns, Scheduler, find};
use crate::request::TokenId;
use crate::sequence::Sequence;

impl Scheduler {
    /// The step has been computed and `sampled` holds a run of tokens for each entry of the plan
    /// that samples, in order: as many of its guesses as are what the sampler draws, and the token
    /// that it draws after them. Sequences that these tokens end give their kv_blocks back; tokens
    /// behind an end are dropped, and so are those of sequences that were ended since the step was
    /// scheduled.
    ///
    /// # Errors
    /// [`CommitError`]; the step is still in progress and nothing has changed.
    pub fn commit(&mut self, sampled: &SampledRuns) -> Result<&[CommittedToken], CommitError> {
        self.check(sampled)?;
        self.committed.clear();
        if self.plan.is_empty() {
            return Ok(&self.committed);
        }
        self.settle_copies();
        self.stats.count_step(&self.plan);
        self.unmeasured = Some(self.shape());
        let mut runs = sampled.iter();
        for scheduled in &self.plan {
            let run = if scheduled.samples { runs.next().unwrap_or(&[]) } else { &[] };
            let Ok(seq_idx) = find(&self.running, scheduled.key()) else {
                continue;
            };
            let seq = &mut self.running[seq_idx];
            let num_drafts = scheduled.num_draft_tokens;
            if seq.is_loading() {
                self.stats.num_tokens_beside_loads += scheduled.num_scheduled_tokens as u64;
            }
            seq.advance(scheduled.num_scheduled_tokens - num_drafts);
            let num_accepted = append_run(seq, run, &mut self.committed);
            seq.count_drafts(num_drafts, num_accepted);
            self.stats.num_draft_tokens += num_drafts as u64;
            self.stats.num_accepted_tokens += num_accepted as u64;
            seq.publish(&mut self.block_pool);
            seq.trim(&mut self.block_pool);
        }
        self.plan.clear();
        self.await_loads();
        self.retire_stopped();
        Ok(&self.committed)
    }

    /// Whether `sampled` can be of this step.
    fn check(&self, sampled: &SampledRuns) -> Result<(), CommitError> {
        let sampling = self.plan.iter().filter(|scheduled| scheduled.samples);
        let (found, expected) = (sampled.num_runs(), sampling.clone().count());
        if found != expected {
            return Err(CommitError::NumRuns { found, expected });
        }
        for (scheduled, run) in sampling.zip(sampled.iter()) {
            let (seq_id, max) = (scheduled.seq_id, 1 + scheduled.num_draft_tokens);
            if run.is_empty() || run.len() > max {
                return Err(CommitError::RunLength { seq_id, found: run.len(), max });
            }
            if let Ok(seq_idx) = find(&self.running, scheduled.key())
                && !self.running[seq_idx].draft_token_ids().starts_with(&run[..run.len() - 1])
            {
                return Err(CommitError::NotGuessed { seq_id });
            }
        }
        Ok(())
    }

    fn shape(&self) -> StepShape {
        let num_rows: usize = self.plan.iter().map(|s| s.num_scheduled_tokens).sum();
        let num_decodes = self.plan.iter().filter(|scheduled| scheduled.is_one_row()).count();
        StepShape { num_decodes, num_extra_rows: num_rows - num_decodes }
    }

    /// Moves running sequences whose last token ended them to the finished ones.
    fn retire_stopped(&mut self) {
        for mut sequence in self.running.extract_if(.., |seq| seq.stop().is_some()) {
            sequence.release(&mut self.block_pool);
            if let Some(stop) = sequence.stop() {
                let (reason, stop_token_id) = (stop.reason, stop.stop_token_id);
                self.finished.push(FinishedSeq { sequence, reason, stop_token_id });
            }
        }
    }
}

/// Appends tokens up to the one that ends the sequence; answers how many of them were guessed.
fn append_run(seq: &mut Sequence, run: &[TokenId], committed: &mut Vec<CommittedToken>) -> usize {
    let seq_id = seq.seq_id();
    for (num_accepted, &token_id) in run.iter().enumerate() {
        if num_accepted > 0 {
            // The guess before this token was right, so its row has computed the right KV.
            seq.advance(1);
        }
        let stop = seq.append(token_id);
        committed.push(CommittedToken { seq_id, token_id, stop });
        if stop.is_some() {
            return num_accepted;
        }
    }
    run.len().saturating_sub(1)
}
