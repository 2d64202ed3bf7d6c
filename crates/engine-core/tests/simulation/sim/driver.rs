//! Puts a scenario to the real scheduler, plays engine and model for it, and has everything checked
//! after each call.

use std::collections::HashMap;

use engine_core::batch::Batch;
use engine_core::prefix_cache::BlockHash;
use engine_core::request::{FinishReason, SeqId, TokenId};
use engine_core::scheduler::{CommitError, SampledRuns, ScheduledSeq, Scheduler, SchedulerStats};

use super::load::Drain;
use super::scenario::{Load, Meanwhile, Op, Scenario, Step, StepEnd, World};
use super::store::Store;
use super::truth::{Output, TrueSeq, expected_refusal};
use super::violation::{Verdict, ensure};

/// Measures the allocations of a call.
pub type Measure = fn(&mut dyn FnMut()) -> u64;

/// What is watched beside the invariants.
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// Write a log for people.
    pub has_log: bool,
    /// Count allocations.
    pub measure: Option<Measure>,
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub stats: SchedulerStats,
    /// Calls of `schedule`.
    pub num_steps: u64,
    pub num_aborts: u64,
    /// Loads that went on after their sequence.
    pub num_drains: u64,
    pub num_resets: u64,
    pub num_refusals: u64,
    pub num_dropped_steps: u64,
    pub num_measured_steps: u64,
    /// Says every batch, to the byte.
    pub digest: u64,
    pub clock_us: u64,
    pub outputs: Vec<(SeqId, Output)>,
}

/// A run in progress.
pub struct Driver<'a> {
    pub(super) world: &'a World,
    pub(super) options: Options,
    pub(super) scheduler: Scheduler,
    pub(super) batch: Batch,
    pub(super) plan: Vec<ScheduledSeq>,
    pub(super) store: Store,
    /// Live sequences, by key.
    pub(super) live: Vec<TrueSeq>,
    /// Loads of sequences that have ended.
    pub(super) draining: Vec<Drain>,
    /// What the scheduler must have counted.
    pub(super) counts: SchedulerStats,
    /// Under what hash each block was published when last looked at.
    pub(super) published: Vec<Option<BlockHash>>,
    /// The KV at the end of the block with this hash.
    pub(super) kv_of_hash: HashMap<BlockHash, u64>,
    /// Blocks that were free when last looked at, in order.
    pub(super) free: Vec<u32>,
    /// The call in which each block became free.
    pub(super) freed_in: Vec<u64>,
    /// The table that each block was last in, and where.
    pub(super) was_in: Vec<(SeqId, usize)>,
    pub(super) ref_counts: Vec<u32>,
    pub(super) new_free: Vec<u32>,
    pub(super) seen_host: Vec<bool>,
    /// Blocks lent in the last call of `schedule`, whose contents are not lost yet.
    pub(super) fresh: Vec<u32>,
    /// Sequences that decoded when the step in progress was scheduled.
    pub(super) num_decodes_before: usize,
    pub(super) num_calls: u64,
    pub(super) report: Report,
    pub(super) log: String,
}

/// Adds a line to the log, if there is one.
macro_rules! log {
    ($driver:expr, $($text:tt)*) => {
        if $driver.options.has_log {
            use std::fmt::Write;
            let _ = writeln!($driver.log, $($text)*);
        }
    };
}
pub(super) use log;

/// Runs a scenario, then steps until all requests have ended. Answers its log too.
pub fn run(scenario: &Scenario, options: Options) -> (Verdict<Report>, String) {
    let mut driver = Driver::new(&scenario.world, options);
    let verdict = driver.run(&scenario.ops);
    (verdict.map(|()| std::mem::take(&mut driver.report)), driver.log)
}

impl<'a> Driver<'a> {
    fn new(world: &'a World, options: Options) -> Self {
        let config = world.config;
        let num_blocks = config.num_blocks;
        Driver {
            world,
            options,
            scheduler: Scheduler::new(config).expect("the world's bounds are right"),
            batch: Batch::default(),
            plan: Vec::new(),
            store: Store::new(num_blocks, config.num_host_blocks, config.block_size),
            live: Vec::new(),
            draining: Vec::new(),
            counts: SchedulerStats::default(),
            published: vec![None; num_blocks],
            kv_of_hash: HashMap::new(),
            free: (0..num_blocks as u32).collect(),
            freed_in: vec![0; num_blocks],
            was_in: vec![(SeqId(u64::MAX), 0); num_blocks],
            ref_counts: vec![0; num_blocks],
            new_free: Vec::new(),
            seen_host: Vec::new(),
            fresh: Vec::new(),
            num_decodes_before: 0,
            num_calls: 0,
            report: Report::default(),
            log: String::new(),
        }
    }

