//! Drives the real scheduler through a list of actions and checks everything after each.

use std::collections::BTreeMap;

use engine_core::batch::Batch;
use engine_core::request::{FinishReason, SeqId, TokenId};
use engine_core::scheduler::{
    BlockCopy, CommitError, SampledRuns, ScheduledSeq, Scheduler, SchedulerConfig, SchedulerStats,
};

use crate::changes;
use crate::load::{Action, Load, Output};
use crate::queues::Queues;
use crate::shadow::{Shadow, TrueSeq, ensure};

/// All that a run did.
#[derive(Debug, Default, PartialEq)]
pub struct Trace {
    pub steps: Vec<(Vec<ScheduledSeq>, Batch, Vec<BlockCopy>)>,
    pub outputs: BTreeMap<SeqId, Output>,
}

struct Driver<'a> {
    scheduler: Scheduler,
    shadow: Shadow,
    batch: Batch,
    expected: BTreeMap<SeqId, Output>,
    trace: &'a mut Trace,
    /// Per-sequence facts of those that ended.
    totals: SchedulerStats,
}

/// Runs the actions, then steps until all requests have ended.
pub fn run(
    config: SchedulerConfig,
    actions: &[Action],
    trace: &mut Trace,
) -> Result<SchedulerStats, String> {
    let mut driver = Driver {
        scheduler: Scheduler::new(config).map_err(|error| error.to_string())?,
        shadow: Shadow::new(config),
        batch: Batch::default(),
        expected: BTreeMap::new(),
        trace,
        totals: SchedulerStats::default(),
    };
    for action in actions {
        driver.act(action)?;
    }
    // The first running sequence has rows in every step, at most `max_model_len` in all; it loses
    // them only when one that is served before it joins, which each does once.
    let num_left = driver.shadow.seqs.len();
    for _ in 0..2 * num_left * config.max_model_len {
        if !driver.scheduler.has_unfinished() {
            break;
        }
        driver.step(100, |_| Ok(()))?;
    }
    driver.check_end()
}

