//! Which rows of a step need logits, and what becomes of them.

use engine_core::ops::Ops;
use engine_core::request::TokenId;

use super::{Engine, SeqUpdate, StepError};
use crate::sampler::SampledToken;

/// A row of the step whose logits are wanted.
#[derive(Clone, Copy)]
pub(super) struct LogitRow {
    /// Row of the batch.
    row: u32,
    /// Entry of the plan.
    plan_idx: usize,
    purpose: Purpose,
}

/// What a row's logits are for.
#[derive(Clone, Copy)]
enum Purpose {
    /// Scoring the prompt's own token behind this position.
    Score { position: usize },
    /// The next token of the output.
    Sample,
    /// The token behind a guess, which was right if it is the `num_before`-th token sampled.
    SampleAfter { draft: TokenId, num_before: usize },
}

impl Purpose {
    /// Whether the tokens that the row computed are those of the sequence, now that the step has
    /// sampled these.
    fn is_given(self, sampled: &[SampledToken]) -> bool {
        match self {
            Purpose::Score { .. } | Purpose::Sample => true,
            Purpose::SampleAfter { draft, num_before } => {
                let is_draft = |last: &SampledToken| last.token_id == draft && !last.completes;
                sampled.len() == num_before && sampled.last().is_some_and(is_draft)
            }
        }
    }
}

impl<O: Ops> Engine<O> {
    /// Which rows of the step need logits: those that score a prompt, and those that sample.
    pub(super) fn find_logit_rows(&mut self) {
        self.logit_rows.clear();
        for (plan_idx, scheduled) in self.plan.iter().enumerate() {
            let first_row = self.batch.rows(plan_idx).start;
            let row_at = |position| (first_row + position - scheduled.num_computed_tokens) as u32;
            let mut push = |position: usize, purpose: Purpose| {
                self.logit_rows.push(LogitRow { row: row_at(position), plan_idx, purpose });
            };
            if self.live[&scheduled.seq_id].scores_prompt() {
                for position in scheduled.new_prompt_positions() {
                    push(position, Purpose::Score { position });
                }
            }
            if !scheduled.samples {
                continue;
            }
            let last_known = scheduled.sample_position() - 1;
            push(last_known, Purpose::Sample);
            let drafts = self.scheduler.sequence(scheduled.seq_id).map(|seq| seq.draft_token_ids());
            let drafts = drafts.unwrap_or_default().iter().take(scheduled.num_draft_tokens);
            for (idx, &draft) in drafts.enumerate() {
                let num_before = idx + 1;
                push(last_known + num_before, Purpose::SampleAfter { draft, num_before });
            }
        }
    }

    /// Computes the wanted logits, a few rows at a time, and samples or scores each row. A row that
    /// cannot be used fails its own sequence.
    pub(super) fn read_logits(&mut self, updates: &mut [SeqUpdate]) -> Result<(), StepError> {
        let vocab_size = self.model.config().vocab_size;
        for rows in self.logit_rows.chunks(self.workspace.max_num_logit_rows()) {
            self.row_ids.clear();
            self.row_ids.extend(rows.iter().map(|row| row.row));
            let (ops, workspace) = (&mut self.ops, &mut self.workspace);
            let device_logits = self.model.logits(ops, &self.row_ids, workspace)?;
            let logits = &mut self.logits[..rows.len() * vocab_size];
            self.ops.read_f32(device_logits, logits)?;
            for (row, logits) in rows.iter().zip(logits.chunks_exact(vocab_size)) {
                if let Some(tracer) = &mut self.tracer {
                    tracer.logits(logits);
                }
                let update = &mut updates[row.plan_idx];
                let Some(seq) = self.live.get_mut(&update.seq_id) else { continue };
                if update.error.is_some() || !row.purpose.is_given(&update.sampled) {
                    continue;
                }
                let sampler = &mut self.row_sampler;
                let done = match row.purpose {
                    Purpose::Score { position } => sampler
                        .score_prompt(logits, seq, position)
                        .map(|scores| update.prompt_logprobs.push(scores))
                        .map_err(StepError::from),
                    Purpose::Sample | Purpose::SampleAfter { .. } => {
                        sampler.sample(logits, seq).map(|token| update.sampled.push(token))
                    }
                };
                if let Err(error) = done {
                    update.error = Some(error);
                }
            }
        }
        Ok(())
    }
}
