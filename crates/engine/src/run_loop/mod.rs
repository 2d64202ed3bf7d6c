//! One engine step after another: schedule, copy, compute layer by layer, sample, commit.

mod host_swap;
mod log;
mod logits;
mod outside;
#[cfg(test)]
mod tests;
mod trace;

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use engine_core::batch::Batch;
use engine_core::capacity::max_num_logit_rows;
use engine_core::device::OpError;
use engine_core::model::{Model, Workspace};
use engine_core::ops::Ops;
use engine_core::request::{FinishReason, Request, SeqId, TokenId};
use engine_core::sampling::{LogprobsMode, SampleError, TokenLogprobs};
use engine_core::scheduler::{
    CommitError, FinishedSeq, Refusal, SampledRuns, ScheduledSeq, Scheduler,
};

use crate::error::LlmError;
use crate::kv_tier::{KvTier, KvTierStats, LoadedTokens, TierReport};
use crate::sampler::{RowSampler, SampledToken, SeqRequest, SeqSampler};
use crate::structured::StructuredError;
use host_swap::HostSwap;
use logits::LogitRow;
use trace::Tracer;
pub(crate) use trace::{Observed, ObservedCopies, StepDigest, StepTrace};

/// What a step did for one sequence.
#[derive(Debug)]
pub(crate) struct SeqUpdate {
    pub(crate) seq_id: SeqId,
    /// The sequence has been in no step before.
    pub(crate) is_first: bool,
    /// Log-probabilities of the prompt tokens that the step's rows predict, in order.
    pub(crate) prompt_logprobs: Vec<TokenLogprobs>,
    /// The tokens that the step sampled: more than one if guesses were right.
    pub(crate) sampled: Vec<SampledToken>,
    /// What was loaded for the sequence so far instead of being computed.
    pub(crate) loaded: LoadedTokens,
    /// The store rounds what it keeps.
    pub(crate) is_lossy: bool,
    /// Why the sequence ended with [`FinishReason::Error`].
    pub(crate) error: Option<StepError>,
}

/// What a step did.
#[derive(Debug, Default)]
pub(crate) struct StepReport {
    pub(crate) updates: Vec<SeqUpdate>,
    pub(crate) finished: Vec<FinishedSeq>,
    /// If [`RunLoop::trace`] asked for it.
    pub(crate) trace: Option<StepTrace>,
}