impl Driver<'_> {
    fn act(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Add(load) => self.add(load),
            Action::Step(us) => self.step(u64::from(*us), |_| Ok(())),
            Action::DroppedStep => self.plan(0).map(|_| ()),
            Action::FailedStep => self.fail_step(),
            Action::FailedSwaps(bits) => self.plan(*bits).map(|_| ()),
            Action::Abort(pick) => self.abort(*pick),
            Action::AbortDuringStep(pick) => self.step(100, |driver| driver.abort(*pick)),
            Action::AddDuringStep(load) => self.step(100, |driver| driver.add(load)),
            Action::ResetPrefixCache => self.reset(),
        }
    }

    fn add(&mut self, load: &Load) -> Result<(), String> {
        let config = *self.scheduler.config();
        let expected = load.expected_refusal(&config, self.scheduler.waiting().len());
        match self.scheduler.add(load.request()) {
            Err(refusal) => ensure!(Some(&refusal) == expected.as_ref(), "refused: {refusal}"),
            Ok(seq_id) => {
                ensure!(expected.is_none(), "{load:?} was not refused");
                let truth = TrueSeq {
                    token_ids: load.prompt(),
                    tenant: load.tenant,
                    skips_cache: load.skips_cache,
                    ..TrueSeq::default()
                };
                ensure!(self.shadow.seqs.insert(seq_id, truth).is_none(), "{seq_id:?} again");
                self.expected.insert(seq_id, load.expected_output(config.max_model_len));
            }
        }
        self.check()
    }

    fn abort(&mut self, pick: usize) -> Result<(), String> {
        let num_live = self.shadow.seqs.len();
        if num_live == 0 {
            let is_found = self.scheduler.finish(SeqId(pick as u64), FinishReason::Abort);
            ensure!(!is_found, "ended a sequence that does not live");
            return Ok(());
        }
        let seq_id = *self.shadow.seqs.keys().nth(pick % num_live).unwrap();
        ensure!(self.scheduler.finish(seq_id, FinishReason::Abort), "{seq_id:?} is unknown");
        ensure!(!self.scheduler.finish(seq_id, FinishReason::Abort), "{seq_id:?} ended twice");
        self.collect(&[seq_id])?;
        self.check()
    }

    fn fail_step(&mut self) -> Result<(), String> {
        let (plan, _) = self.plan(0)?;
        let num_ended = self.scheduler.fail_step();
        ensure!(num_ended == plan.len(), "{num_ended} of {} ended", plan.len());
        ensure!(self.scheduler.plan().is_empty(), "the failed step is still in progress");
        self.collect(&plan.iter().map(|scheduled| scheduled.seq_id).collect::<Vec<_>>())?;
        self.check()
    }

    fn reset(&mut self) -> Result<(), String> {
        let is_idle = self.scheduler.block_pool().num_used() == 0;
        ensure!(self.scheduler.reset_prefix_cache() == is_idle, "reset while {is_idle} idle");
        let cache = self.scheduler.block_pool().prefix_cache();
        let num_left = cache.map_or(0, |cache| cache.num_blocks());
        ensure!(!is_idle || num_left == 0, "{num_left} blocks are left");
        self.check()
    }

    /// Schedules, checks, copies (but for some by these bits), and runs the shadow's model; answers
    /// what it sampled. A step with a failed copy is planned again.
    fn plan(&mut self, failures: u8) -> Result<(Vec<ScheduledSeq>, Vec<Vec<u32>>), String> {
        let before = Queues::of(&self.scheduler);
        let plan = self.scheduler.schedule(&mut self.batch).to_vec();
        let after = Queues::of(&self.scheduler);
        self.follow(&before, &after);
        after.check(&self.shadow)?;
        changes::check(&before, &after)?;
        after.check_writable()?;
        let copies = self.scheduler.copies().to_vec();
        if self.copy(&copies, failures)? {
            return self.plan(0);
        }
        let sampled = self.shadow.forward(&plan, &self.batch)?;
        self.trace.steps.push((plan.clone(), self.batch.clone(), copies));
        Ok((plan, sampled))
    }

    /// What scheduling did to sequences: KV that is gone, or somewhere else.
    fn follow(&mut self, before: &Queues, after: &Queues) {
        for seq in &after.waiting {
            if let Some(old) = before.running.iter().find(|old| old.key == seq.key)
                && let Some(truth) = self.shadow.seqs.get_mut(&seq.key.seq_id)
            {
                truth.num_swapped = if seq.num_swapped > 0 { old.num_computed } else { 0 };
                truth.num_computed = 0;
            }
        }
        for seq in &after.running {
            if before.waiting.iter().any(|old| old.key == seq.key)
                && let Some(truth) = self.shadow.seqs.get_mut(&seq.key.seq_id)
            {
                // `changes` has checked that it could be so.
                (truth.num_computed, truth.num_swapped) = (seq.num_computed, 0);
            }
        }
        for (seq_id, truth) in &mut self.shadow.seqs {
            let seq = self.scheduler.sequence(*seq_id);
            let drafts = seq.map_or(&[][..], |seq| seq.draft_token_ids());
            truth.drafts = drafts.iter().map(|token_id| token_id.0).collect();
        }
    }

    /// Executes copies; those of some sequences fail. Answers whether any did.
    fn copy(&mut self, copies: &[BlockCopy], failures: u8) -> Result<bool, String> {
        let fails = |seq_id: SeqId| failures >> (seq_id.0 % 8) & 1 > 0;
        let mut failed = Vec::new();
        for copy in copies {
            if !fails(copy.seq_id) {
                self.shadow.copy(copy);
            } else if !failed.contains(&copy.seq_id) {
                failed.push(copy.seq_id);
                ensure!(self.scheduler.fail_swap(copy.seq_id), "{copy:?} is unknown");
                ensure!(!self.scheduler.fail_swap(copy.seq_id), "{copy:?} failed twice");
                if let Some(truth) = self.shadow.seqs.get_mut(&copy.seq_id) {
                    (truth.num_computed, truth.num_swapped) = (0, 0);
                }
                self.shadow.seqs.values_mut().for_each(|truth| truth.drafts.clear());
                self.check()?;
            }
        }
        Ok(!failed.is_empty())
    }

    fn step(
        &mut self,
        duration_us: u64,
        meanwhile: impl FnOnce(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        let (plan, sampled) = self.plan(0)?;
        meanwhile(self)?;
        let runs = sampled.iter().map(|run| run.iter().copied().map(TokenId).collect());
        let runs: Vec<Vec<TokenId>> = runs.collect();
        self.check_refused(&runs)?;
        let mut right = SampledRuns::default();
        runs.iter().for_each(|run| right.push(run));
        let committed = self.scheduler.commit(&right).map_err(|error| error.to_string())?;
        let mut taken = BTreeMap::<SeqId, Vec<u32>>::new();
        let mut ended = Vec::new();
        for token in committed {
            taken.entry(token.seq_id).or_default().push(token.token_id.0);
            ended.extend(token.stop.map(|_| token.seq_id));
        }
        self.scheduler.observe_step(duration_us);
        self.shadow.commit(&plan, &taken);
        self.collect(&ended)?;
        self.check()
    }

    /// Tokens that cannot be of this step.
    fn check_refused(&mut self, runs: &[Vec<TokenId>]) -> Result<(), String> {
        let mut wrong = SampledRuns::default();
        runs.iter().for_each(|run| wrong.push(run));
        wrong.push(&[TokenId(0)]);
        let refused = self.scheduler.commit(&wrong).err();
        let (found, expected) = (wrong.num_runs(), runs.len());
        ensure!(refused == Some(CommitError::NumRuns { found, expected }), "{refused:?}");
        let Some((last, others)) = runs.split_last() else { return Ok(()) };
        for last in [vec![], [&last[..], &[TokenId(0); 70]].concat()] {
            wrong.clear();
            others.iter().for_each(|run| wrong.push(run));
            wrong.push(&last);
            let refused = self.scheduler.commit(&wrong).err();
            let is_right = matches!(refused, Some(CommitError::RunLength { .. }));
            ensure!(is_right, "{last:?}: {refused:?}");
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), String> {
        let ids: Vec<SeqId> = self.shadow.seqs.keys().copied().collect();
        for seq_id in ids {
            let seq = self.scheduler.sequence(seq_id).ok_or(format!("{seq_id:?} is not found"))?;
            let truth = &self.shadow.seqs[&seq_id];
            let is_same = seq.token_ids().iter().map(|token| &token.0).eq(&truth.token_ids);
            ensure!(is_same, "{seq_id:?} has other tokens");
            self.shadow.register(seq_id, seq.block_hashes())?;
        }
        Queues::of(&self.scheduler).check(&self.shadow)
    }

    /// Takes what the scheduler reports as finished: exactly `ended`, each with the right output.
    fn collect(&mut self, ended: &[SeqId]) -> Result<(), String> {
        let mut ids = Vec::new();
        for finished in self.scheduler.drain_finished() {
            let seq = &finished.sequence;
            let output = Output {
                token_ids: seq.output_token_ids().iter().map(|token| token.0).collect(),
                reason: finished.reason,
                stop_token_id: finished.stop_token_id.map(|token| token.0),
            };
            let expected = &self.expected[&seq.seq_id()];
            if matches!(output.reason, FinishReason::Abort | FinishReason::Error) {
                let is_prefix = expected.token_ids.starts_with(&output.token_ids);
                ensure!(is_prefix, "ended with {output:?}, on the way to {expected:?}");
            } else {
                ensure!(output == *expected, "{output:?}, but alone {expected:?}");
            }
            ensure!(seq.block_table().is_empty(), "{:?} ended with blocks", seq.seq_id());
            ensure!(seq.host_blocks().is_empty(), "{:?} ended with host blocks", seq.seq_id());
            let (totals, stats) = (&mut self.totals, seq.stats());
            totals.num_preemptions += u64::from(stats.num_preemptions);
            totals.num_swaps_out += u64::from(stats.num_swaps);
            totals.num_prefix_hit_tokens += stats.num_hit_tokens as u64;
            totals.num_draft_tokens += stats.num_draft_tokens as u64;
            totals.num_accepted_tokens += stats.num_accepted_tokens as u64;
            ids.push(seq.seq_id());
            self.shadow.register(seq.seq_id(), seq.block_hashes())?;
            self.shadow.seqs.remove(&seq.seq_id());
            let is_new = self.trace.outputs.insert(seq.seq_id(), output).is_none();
            ensure!(is_new, "{:?} is reported twice", seq.seq_id());
        }
        ids.sort();
        let mut ended = ended.to_vec();
        ended.sort();
        ensure!(ids == ended, "{ids:?} reported, but {ended:?} ended");
        Ok(())
    }

    /// Invariants 5, 27 and 31.
    fn check_end(self) -> Result<SchedulerStats, String> {
        let live: Vec<_> = self.shadow.seqs.keys().collect();
        ensure!(live.is_empty() && !self.scheduler.has_unfinished(), "{live:?} never ended");
        ensure!(self.scheduler.block_pool().num_used() == 0, "blocks are still lent");
        let host_pool = self.scheduler.host_pool();
        ensure!(host_pool.num_free() == host_pool.num_blocks(), "host blocks are still lent");
        ensure!(self.expected.keys().eq(self.trace.outputs.keys()), "a request was lost");
        let (stats, totals) = (self.scheduler.stats(), self.totals);
        let of = |stats: &SchedulerStats| {
            let drafts = (stats.num_draft_tokens, stats.num_accepted_tokens);
            (stats.num_preemptions, stats.num_swaps_out, stats.num_prefix_hit_tokens, drafts)
        };
        ensure!(of(&stats) == of(&totals), "{stats:?}, but one by one {totals:?}");
        Ok(stats)
    }
}
