//! What a user asks for: a prompt in tokens and how to sample from it. vLLM's names and defaults.

use alloc::string::String;
use alloc::vec::Vec;

/// One sequence, over its whole life. Given in order of arrival, so a smaller one came earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeqId(pub u64);

/// One entry of the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub u32);

/// How to choose tokens and when to stop.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// Most tokens to generate.
    pub max_tokens: usize,
    /// No end of sequence and no stop before this many tokens.
    pub min_tokens: usize,
    /// Logits are divided by it; below 1e-5 the likeliest token is taken (greedy).
    pub temperature: f32,
    /// Keep the likeliest tokens whose probabilities sum to this; in (0, 1].
    pub top_p: f32,
    /// Keep this many likeliest tokens; 0 or −1 keeps all.
    pub top_k: i32,
    /// Keep tokens at least this fraction as likely as the likeliest; in [0, 1].
    pub min_p: f32,
    /// Seed of this request's random numbers; `None`: one derived from the engine's seed.
    pub seed: Option<u64>,
    /// Go on after an end-of-sequence token.
    pub ignore_eos: bool,
    /// Texts that end the output; they are not part of it unless `include_stop_str_in_output`.
    pub stop: Vec<String>,
    /// Tokens that end the output, besides the model's end of sequence.
    pub stop_token_ids: Vec<TokenId>,
    /// Leave the stop text in the output.
    pub include_stop_str_in_output: bool,
    /// Leave special tokens out of the text.
    pub skip_special_tokens: bool,
    /// Report the log-probabilities of the chosen token and of this many likeliest; −1: of all.
    pub logprobs: Option<i32>,
    /// The same for each prompt token.
    pub prompt_logprobs: Option<i32>,
}

impl Default for SamplingParams {
    fn default() -> Self {
        SamplingParams {
            max_tokens: 16,
            min_tokens: 0,
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            seed: None,
            ignore_eos: false,
            stop: Vec::new(),
            stop_token_ids: Vec::new(),
            include_stop_str_in_output: false,
            skip_special_tokens: true,
            logprobs: None,
            prompt_logprobs: None,
        }
    }
}

/// Why a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// End of sequence, a stop token or a stop text.
    Stop,
    /// `max_tokens` or `max_model_len`.
    Length,
    /// The caller withdrew it.
    Abort,
}

impl FinishReason {
    /// vLLM's word: `stop`, `length`, `abort`.
    pub const fn name(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::Abort => "abort",
        }
    }
}
