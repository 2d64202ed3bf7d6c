//! What a user asks for: a prompt in tokens and how to sample from it. vLLM's names and defaults.

use alloc::string::String;
use alloc::vec::Vec;

pub use crate::sampling::params::{SamplingParams, StructuredOutputs};

/// One sequence, over its whole life. The scheduler numbers them in order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SeqId(pub u64);

/// One entry of the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TokenId(pub u32);

/// A prompt on its way into the scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The prompt; every id is below the vocabulary's size (whoever tokenizes has checked).
    pub prompt_token_ids: Vec<TokenId>,
    /// When to end.
    pub stop_rules: StopRules,
    /// Lower is served first; 0 under first come, first served.
    pub priority: i32,
    /// Only requests with an equal salt share KV: keeps tenants from seeing, by the time an answer
    /// takes, what others have asked.
    pub cache_salt: Option<String>,
    /// Name of the adapter whose weights change its KV.
    pub adapter: Option<String>,
    /// Compute every token, whatever is cached: logits are wanted for all of them. What it computes
    /// is published all the same.
    pub skip_reading_prefix_cache: bool,
}

impl Request {
    /// A request that shares KV with all others of its kind.
    pub fn new(prompt_token_ids: Vec<TokenId>, stop_rules: StopRules) -> Self {
        Request {
            prompt_token_ids,
            stop_rules,
            priority: 0,
            cache_salt: None,
            adapter: None,
            skip_reading_prefix_cache: false,
        }
    }
}

/// Which tokens and lengths end a sequence. Stop texts are found where text is made, outside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StopRules {
    /// Most tokens to generate, at least 1.
    pub max_tokens: usize,
    /// No end of sequence and no stop token before this many tokens.
    pub min_tokens: usize,
    /// Go on after an end of sequence.
    pub ignore_eos: bool,
    /// The model's ends of sequence.
    pub eos_token_ids: Vec<TokenId>,
    /// The request's own.
    pub stop_token_ids: Vec<TokenId>,
}

/// A sequence's last token has been sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Why.
    pub reason: FinishReason,
    /// The one of `stop_token_ids` that ended it; `None` for an end of sequence or a length.
    pub stop_token_id: Option<TokenId>,
}

impl StopRules {
    /// What `params` says, for a model that ends a sequence with any of `eos_token_ids`.
    pub fn new(params: &SamplingParams, eos_token_ids: &[TokenId]) -> Self {
        StopRules {
            max_tokens: params.max_tokens,
            min_tokens: params.min_tokens,
            ignore_eos: params.ignore_eos,
            eos_token_ids: eos_token_ids.to_vec(),
            stop_token_ids: params.stop_token_ids.clone(),
        }
    }

    /// Whether `token_id`, just sampled as the `num_output_tokens`-th of the output, was the last.
    /// In vLLM's order: end of sequence, stop tokens, lengths; `is_full` says that the sequence has
    /// reached `max_model_len`.
    pub fn check(
        &self,
        token_id: TokenId,
        num_output_tokens: usize,
        is_full: bool,
    ) -> Option<Stop> {
        if num_output_tokens >= self.min_tokens {
            if !self.ignore_eos && self.eos_token_ids.contains(&token_id) {
                return Some(Stop { reason: FinishReason::Stop, stop_token_id: None });
            }
            if self.stop_token_ids.contains(&token_id) {
                return Some(Stop { reason: FinishReason::Stop, stop_token_id: Some(token_id) });
            }
        }
        (is_full || num_output_tokens >= self.max_tokens)
            .then_some(Stop { reason: FinishReason::Length, stop_token_id: None })
    }

    /// Tokens that must not be sampled after `num_output_tokens` of the output: before
    /// `min_tokens`, all that end a sequence. As in vLLM, an ignored end of sequence is among them.
    pub fn barred_token_ids(
        &self,
        num_output_tokens: usize,
    ) -> impl Iterator<Item = TokenId> + Clone + '_ {
        let is_barred = num_output_tokens < self.min_tokens;
        let all = self.eos_token_ids.iter().chain(&self.stop_token_ids).copied();
        all.filter(move |_| is_barred)
    }
}

/// Why a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum FinishReason {
    /// End of sequence, a stop token or a stop text.
    Stop,
    /// `max_tokens` or `max_model_len`.
    Length,
    /// The caller withdrew it.
    Abort,
    /// The engine failed in one of its steps.
    Error,
}

impl FinishReason {
    /// vLLM's word: `stop`, `length`, `abort`, `error`.
    pub const fn name(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::Abort => "abort",
            FinishReason::Error => "error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn rules() -> StopRules {
        StopRules {
            max_tokens: 4,
            min_tokens: 2,
            ignore_eos: false,
            eos_token_ids: vec![TokenId(2), TokenId(3)],
            stop_token_ids: vec![TokenId(7), TokenId(3)],
        }
    }

    fn stopped(stop_token_id: Option<u32>) -> Option<Stop> {
        Some(Stop { reason: FinishReason::Stop, stop_token_id: stop_token_id.map(TokenId) })
    }

    const LENGTH: Option<Stop> = Some(Stop { reason: FinishReason::Length, stop_token_id: None });

    #[test]
    fn end_of_sequence_comes_before_stop_tokens_before_lengths() {
        let rules = rules();
        assert_eq!(rules.check(TokenId(2), 4, true), stopped(None));
        assert_eq!(rules.check(TokenId(3), 4, true), stopped(None));
        assert_eq!(rules.check(TokenId(7), 4, true), stopped(Some(7)));
        assert_eq!(rules.check(TokenId(9), 4, false), LENGTH);
        assert_eq!(rules.check(TokenId(9), 3, true), LENGTH);
        assert_eq!(rules.check(TokenId(9), 3, false), None);
    }

    #[test]
    fn an_ignored_end_of_sequence_can_still_be_a_stop_token() {
        let rules = StopRules { ignore_eos: true, ..rules() };
        assert_eq!(rules.check(TokenId(2), 3, false), None);
        assert_eq!(rules.check(TokenId(3), 3, false), stopped(Some(3)));
    }

    #[test]
    fn min_tokens_holds_back_stops_but_not_lengths() {
        let rules = rules();
        assert_eq!(rules.check(TokenId(2), 1, false), None);
        assert_eq!(rules.check(TokenId(7), 1, false), None);
        assert_eq!(rules.check(TokenId(7), 1, true), LENGTH);
        assert_eq!(rules.check(TokenId(2), 2, false), stopped(None));
        let barred: Vec<_> = rules.barred_token_ids(1).collect();
        assert_eq!(barred, [TokenId(2), TokenId(3), TokenId(7), TokenId(3)]);
        assert_eq!(rules.barred_token_ids(2).count(), 0);
    }
}