    fn run(&mut self, ops: &[Op]) -> Verdict {
        // The identity is 32 zeros.
        let world = format!("{:?}", self.world).replace(&format!("{:?}", BlockHash([0; 32])), "0");
        log!(self, "{world}");
        // The batch gets its memory.
        self.scheduler.schedule(&mut self.batch);
        for op in ops {
            match op {
                Op::Add(load) => self.add(load)?,
                Op::Step(step) => self.step(step)?,
                Op::Abort(pick) => self.abort(*pick)?,
                Op::ResetPrefixCache => self.reset_prefix_cache()?,
                Op::Offer(pick, percent) => self.offer(*pick, *percent)?,
                Op::EndLoad(pick, percent) => self.end_load(*pick, *percent)?,
            }
        }
        self.drain()?;
        self.check_end()
    }

    /// Everything ends, and soon: the first running sequence gets a row in each step, and ceases to
    /// be the first only by ending, or once for each sequence that is before it.
    fn drain(&mut self) -> Verdict {
        let most: usize = self.live.iter().map(|seq| seq.max_num_tokens).max().unwrap_or(0);
        // And a step for each that is loaded first.
        let bound = 2 * self.live.len() * most + self.live.len();
        for _ in 0..bound {
            self.end_loads()?;
            if self.live.is_empty() {
                return Ok(());
            }
            self.step(&Step::PLAIN)?;
        }
        self.end_loads()?;
        let left: Vec<SeqId> = self.live.iter().map(TrueSeq::seq_id).collect();
        ensure!("25", left.is_empty(), "{left:?} have not ended after {bound} steps");
        Ok(())
    }

    pub(super) fn find(&self, seq_id: SeqId) -> Option<usize> {
        self.live.iter().position(|seq| seq.seq_id() == seq_id)
    }

    fn add(&mut self, load: &Load) -> Verdict {
        let num_waiting = self.live.iter().filter(|seq| seq.waits()).count();
        let expected = expected_refusal(load, &self.world.config, num_waiting);
        match self.scheduler.add(load.request(self.world.vocab_size)) {
            Err(refusal) => {
                ensure!("26", Some(&refusal) == expected.as_ref(), "refused: {refusal}");
                self.report.num_refusals += 1;
            }
            Ok(seq_id) => {
                log!(self, "add {seq_id:?}: {load:?}");
                ensure!("26", expected.is_none(), "{load:?} was not refused: {expected:?}");
                let seq = TrueSeq::new(seq_id, load, self.world);
                let place = self.live.partition_point(|other| other.key < seq.key);
                self.live.insert(place, seq);
                let output = TrueSeq::expected_output(load, self.world);
                self.report.outputs.push((seq_id, output));
                let is_in_order = self.report.outputs.is_sorted_by_key(|(seq_id, _)| *seq_id);
                ensure!("27", is_in_order, "{seq_id:?} was given out before");
            }
        }
        self.check_state(Call::Add)
    }

    fn abort(&mut self, pick: usize) -> Verdict {
        if self.live.is_empty() {
            let is_found = self.scheduler.finish(SeqId(pick as u64), FinishReason::Abort);
            ensure!("27", !is_found, "ended a sequence that does not live");
            return Ok(());
        }
        let seq_id = self.live[pick % self.live.len()].seq_id();
        log!(self, "abort {seq_id:?}");
        self.note_drain(seq_id);
        let has_ended = self.scheduler.finish(seq_id, FinishReason::Abort);
        ensure!("27", has_ended, "{seq_id:?} is unknown");
        let has_ended = self.scheduler.finish(seq_id, FinishReason::Abort);
        ensure!("27", !has_ended, "{seq_id:?} ended twice");
        self.report.num_aborts += 1;
        self.collect(&[(seq_id, FinishReason::Abort)])?;
        self.check_state(Call::Finish)
    }

    fn reset_prefix_cache(&mut self) -> Verdict {
        let holds_nothing =
            self.live.iter().all(|seq| seq.table.is_empty()) && self.draining.is_empty();
        log!(self, "reset_prefix_cache");
        let has_reset = self.scheduler.reset_prefix_cache();
        ensure!("10", has_reset == holds_nothing, "a reset answers {has_reset}");
        if has_reset {
            self.report.num_resets += 1;
            self.store.change_model();
            for seq in &mut self.live {
                seq.num_swapped = 0;
                seq.host.clear();
            }
        }
        self.check_state(if has_reset { Call::Reset } else { Call::Add })
    }

