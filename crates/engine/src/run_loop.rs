//! One engine step after another: schedule, compute layer by layer, sample, commit.

use std::collections::BTreeMap;

use engine_core::batch::Batch;
use engine_core::device::OpError;
use engine_core::model::{Model, Workspace};
use engine_core::ops::Ops;
use engine_core::request::{FinishReason, Request, SeqId};
use engine_core::sampling::{LogprobsMode, SampleError, TokenLogprobs};
use engine_core::scheduler::{
    CommitError, FinishedSeq, Refusal, SampledRuns, ScheduledSeq, Scheduler, SchedulerStats,
};

use crate::sampler::{RowSampler, SampledToken, SeqRequest, SeqSampler};

/// What a step did for one sequence.
#[derive(Clone, Debug)]
pub(crate) struct SeqUpdate {
    pub(crate) seq_id: SeqId,
    /// The sequence has been in no step before.
    pub(crate) is_first: bool,
    /// Log-probabilities of the prompt tokens that the step's rows predict, in order.
    pub(crate) prompt_logprobs: Vec<TokenLogprobs>,
    /// The token that the step sampled.
    pub(crate) sampled: Option<SampledToken>,
}

/// What a step did.
#[derive(Debug, Default)]
pub(crate) struct StepReport {
    pub(crate) updates: Vec<SeqUpdate>,
    pub(crate) finished: Vec<FinishedSeq>,
}

