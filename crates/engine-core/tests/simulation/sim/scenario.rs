//! What is put to the scheduler: a world and a list of operations, all of it plain data. Any part
//! of the list is a scenario of its own, so that a failing one can be made small.

use engine_core::request::{Request, StopRules, TokenId};
use engine_core::scheduler::SchedulerConfig;

use super::clock::Timing;
use super::rng::spread;

/// Everything that stays the same during a run.
#[derive(Clone, Copy, Debug)]
pub struct World {
    pub config: SchedulerConfig,
    pub timing: Timing,
    /// Tokens of the made-up model's vocabulary. A small one makes texts repeat themselves; in a
    /// large one a token says what is before it.
    pub vocab_size: u32,
    /// Blocks of different texts may have one hash: only for a scheduler with that fault.
    pub hashes_collide: bool,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub world: World,
    pub ops: Vec<Op>,
}

/// A request; some are to be refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Prompts of one document have the same tokens before the smaller `branch_at`, and after it
    /// too if their `branch` is the same.
    pub doc: u8,
    pub branch: u8,
    pub branch_at: usize,
    pub prompt_len: usize,
    pub max_tokens: usize,
    pub min_tokens: usize,
    pub ignore_eos: bool,
    /// What the sampler draws from.
    pub seed: u32,
    pub priority: i32,
    /// 0: none.
    pub salt: u8,
    /// 0: none.
    pub adapter: u8,
    pub skip_reading: bool,
}

/// What the world does to the scheduler. Numbers pick one of what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Add(Load),
    Step(Step),
    Abort(usize),
    ResetPrefixCache,
    /// A live sequence, and from where to where its tokens are offered, in percent.
    Offer(usize, [u8; 2]),
    /// A load, and so many percent of it are loaded.
    EndLoad(usize, u8),
}

/// A step and what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The copies of the sequence of one of the step's copies fail, and when it is scheduled again
    /// perhaps those of another.
    pub failing_copies: [Option<usize>; 2],
    /// Comes after `schedule` and before the copies are executed.
    pub before_model: Option<Meanwhile>,
    /// Comes after the model and before `commit`.
    pub after_model: Option<Meanwhile>,
    pub end: StepEnd,
    /// How much longer than usual it takes, in percent.
    pub delay: u8,
}

impl Step {
    pub const PLAIN: Step = Step {
        failing_copies: [None; 2],
        before_model: None,
        after_model: None,
        end: StepEnd::Commit,
        delay: 0,
    };
}

/// What happens within a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meanwhile {
    Abort(usize),
    Add(Load),
    EndLoad(usize, u8),
}

/// How a step ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepEnd {
    Commit,
    /// The model fails: the sequences of the step end with an error.
    Fail,
    /// It is scheduled again after its rows were computed.
    DropComputed,
    /// It is scheduled again before its rows were computed.
    DropUncomputed,
}

pub const EOS: u32 = 3;
pub const STOP: u32 = 5;

impl Load {
    pub fn prompt(&self, vocab_size: u32) -> impl Iterator<Item = u32> + use<> {
        let load = *self;
        let is_distinct = vocab_size > 1000;
        // One document in three is words that come again and again.
        let period = if load.doc % 3 == 1 && !is_distinct { 7 } else { usize::MAX };
        let root = if is_distinct { load.branch_at as u64 } else { 0 };
        (0..load.prompt_len).map(move |position| {
            let is_common = position < load.branch_at;
            let branch = if is_common { 0 } else { 1 + u64::from(load.branch) + (root << 8) };
            let text = u64::from(load.doc) << 32 | branch << 40;
            (spread(text ^ (position % period) as u64) % u64::from(vocab_size)) as u32
        })
    }

    pub fn request(&self, vocab_size: u32) -> Request {
        let name = |number: u8| (number > 0).then(|| number.to_string());
        Request {
            priority: self.priority,
            cache_salt: name(self.salt),
            adapter: name(self.adapter),
            skip_reading_prefix_cache: self.skip_reading,
            ..Request::new(self.prompt(vocab_size).map(TokenId).collect(), self.stop_rules())
        }
    }

    fn stop_rules(&self) -> StopRules {
        StopRules {
            max_tokens: self.max_tokens,
            min_tokens: self.min_tokens,
            ignore_eos: self.ignore_eos,
            eos_token_ids: vec![TokenId(EOS)],
            stop_token_ids: vec![TokenId(STOP)],
        }
    }
}
