//! What is true of each sequence, kept apart from the scheduler.

use std::ops::Range;

use engine_core::request::{FinishReason, SeqId};
use engine_core::scheduler::{Refusal, SchedulerConfig, SchedulingPolicy};
use engine_core::sequence::{Ahead, SeqStats};

use super::rng::spread;
use super::scenario::{EOS, Load, STOP, World};

/// The KV of a token: a number that says the token, every token before it, and whose they are.
/// 0 is nobody's.
pub type Kv = u64;

/// The KV of `token_id` after a token with the KV `before`.
pub fn kv_after(before: Kv, token_id: u32) -> Kv {
    spread(before.rotate_left(7) ^ u64::from(token_id)) | 1
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub token_ids: Vec<u32>,
    pub reason: FinishReason,
    pub stop_token_id: Option<u32>,
}

/// A live sequence.
#[derive(Clone, Debug)]
pub struct TrueSeq {
    pub key: (i32, SeqId),
    pub load: Load,
    vocab_size: u32,
    /// Prompt and output.
    pub token_ids: Vec<u32>,
    /// What a computed token's slot must hold, for each of `token_ids`.
    pub kv: Vec<Kv>,
    root: Kv,
    /// The most tokens it can have.
    pub max_num_tokens: usize,
    pub is_running: bool,
    pub num_computed: usize,
    pub max_num_computed: usize,
    /// Rows of the step in progress, guesses included.
    pub in_step: usize,
    pub table: Vec<u32>,
    pub host: Vec<u32>,
    pub num_swapped: usize,
    /// Tokens that can be had from outside.
    pub offered: Range<usize>,
    /// Tokens that come from outside and are not reached.
    pub ahead: Option<Ahead>,
    pub has_run: bool,
    pub stats: SeqStats,
    /// Block hashes that were noted.
    pub num_noted_hashes: usize,
}

impl TrueSeq {
    pub fn new(seq_id: SeqId, load: &Load, world: &World) -> Self {
        let mut seq = TrueSeq {
            key: (load.priority, seq_id),
            load: *load,
            vocab_size: world.vocab_size,
            token_ids: Vec::new(),
            kv: Vec::new(),
            root: spread(1 + u64::from(load.salt) * 256 + u64::from(load.adapter)),
            max_num_tokens: (load.prompt_len + load.max_tokens).min(world.config.max_model_len),
            is_running: false,
            num_computed: 0,
            max_num_computed: 0,
            in_step: 0,
            table: Vec::new(),
            host: Vec::new(),
            num_swapped: 0,
            offered: 0..0,
            ahead: None,
            has_run: false,
            stats: SeqStats::default(),
            num_noted_hashes: 0,
        };
        load.prompt(world.vocab_size).for_each(|token_id| seq.push(token_id));
        seq
    }

    pub fn seq_id(&self) -> SeqId {
        self.key.1
    }

    pub fn push(&mut self, token_id: u32) {
        let before = self.kv.last().copied().unwrap_or(self.root);
        self.token_ids.push(token_id);
        self.kv.push(kv_after(before, token_id));
    }

    pub fn num_tokens(&self) -> usize {
        self.token_ids.len()
    }

    pub fn num_uncomputed(&self) -> usize {
        self.token_ids.len() - self.num_computed
    }

    /// A step is over: what it took and did not compute is given back.
    pub fn end_step(&mut self, block_size: usize) {
        self.in_step = 0;
        self.table.truncate(self.num_held().div_ceil(block_size));
    }

    /// Leading tokens that it has blocks for between steps.
    pub fn num_held(&self) -> usize {
        self.ahead.as_ref().map_or(0, |ahead| ahead.tokens.end).max(self.num_computed)
    }

    /// It has no blocks.
    pub fn waits(&self) -> bool {
        !self.is_running && self.ahead.is_none()
    }

    /// Somebody writes to its blocks.
    pub fn is_loading(&self) -> bool {
        self.ahead.as_ref().is_some_and(|ahead| !ahead.is_loaded)
    }

