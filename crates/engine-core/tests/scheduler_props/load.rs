//! What the world does to the scheduler, and the answers that requests must get.

use engine_core::request::{FinishReason, Request, StopRules, TokenId};
use engine_core::scheduler::{Refusal, SchedulerConfig, SchedulingPolicy};

use crate::shadow::next_token;

/// A request; some are to be refused.
#[derive(Clone, Debug, Default)]
pub struct Load {
    pub prompt_len: usize,
    /// Tokens at its start that it shares with others of the same `document`.
    pub shared_len: usize,
    pub document: u32,
    pub max_tokens: usize,
    pub min_tokens: usize,
    pub ignore_eos: bool,
    pub priority: i32,
    /// 0: shares with everyone of 0.
    pub tenant: u64,
    pub skips_cache: bool,
    pub salt: u32,
}

/// What the world does. Numbers pick one of the live sequences.
#[derive(Clone, Debug)]
pub enum Action {
    Add(Load),
    /// The step takes so many µs.
    Step(u16),
    /// The model fails and the step is scheduled again.
    DroppedStep,
    /// The model fails and its sequences with it.
    FailedStep,
    /// Swaps of sequences fail by these bits.
    FailedSwaps(u8),
    Abort(usize),
    /// The abort comes between `schedule` and `commit`.
    AbortDuringStep(usize),
    AddDuringStep(Load),
    ResetPrefixCache,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub token_ids: Vec<u32>,
    pub reason: FinishReason,
    pub stop_token_id: Option<u32>,
}

const EOS: u32 = 3;
const STOP: u32 = 5;

impl Load {
    pub fn prompt(&self) -> Vec<u32> {
        let token = |i: usize| {
            let seed = if i < self.shared_len { self.document } else { self.salt };
            (i as u32).wrapping_mul(7).wrapping_add(seed) % 97
        };
        (0..self.prompt_len).map(token).collect()
    }

    pub fn request(&self) -> Request {
        let stop_rules = StopRules {
            max_tokens: self.max_tokens,
            min_tokens: self.min_tokens,
            ignore_eos: self.ignore_eos,
            eos_token_ids: vec![TokenId(EOS)],
            stop_token_ids: vec![TokenId(STOP)],
        };
        Request {
            priority: self.priority,
            cache_salt: (self.tenant & 1 > 0).then(|| self.tenant.to_string()),
            adapter: (self.tenant & 2 > 0).then(|| self.tenant.to_string()),
            skip_reading_prefix_cache: self.skips_cache,
            ..Request::new(self.prompt().into_iter().map(TokenId).collect(), stop_rules)
        }
    }

    pub fn expected_refusal(
        &self,
        config: &SchedulerConfig,
        num_waiting: usize,
    ) -> Option<Refusal> {
        let (num_tokens, max_model_len) = (self.prompt_len, config.max_model_len);
        let is_full = |&most: &usize| num_waiting >= most;
        match config.max_num_queued_reqs.filter(is_full) {
            _ if num_tokens == 0 => Some(Refusal::EmptyPrompt),
            _ if num_tokens >= max_model_len => {
                Some(Refusal::PromptTooLong { num_tokens, max_model_len })
            }
            _ if self.max_tokens == 0 => Some(Refusal::ZeroMaxTokens),
            _ if config.policy == SchedulingPolicy::Fcfs && self.priority != 0 => {
                Some(Refusal::PriorityIsOff { priority: self.priority })
            }
            full => full.map(|max_num_queued_reqs| Refusal::QueueFull { max_num_queued_reqs }),
        }
    }

    /// The answer to the request alone, with no scheduler.
    pub fn expected_output(&self, max_model_len: usize) -> Output {
        let mut token_ids = self.prompt();
        loop {
            let token_id = next_token(&token_ids);
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
