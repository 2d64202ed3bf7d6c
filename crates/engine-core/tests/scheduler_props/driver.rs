//! Drives the real scheduler through a list of actions and checks everything after each.

use std::collections::BTreeMap;

use engine_core::batch::Batch;
use engine_core::request::{FinishReason, Request, SeqId, StopRules, TokenId};
use engine_core::scheduler::{
    CommitError, Refusal, SampledRuns, ScheduledSeq, Scheduler, SchedulerConfig, SchedulerStats,
};

use crate::queues::Queues;
use crate::shadow::{Shadow, TrueSeq, ensure, next_token};

/// A request; some are to be refused.
#[derive(Clone, Debug)]
pub struct Load {
    pub prompt_len: usize,
    pub max_tokens: usize,
    pub min_tokens: usize,
    pub ignore_eos: bool,
    pub salt: u32,
}

/// What the world does to the scheduler. Numbers pick one of the live sequences.
#[derive(Clone, Debug)]
pub enum Action {
    Add(Load),
    Step,
    /// The model fails: the step is not committed.
    FailedStep,
    Abort(usize),
    /// The abort comes between `schedule` and `commit`.
    AbortDuringStep(usize),
    AddDuringStep(Load),
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub token_ids: Vec<u32>,
    pub reason: FinishReason,
    pub stop_token_id: Option<u32>,
}

/// All that a run did.
#[derive(Debug, Default, PartialEq)]
pub struct Trace {
    pub steps: Vec<(Vec<ScheduledSeq>, Batch)>,
    pub outputs: BTreeMap<SeqId, Output>,
}

const EOS: u32 = 3;
const STOP: u32 = 5;

impl Load {
    fn prompt(&self) -> Vec<u32> {
        (0..self.prompt_len as u32)
            .map(|i| i.wrapping_mul(7).wrapping_add(self.salt) % 97)
            .collect()
    }

    fn request(&self) -> Request {
        let stop_rules = StopRules {
            max_tokens: self.max_tokens,
            min_tokens: self.min_tokens,
            ignore_eos: self.ignore_eos,
            eos_token_ids: vec![TokenId(EOS)],
            stop_token_ids: vec![TokenId(STOP)],
        };
        Request::new(self.prompt().into_iter().map(TokenId).collect(), stop_rules)
    }

    fn expected_refusal(&self, max_model_len: usize) -> Option<Refusal> {
        let num_tokens = self.prompt_len;
        match () {
            () if num_tokens == 0 => Some(Refusal::EmptyPrompt),
            () if num_tokens >= max_model_len => {
                Some(Refusal::PromptTooLong { num_tokens, max_model_len })
            }
            () if self.max_tokens == 0 => Some(Refusal::ZeroMaxTokens),
            () => None,
        }
    }

    /// The answer to the request alone, with no scheduler.
    fn expected_output(&self, max_model_len: usize) -> Output {
        let mut token_ids = self.prompt();
        loop {
            let token_id = next_token(token_ids.iter().copied());
            token_ids.push(token_id);
            let num_output = token_ids.len() - self.prompt_len;
            let may_stop = num_output >= self.min_tokens;
            let is_long = num_output == self.max_tokens || token_ids.len() == max_model_len;
            let (reason, stop_token_id) = match token_id {
                EOS if may_stop && !self.ignore_eos => (FinishReason::Stop, None),
                STOP if may_stop => (FinishReason::Stop, Some(STOP)),
                _ if is_long => (FinishReason::Length, None),
                _ => continue,
            };
            let token_ids = token_ids.split_off(self.prompt_len);
            return Output { token_ids, reason, stop_token_id };
        }
    }
}

struct Driver<'a> {
    scheduler: Scheduler,
    shadow: Shadow,
    batch: Batch,
    expected: BTreeMap<SeqId, Output>,
    trace: &'a mut Trace,
    num_preemptions: u64,
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
        num_preemptions: 0,
    };
    for action in actions {
        driver.act(action)?;
    }
    // The oldest sequence has rows in every step and at most `max_model_len` of them in all.
    let num_left = driver.shadow.seqs.len();
    for _ in 0..num_left * config.max_model_len {
        driver.step(|_| Ok(()))?;
    }
    driver.check_end()
}