    /// Rows up to its end, or to what comes from outside.
    pub fn num_next_rows(&self) -> usize {
        let end = self.ahead.as_ref().map_or(self.num_tokens(), |ahead| ahead.tokens.start);
        end - self.num_computed
    }

    /// What it must load of what is offered if it finds so many blocks.
    pub fn to_load(
        &self,
        offered: &Range<usize>,
        num_hits: usize,
        config: &SchedulerConfig,
    ) -> Option<Range<usize>> {
        let num_hit_tokens = num_hits * config.block_size;
        let end = offered.end.min(self.num_tokens() - 1);
        let first = (num_hit_tokens..end)
            .find(|&token| token >= offered.start && token.is_multiple_of(config.block_size))?;
        (first == num_hit_tokens || config.enable_chunked_prefill).then_some(first..end)
    }

    /// All that comes from outside is there once what is before it is computed.
    pub fn reach_load(&mut self) {
        let Some(Ahead { tokens, is_loaded }) = self.ahead.clone() else { return };
        if tokens.start == self.num_computed {
            self.is_running = is_loaded;
            if is_loaded {
                self.num_computed = tokens.end;
                self.ahead = None;
            }
        }
    }

    /// It runs, and one row is all that it lacks for a token.
    pub fn decodes(&self) -> bool {
        self.is_running && self.num_uncomputed() == 1
    }

    /// What the sampler draws after a row whose KV is `kv`, and whose token is `last`: some
    /// requests get a text that repeats itself, others one that depends on everything before.
    pub fn draw(&self, kv: Kv, last: u32) -> u32 {
        let seed = u64::from(self.load.seed);
        let is_plain = self.vocab_size < 1000 && !seed.is_multiple_of(3);
        let from = if is_plain { u64::from(last) ^ (seed % 7) << 40 } else { kv ^ seed };
        (spread(from) % u64::from(self.vocab_size)) as u32
    }

    /// Whether the last token ended it.
    pub fn stop(&self, max_model_len: usize) -> Option<(FinishReason, Option<u32>)> {
        let (load, num_output) = (&self.load, self.token_ids.len() - self.load.prompt_len);
        let may_stop = num_output >= load.min_tokens;
        let is_long = num_output >= load.max_tokens || self.token_ids.len() >= max_model_len;
        match *self.token_ids.last()? {
            EOS if may_stop && !load.ignore_eos => Some((FinishReason::Stop, None)),
            STOP if may_stop => Some((FinishReason::Stop, Some(STOP))),
            _ if is_long => Some((FinishReason::Length, None)),
            _ => None,
        }
    }

    /// The answer to the request alone, with no scheduler.
    pub fn expected_output(load: &Load, world: &World) -> Output {
        let mut seq = TrueSeq::new(SeqId(0), load, world);
        loop {
            seq.push(seq.draw(seq.kv[seq.kv.len() - 1], seq.token_ids[seq.token_ids.len() - 1]));
            if let Some((reason, stop_token_id)) = seq.stop(world.config.max_model_len) {
                let token_ids = seq.token_ids.split_off(load.prompt_len);
                return Output { token_ids, reason, stop_token_id };
            }
        }
    }
}

/// Whether a request is refused, and why.
pub fn expected_refusal(
    load: &Load,
    config: &SchedulerConfig,
    num_waiting: usize,
) -> Option<Refusal> {
    let (num_tokens, max_model_len) = (load.prompt_len, config.max_model_len);
    let priority = load.priority;
    let is_off = priority != 0 && config.policy == SchedulingPolicy::Fcfs;
    match config.max_num_queued_reqs {
        _ if num_tokens == 0 => Some(Refusal::EmptyPrompt),
        _ if num_tokens >= max_model_len => {
            Some(Refusal::PromptTooLong { num_tokens, max_model_len })
        }
        _ if load.max_tokens == 0 => Some(Refusal::ZeroMaxTokens),
        _ if is_off => Some(Refusal::PriorityIsOff { priority }),
        Some(max_num_queued_reqs) if num_waiting >= max_num_queued_reqs => {
            Some(Refusal::QueueFull { max_num_queued_reqs })
        }
        _ => None,
    }
}