    fn meanwhile(&mut self, what: &Option<Meanwhile>) -> Verdict {
        match what {
            Some(Meanwhile::Abort(pick)) => self.abort(*pick),
            Some(Meanwhile::Add(load)) => self.add(load),
            Some(Meanwhile::EndLoad(pick, percent)) => self.end_load(*pick, *percent),
            None => Ok(()),
        }
    }

    fn step(&mut self, step: &Step) -> Verdict {
        self.schedule()?;
        for pick in step.failing_copies.into_iter().flatten() {
            let copies = self.scheduler.copies();
            let Some(copy) = copies.get(pick % copies.len().max(1)) else { break };
            let seq_id = copy.seq_id;
            self.execute_copies(Some(seq_id))?;
            self.fail_swap(seq_id)?;
            self.schedule()?;
        }
        self.meanwhile(&step.before_model)?;
        self.execute_copies(None)?;
        if step.end == StepEnd::DropUncomputed {
            return self.drop_step("before the model");
        }
        let sampled = self.forward()?;
        self.meanwhile(&step.after_model)?;
        match step.end {
            StepEnd::Fail => self.fail_step(),
            StepEnd::Commit => self.commit(&sampled, step.delay),
            _ => self.drop_step("after the model"),
        }
    }

    /// The step is left as it is; the next `schedule` will forget it.
    fn drop_step(&mut self, when: &str) -> Verdict {
        log!(self, "the step is dropped {when}");
        self.report.num_dropped_steps += 1;
        Ok(())
    }

    fn fail_swap(&mut self, seq_id: SeqId) -> Verdict {
        log!(self, "a copy of {seq_id:?} fails");
        let has_failed = self.scheduler.fail_swap(seq_id);
        ensure!("swap", has_failed, "a failed copy of {seq_id:?} is not known");
        self.counts.num_failed_swaps += 1;
        for seq in &mut self.live {
            seq.end_step(self.world.config.block_size);
            if seq.seq_id() == seq_id {
                (seq.is_running, seq.num_computed, seq.num_swapped) = (false, 0, 0);
                (seq.table, seq.host) = (Vec::new(), Vec::new());
            }
        }
        self.plan.clear();
        self.check_state(Call::FailSwap)
    }

    fn fail_step(&mut self) -> Verdict {
        let ended: Vec<_> = self
            .plan
            .iter()
            .map(|part| part.seq_id)
            .filter(|&seq_id| self.find(seq_id).is_some())
            .map(|seq_id| (seq_id, FinishReason::Error))
            .collect();
        log!(self, "the step fails: {ended:?}");
        ended.iter().for_each(|(seq_id, _)| self.note_drain(*seq_id));
        let num_ended = self.scheduler.fail_step();
        ensure!("27", num_ended == ended.len(), "{num_ended} ended with the step, not {ended:?}");
        self.counts.num_failed_steps += u64::from(num_ended > 0);
        self.plan.clear();
        self.collect(&ended)?;
        self.check_state(Call::Finish)
    }

    /// Commits the step, after the scheduler has refused what cannot be of it.
    fn commit(&mut self, sampled: &SampledRuns, delay: u8) -> Verdict {
        let mut too_many = sampled.clone();
        too_many.push(&[TokenId(0)]);
        let refused = self.scheduler.commit(&too_many).err();
        let (found, expected) = (too_many.num_runs(), sampled.num_runs());
        let is_right = refused == Some(CommitError::NumRuns { found, expected });
        ensure!("27", is_right, "{found} runs for {expected}: {refused:?}");

        let mut verdict = Ok(());
        let mut committed = Vec::with_capacity(sampled.token_ids().len());
        let Driver { scheduler, options, .. } = self;
        let num_allocations = measure(options, || {
            let tokens = scheduler.commit(sampled);
            verdict = tokens.map(|tokens| committed.extend_from_slice(tokens));
        });
        ensure!("27", verdict.is_ok(), "the step is not taken: {verdict:?}");
        let ended = self.follow_commit(sampled, &committed)?;
        if ended.is_empty() {
            ensure!("alloc", num_allocations == 0, "a commit makes {num_allocations} allocations");
        }
        self.pass_time(delay)?;
        self.plan.clear();
        self.collect(&ended)?;
        self.check_state(Call::Commit)
    }
}

/// Calls, and says how many allocations there were; 0 if nobody counts.
pub(super) fn measure(options: &Options, mut call: impl FnMut()) -> u64 {
    match options.measure {
        Some(measure) => measure(&mut call),
        None => {
            call();
            0
        }
    }
}

/// What has been called: it says what may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Add,
    Schedule,
    Commit,
    Finish,
    FailSwap,
    Reset,
    EndLoad,
}