impl Driver<'_> {
    fn act(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Add(load) => self.add(load),
            Action::Step => self.step(|_| Ok(())),
            Action::FailedStep => self.plan().map(|_| ()),
            Action::Abort(pick) => self.abort(*pick),
            Action::AbortDuringStep(pick) => self.step(|driver| driver.abort(*pick)),
            Action::AddDuringStep(load) => self.step(|driver| driver.add(load)),
        }
    }

    fn add(&mut self, load: &Load) -> Result<(), String> {
        let max_model_len = self.scheduler.config().max_model_len;
        let expected = load.expected_refusal(max_model_len);
        match self.scheduler.add(load.request()) {
            Err(refusal) => ensure!(Some(&refusal) == expected.as_ref(), "refused: {refusal}"),
            Ok(seq_id) => {
                ensure!(expected.is_none(), "{load:?} was not refused");
                let truth = TrueSeq { token_ids: load.prompt(), ..TrueSeq::default() };
                ensure!(self.shadow.seqs.insert(seq_id, truth).is_none(), "{seq_id:?} again");
                self.expected.insert(seq_id, load.expected_output(max_model_len));
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
        let truth = self.shadow.seqs.remove(&seq_id).unwrap();
        self.collect(&BTreeMap::from([(seq_id, truth)]))?;
        self.check()
    }

    /// Schedules, checks, and runs the shadow's model; answers what it sampled.
    fn plan(&mut self) -> Result<(Vec<ScheduledSeq>, Vec<u32>), String> {
        let before = Queues::of(&self.scheduler);
        let plan = self.scheduler.schedule(&mut self.batch).to_vec();
        let after = Queues::of(&self.scheduler);
        self.forget_preempted(&before, &after);
        after.check(&self.shadow)?;
        after.check_scheduled(&before)?;
        let sampled = self.shadow.forward(&plan, &self.batch)?;
        self.trace.steps.push((plan.clone(), self.batch.clone()));
        Ok((plan, sampled))
    }

    /// A sequence that was preempted must compute its tokens again.
    fn forget_preempted(&mut self, before: &Queues, after: &Queues) {
        for seq in &after.waiting {
            if before.running.iter().any(|run| run.seq_id == seq.seq_id)
                && let Some(truth) = self.shadow.seqs.get_mut(&seq.seq_id)
            {
                truth.num_computed = 0;
                truth.num_preemptions += 1;
            }
        }
    }

    fn step(
        &mut self,
        meanwhile: impl FnOnce(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        let (plan, sampled) = self.plan()?;
        meanwhile(self)?;
        let too_many: SampledRuns = vec![TokenId(0); sampled.len() + 1].into_iter().collect();
        let refused = self.scheduler.commit(&too_many).err();
        let (found, expected) = (too_many.num_runs(), sampled.len());
        ensure!(refused == Some(CommitError::NumRuns { found, expected }), "{refused:?}");

        let tokens: SampledRuns = sampled.iter().copied().map(TokenId).collect();
        let committed = self.scheduler.commit(&tokens).map_err(|error| error.to_string())?;
        let stopped: Vec<SeqId> = committed
            .iter()
            .filter(|token| token.stop.is_some())
            .map(|token| token.seq_id)
            .collect();
        self.shadow.commit(&plan, &sampled);
        let ended: BTreeMap<SeqId, TrueSeq> = stopped
            .into_iter()
            .filter_map(|seq_id| self.shadow.seqs.remove_entry(&seq_id))
            .collect();
        self.collect(&ended)?;
        self.check()
    }

    fn check(&self) -> Result<(), String> {
        Queues::of(&self.scheduler).check(&self.shadow)?;
        for (&seq_id, truth) in &self.shadow.seqs {
            let seq = self.scheduler.sequence(seq_id).ok_or(format!("{seq_id:?} is not found"))?;
            let is_same = seq.token_ids().iter().map(|token| &token.0).eq(&truth.token_ids);
            ensure!(is_same, "{seq_id:?} has other tokens");
        }
        Ok(())
    }

    /// Takes what the scheduler reports as finished: exactly `ended`, each with the right output.
    fn collect(&mut self, ended: &BTreeMap<SeqId, TrueSeq>) -> Result<(), String> {
        let mut ids = Vec::new();
        for finished in self.scheduler.drain_finished() {
            let seq = &finished.sequence;
            let output = Output {
                token_ids: seq.output_token_ids().iter().map(|token| token.0).collect(),
                reason: finished.reason,
                stop_token_id: finished.stop_token_id.map(|token| token.0),
            };
            let expected = &self.expected[&seq.seq_id()];
            if output.reason == FinishReason::Abort {
                let is_prefix = expected.token_ids.starts_with(&output.token_ids);
                ensure!(is_prefix, "aborted with {output:?}, on the way to {expected:?}");
            } else {
                ensure!(output == *expected, "{output:?}, but alone {expected:?}");
            }
            ensure!(seq.block_table().is_empty(), "{:?} ended with blocks", seq.seq_id());
            self.num_preemptions += u64::from(seq.stats().num_preemptions);
            ids.push(seq.seq_id());
            let is_new = self.trace.outputs.insert(seq.seq_id(), output).is_none();
            ensure!(is_new, "{:?} is reported twice", seq.seq_id());
        }
        ensure!(ids.iter().eq(ended.keys()), "{ids:?} reported, but {ended:?} ended");
        Ok(())
    }

    /// Invariants 5, 27 and 31.
    fn check_end(self) -> Result<SchedulerStats, String> {
        let live: Vec<_> = self.shadow.seqs.keys().collect();
        ensure!(live.is_empty() && !self.scheduler.has_unfinished(), "{live:?} never ended");
        ensure!(self.scheduler.block_pool().num_used() == 0, "blocks are still lent");
        ensure!(self.expected.keys().eq(self.trace.outputs.keys()), "a request was lost");
        let stats = self.scheduler.stats();
        ensure!(stats.num_preemptions == self.num_preemptions, "{stats:?}");
        Ok(stats)
    }
}