/// Why a step failed, or one sequence in it. Only those that were in the step end with it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The backend failed.
    #[error(transparent)]
    Op(#[from] OpError),
    /// A row of logits is unusable.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// The output's form became too much for its parser.
    #[error(transparent)]
    Structured(#[from] StructuredError),
    /// The step and its tokens do not match: a bug.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The code that computes the step panicked: a bug.
    #[error("a step of the engine panicked: {0}; please report it")]
    Panic(String),
}

/// A run loop over any backend.
pub(crate) trait RunLoop: Send {
    fn add(&mut self, request: SeqRequest) -> Result<SeqId, Refusal>;
    fn finish(&mut self, seq_id: SeqId, reason: FinishReason) -> Option<FinishedSeq>;
    fn step(&mut self) -> StepReport;
    /// From now on, reports say what steps took from outside and digest what they did.
    fn trace(&mut self);
    /// A step that takes from outside what an earlier one took.
    fn repeat_step(&mut self, observed: Observed) -> StepReport;
    fn has_unfinished(&self) -> bool;
    fn reset_prefix_cache(&mut self) -> bool;
    fn scheduler(&self) -> &Scheduler;
    fn device_name(&self) -> String;
    /// What was done with the KV store, if there is one.
    fn kv_tier_stats(&self) -> Option<KvTierStats>;
    /// What the tiers of the KV store did; none without a store.
    fn kv_store_stats(&self) -> Vec<TierReport>;
    /// Waits until all that was given to the KV store is stored.
    fn flush_kv_store(&self);
    /// Whether what goes on is recorded as it is to be.
    ///
    /// # Errors
    /// [`LlmError::Record`].
    fn check(&self) -> Result<(), LlmError> {
        Ok(())
    }
}

/// The run loop of one backend.
pub(crate) struct Engine<O: Ops> {
    ops: O,
    model: Model<O>,
    kv_cache: O::KvCache,
    host_swap: HostSwap,
    workspace: Workspace<O>,
    scheduler: Scheduler,
    batch: Batch,
    device_batch: O::Batch,
    plan: Vec<ScheduledSeq>,
    live: BTreeMap<SeqId, SeqSampler>,
    logit_rows: Vec<LogitRow>,
    row_ids: Vec<u32>,
    /// `[max_num_logit_rows, vocab_size]` on the host.
    logits: Vec<f32>,
    row_sampler: RowSampler,
    runs: SampledRuns,
    tracer: Option<Tracer>,
    kv_tier: Option<KvTier>,
    /// Strikes in the next step.
    #[cfg(test)]
    fault: Option<tests::Fault>,
}

/// What an engine is made of.
pub(crate) struct EngineParts<O: Ops> {
    pub(crate) ops: O,
    pub(crate) model: Model<O>,
    pub(crate) kv_cache: O::KvCache,
    pub(crate) scheduler: Scheduler,
    /// Bytes of a kv_block over all layers.
    pub(crate) block_bytes: u64,
    pub(crate) logprobs_mode: LogprobsMode,
    pub(crate) kv_tier: Option<KvTier>,
}

impl<O: Ops> Engine<O> {
    pub(crate) fn new(parts: EngineParts<O>) -> Result<Self, OpError> {
        let EngineParts { mut ops, model, kv_cache, scheduler, .. } = parts;
        let EngineParts { block_bytes, logprobs_mode, kv_tier, .. } = parts;
        let config = scheduler.config();
        let max_num_tokens = config.max_num_batched_tokens;
        let max_num_logit_rows = max_num_logit_rows(max_num_tokens);
        let workspace = model.workspace(&mut ops, max_num_tokens, max_num_logit_rows)?;
        let logits = vec![0.0; max_num_logit_rows * model.config().vocab_size];
        let host_swap = HostSwap::new(config.num_host_blocks, block_bytes as usize);
        Ok(Engine {
            ops,
            model,
            kv_cache,
            host_swap,
            workspace,
            scheduler,
            batch: Batch::default(),
            device_batch: O::Batch::default(),
            plan: Vec::new(),
            live: BTreeMap::new(),
            logit_rows: Vec::new(),
            row_ids: Vec::new(),
            logits,
            row_sampler: RowSampler::new(logprobs_mode),
            runs: SampledRuns::default(),
            tracer: None,
            kv_tier,
            #[cfg(test)]
            fault: None,
        })
    }

    /// Plans the next step and moves the KV that it needs moved. A sequence whose KV is lost on the
    /// way is computed again, so the step is planned once more.
    fn schedule(&mut self) {
        let num_preemptions = self.scheduler.stats().num_preemptions;
        loop {
            self.scheduler.schedule(&mut self.batch);
            let lost = self.execute_copies();
            self.begin_loads();
            if lost.is_empty() {
                break;
            }
            for seq_id in lost {
                self.scheduler.fail_swap(seq_id);
            }
        }
        log::preemptions(num_preemptions, self.scheduler.stats().num_preemptions);
        self.plan.clear();
        self.plan.extend_from_slice(self.scheduler.plan());
    }

    /// Executes the step's copies between device and host; answers whose failed.
    fn execute_copies(&mut self) -> Vec<SeqId> {
        let num_copies = self.scheduler.copies().len();
        if num_copies == 0 {
            return Vec::new();
        }
        let start = Instant::now();
        let replayed = self.tracer.as_ref().and_then(Tracer::next_copies).cloned();
        let mut lost = replayed.as_ref().map(|copies| copies.lost.clone()).unwrap_or_default();
        for copy in self.scheduler.copies() {
            if !lost.contains(&copy.seq_id)
                && self.host_swap.copy(&mut self.ops, &mut self.kv_cache, copy).is_err()
            {
                lost.push(copy.seq_id);
            }
        }
        let us = replayed.map_or_else(|| micros_since(start), |copies| copies.us);
        self.scheduler.observe_copy(num_copies, us);
        if let Some(tracer) = &mut self.tracer {
            tracer.copied(ObservedCopies { us, lost: lost.clone() });
        }
        lost
    }

    /// Computes the planned step and samples from it.
    fn compute(&mut self, updates: &mut [SeqUpdate]) -> Result<(), StepError> {
        self.forward()?;
        self.find_logit_rows();
        self.read_logits(updates)
    }

    /// Runs the batch through all layers.
    fn forward(&mut self) -> Result<(), OpError> {
        let batch = std::mem::take(&mut self.batch);
        let done = self.forward_batch(&batch);
        self.batch = batch;
        done?;
        #[cfg(test)]
        self.fault.take().map_or(Ok(()), tests::Fault::strike)?;
        Ok(())
    }

    fn forward_batch(&mut self, batch: &Batch) -> Result<(), OpError> {
        let (ops, workspace) = (&mut self.ops, &mut self.workspace);
        ops.upload_batch(batch, &mut self.device_batch)?;
        self.model.begin(ops, &self.device_batch, workspace)?;
        let step = (&self.device_batch, batch.num_tokens());
        for layer_idx in 0..self.model.config().num_layers {
            self.model.layer(ops, layer_idx, step, &mut self.kv_cache, workspace)?;
        }
        Ok(())
    }

    /// Hands the sampled tokens to the scheduler. Sequences that failed end before; of the others,
    /// updates keep the tokens up to the one that ended them.
    fn commit(&mut self, updates: &mut [SeqUpdate]) -> Result<(), StepError> {
        self.runs.clear();
        for (scheduled, update) in self.plan.iter().zip(updates.iter_mut()) {
            if update.error.is_some() {
                update.sampled.clear();
                self.scheduler.finish(update.seq_id, FinishReason::Error);
            }
            if !scheduled.samples {
                continue;
            }
            let run: Vec<TokenId> = update.sampled.iter().map(|token| token.token_id).collect();
            // The run of a sequence that has ended is not looked at, but it must be there.
            self.runs.push(if run.is_empty() { &[TokenId(0)] } else { &run });
        }
        let mut committed = self.scheduler.commit(&self.runs)?.iter().peekable();
        for update in updates {
            let mut num_committed = 0;
            while committed.next_if(|token| token.seq_id == update.seq_id).is_some() {
                num_committed += 1;
            }
            update.sampled.truncate(num_committed);
        }
        Ok(())
    }

    /// Computes, samples and commits; a panic on the way is an error like any other.
    fn run_step(&mut self, updates: &mut [SeqUpdate]) -> Result<(), StepError> {
        let start = Instant::now();
        // Whatever the panic left half-done is written anew by the next step: KV of this one is
        // published at its commit only.
        let caught = catch_unwind(AssertUnwindSafe(|| self.compute(updates)));
        caught.unwrap_or_else(|panic| Err(StepError::Panic(message(&*panic))))?;
        self.commit(updates)?;
        let measured_us = micros_since(start);
        let tracer = self.tracer.as_mut();
        let step_us = tracer.map_or(measured_us, |tracer| tracer.computed(measured_us));
        self.scheduler.observe_step(step_us);
        self.tell_prefill(measured_us);
        Ok(())
    }

    /// One step, which takes from outside what `replayed` says or what it measures.
    fn traced_step(&mut self, replayed: Option<Observed>) -> StepReport {
        let start = Instant::now();
        if let Some(tracer) = &mut self.tracer {
            tracer.begin(replayed);
        }
        let outside = self.take_from_outside();
        self.schedule();
        if let Some(tracer) = &mut self.tracer {
            tracer.batch(&self.batch, &self.plan);
        }
        let update = |scheduled: &ScheduledSeq| SeqUpdate {
            seq_id: scheduled.seq_id,
            is_first: scheduled.is_first,
            prompt_logprobs: Vec::new(),
            sampled: Vec::new(),
            loaded: self.loaded(scheduled.seq_id),
            is_lossy: self.kv_tier.as_ref().is_some_and(KvTier::is_lossy),
            error: None,
        };
        let mut updates: Vec<_> = self.plan.iter().map(update).collect();
        let tables = self.tables();
        if updates.is_empty() {
            self.wait_for_loads();
        } else if let Err(error) =
            outside.map_err(StepError::from).and_then(|()| self.run_step(&mut updates))
        {
            let (error_text, num_seqs) = (error.to_string(), updates.len());
            tracing::error!(error = error_text, num_seqs, "a step failed, and its requests end");
            self.scheduler.fail_step();
            for update in &mut updates {
                update.sampled.clear();
                update.error.get_or_insert_with(|| error.clone());
            }
        }
        let trace = self.tracer.as_mut().map(|tracer| {
            for update in &updates {
                let tokens = update.sampled.iter().map(|token| token.token_id);
                tokens.for_each(|token_id| tracer.token(update.seq_id, token_id));
            }
            tracer.end()
        });
        let finished: Vec<_> = self.scheduler.drain_finished().collect();
        self.store(&tables, &finished, start.elapsed());
        self.forget(&finished);
        StepReport { updates, finished, trace }
    }

    /// Sequences have ended.
    fn forget(&mut self, finished: &[FinishedSeq]) {
        for FinishedSeq { sequence, .. } in finished {
            self.live.remove(&sequence.seq_id());
            // What is still read for it goes nowhere: its kv_blocks are free at once.
            let _ = self.scheduler.end_load(sequence.seq_id(), 0);
            if let Some(kv_tier) = &mut self.kv_tier {
                kv_tier.remove(sequence.seq_id(), sequence.num_prompt_tokens());
            }
        }
    }
}

fn micros_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "no message".to_owned())
}