/// Why a step failed. Every request in flight ends with it; the engine takes new ones.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The backend failed.
    #[error(transparent)]
    Op(#[from] OpError),
    /// A row of logits is unusable.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// The step and its tokens do not match: a bug.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// A run loop over any backend.
pub(crate) trait RunLoop {
    fn add(&mut self, request: SeqRequest) -> Result<SeqId, Refusal>;
    fn finish(&mut self, seq_id: SeqId, reason: FinishReason) -> Option<FinishedSeq>;
    fn step(&mut self) -> Result<StepReport, StepError>;
    fn has_unfinished(&self) -> bool;
    fn stats(&self) -> SchedulerStats;
    fn device_name(&self) -> String;
}

/// The run loop of one backend.
pub(crate) struct Engine<O: Ops> {
    ops: O,
    model: Model<O>,
    kv_cache: O::KvCache,
    workspace: Workspace<O>,
    scheduler: Scheduler,
    batch: Batch,
    device_batch: O::Batch,
    plan: Vec<ScheduledSeq>,
    live: BTreeMap<SeqId, SeqSampler>,
    logit_rows: Vec<LogitRow>,
    /// `[max_num_logit_rows, vocab_size]` on the host.
    logits: Vec<f32>,
    row_sampler: RowSampler,
}

/// A row of the step whose logits are wanted.
#[derive(Clone, Copy)]
struct LogitRow {
    /// Row of the batch.
    row: u32,
    /// Entry of the plan.
    plan_idx: usize,
    /// Position of the row's token.
    position: usize,
    /// The row gives the next token; otherwise it is scored against the prompt's own.
    samples: bool,
}

impl<O: Ops> Engine<O> {
    pub(crate) fn new(
        mut ops: O,
        model: Model<O>,
        kv_cache: O::KvCache,
        scheduler: Scheduler,
        logprobs_mode: LogprobsMode,
    ) -> Result<Self, OpError> {
        /// Rows of logits computed at once: their weights are read from memory once for all of
        /// them, and the rows themselves stay a few megabytes.
        const MAX_NUM_LOGIT_ROWS: usize = 64;
        let max_num_tokens = scheduler.config().max_num_batched_tokens;
        let max_num_logit_rows = MAX_NUM_LOGIT_ROWS.min(max_num_tokens);
        let workspace = model.workspace(&mut ops, max_num_tokens, max_num_logit_rows)?;
        let logits = vec![0.0; max_num_logit_rows * model.config().vocab_size];
        Ok(Engine {
            ops,
            model,
            kv_cache,
            workspace,
            scheduler,
            batch: Batch::default(),
            device_batch: O::Batch::default(),
            plan: Vec::new(),
            live: BTreeMap::new(),
            logit_rows: Vec::new(),
            logits,
            row_sampler: RowSampler::new(logprobs_mode),
        })
    }

    /// Runs the batch through all layers.
    fn forward(&mut self) -> Result<(), OpError> {
        let (ops, workspace) = (&mut self.ops, &mut self.workspace);
        ops.upload_batch(&self.batch, &mut self.device_batch)?;
        self.model.begin(ops, &self.device_batch, workspace)?;
        let step = (&self.device_batch, self.batch.num_tokens());
        for layer_idx in 0..self.model.config().num_layers {
            self.model.layer(ops, layer_idx, step, &mut self.kv_cache, workspace)?;
        }
        Ok(())
    }

    /// Which rows of the step need logits: those that sample, and those that score a prompt.
    fn find_logit_rows(&mut self) {
        self.logit_rows.clear();
        for (plan_idx, scheduled) in self.plan.iter().enumerate() {
            let first_row = self.batch.rows(plan_idx).start;
            let row_at = |position| (first_row + position - scheduled.num_computed_tokens) as u32;
            let scores_prompt = self.live[&scheduled.seq_id].scores_prompt();
            let prompt_positions = scheduled.new_prompt_positions().filter(|_| scores_prompt);
            self.logit_rows.extend(prompt_positions.map(|position| LogitRow {
                row: row_at(position),
                plan_idx,
                position,
                samples: false,
            }));
            if scheduled.samples {
                let position = scheduled.sample_position() - 1;
                let row = row_at(position);
                self.logit_rows.push(LogitRow { row, plan_idx, position, samples: true });
            }
        }
    }

    /// Computes the wanted logits, a few rows at a time, and samples or scores each row.
    fn read_logits(&mut self, updates: &mut [SeqUpdate]) -> Result<(), StepError> {
        let vocab_size = self.model.config().vocab_size;
        for rows in self.logit_rows.chunks(self.workspace.max_num_logit_rows()) {
            let row_ids: Vec<u32> = rows.iter().map(|row| row.row).collect();
            let device_logits = self.model.logits(&mut self.ops, &row_ids, &mut self.workspace)?;
            let logits = &mut self.logits[..rows.len() * vocab_size];
            self.ops.read_f32(device_logits, logits)?;
            for (row, logits) in rows.iter().zip(logits.chunks_exact(vocab_size)) {
                let update = &mut updates[row.plan_idx];
                let Some(seq) = self.live.get_mut(&update.seq_id) else { continue };
                if row.samples {
                    update.sampled = Some(self.row_sampler.sample(logits, seq)?);
                } else {
                    let scores = self.row_sampler.score_prompt(logits, seq, row.position)?;
                    update.prompt_logprobs.push(scores);
                }
            }
        }
        Ok(())
    }

    fn drain_finished(&mut self) -> Vec<FinishedSeq> {
        let finished: Vec<_> = self.scheduler.drain_finished().collect();
        for seq in &finished {
            self.live.remove(&seq.sequence.seq_id());
        }
        finished
    }
}

impl<O: Ops> RunLoop for Engine<O> {
    fn add(&mut self, request: SeqRequest) -> Result<SeqId, Refusal> {
        let seq_id = self.scheduler.add(Request {
            // Log-probabilities of a prompt need the logits of all its rows.
            skip_reading_prefix_cache: request.params.prompt_logprobs.is_some(),
            ..Request::new(request.prompt_token_ids.clone(), request.stop_rules.clone())
        })?;
        let max_model_len = self.scheduler.config().max_model_len;
        let seq = SeqSampler::new(request, max_model_len, self.model.config().vocab_size);
        self.live.insert(seq_id, seq);
        Ok(seq_id)
    }

    fn finish(&mut self, seq_id: SeqId, reason: FinishReason) -> Option<FinishedSeq> {
        self.scheduler.finish(seq_id, reason);
        self.drain_finished().into_iter().find(|seq| seq.sequence.seq_id() == seq_id)
    }

    fn step(&mut self) -> Result<StepReport, StepError> {
        self.plan.clear();
        self.plan.extend_from_slice(self.scheduler.schedule(&mut self.batch));
        if self.plan.is_empty() {
            return Ok(StepReport::default());
        }
        self.forward()?;
        self.find_logit_rows();
        let update = |scheduled: &ScheduledSeq| SeqUpdate {
            seq_id: scheduled.seq_id,
            is_first: scheduled.is_first,
            prompt_logprobs: Vec::new(),
            sampled: None,
        };
        let mut updates: Vec<_> = self.plan.iter().map(update).collect();
        self.read_logits(&mut updates)?;
        let sampled: SampledRuns =
            updates.iter().filter_map(|update| Some(update.sampled.as_ref()?.token_id)).collect();
        self.scheduler.commit(&sampled)?;
        Ok(StepReport { updates, finished: self.drain_finished() })
    }

    fn has_unfinished(&self) -> bool {
        self.scheduler.has_unfinished()
    }

    fn stats(&self) -> SchedulerStats {
        self.scheduler.stats()
    }

    fn device_name(&self) -> String {
        self.ops.name()
    }
}