impl<O> RunLoop for Engine<O>
where
    O: Ops<Buffer: Send, KvCache: Send, Batch: Send, Matrix: Send> + Send,
{
    fn add(&mut self, request: SeqRequest) -> Result<SeqId, Refusal> {
        let cache_salt = request.options.cache_salt.clone();
        let seq_id = self.scheduler.add(Request {
            priority: request.options.priority,
            cache_salt: request.options.cache_salt.clone(),
            // Log-probabilities of a prompt need the logits of all its rows.
            skip_reading_prefix_cache: request.params.prompt_logprobs.is_some(),
            ..Request::new(request.prompt_token_ids.clone(), request.stop_rules.clone())
        })?;
        let max_model_len = self.scheduler.config().max_model_len;
        let seq = SeqSampler::new(request, max_model_len, self.model.config().vocab_size);
        self.live.insert(seq_id, seq);
        if let Some(kv_tier) = &mut self.kv_tier {
            kv_tier.add(seq_id, cache_salt);
        }
        Ok(seq_id)
    }

    fn finish(&mut self, seq_id: SeqId, reason: FinishReason) -> Option<FinishedSeq> {
        self.store_before_end(seq_id);
        self.scheduler.finish(seq_id, reason);
        let finished: Vec<_> = self.scheduler.drain_finished().collect();
        self.forget(&finished);
        finished.into_iter().find(|seq| seq.sequence.seq_id() == seq_id)
    }

    fn step(&mut self) -> StepReport {
        self.traced_step(None)
    }

    fn trace(&mut self) {
        self.tracer = Some(Tracer::default());
    }

    fn repeat_step(&mut self, observed: Observed) -> StepReport {
        self.traced_step(Some(observed))
    }

    fn has_unfinished(&self) -> bool {
        self.scheduler.has_unfinished()
    }

    fn reset_prefix_cache(&mut self) -> bool {
        self.scheduler.reset_prefix_cache()
    }

    fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    fn device_name(&self) -> String {
        self.ops.name()
    }

    fn kv_tier_stats(&self) -> Option<KvTierStats> {
        self.kv_tier.as_ref().map(KvTier::stats)
    }

    fn kv_store_stats(&self) -> Vec<TierReport> {
        self.kv_tier.as_ref().map(KvTier::store_stats).unwrap_or_default()
    }

    fn flush_kv_store(&self) {
        if let Some(kv_tier) = &self.kv_tier {
            kv_tier.flush();
        }
    }
}
