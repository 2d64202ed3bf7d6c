//! How to choose tokens and when to stop: vLLM's `SamplingParams`, with its names and defaults.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::request::TokenId;

/// How to choose tokens and when to stop.
///
/// vLLM's old `best_of` is not here: it decoded more answers than it returned and kept the likeliest,
/// which [`SamplingParams::n`] with log-probabilities leaves to the caller.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SamplingParams {
    /// Answers to the prompt.
    pub n: usize,
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
    /// Taken off the logit of a token that the output has already; in [−2, 2].
    pub presence_penalty: f32,
    /// Taken off the logit of a token once for each time that the output has it; in [−2, 2].
    pub frequency_penalty: f32,
    /// What the logit of a token that prompt or output has is divided by if it is positive, and
    /// multiplied by if not; above 0.
    pub repetition_penalty: f32,
    /// Added to the logits of these tokens; taken as −100 or 100 where it is beyond.
    pub logit_bias: BTreeMap<TokenId, f32>,
    /// The only tokens that may come.
    pub allowed_token_ids: Option<Vec<TokenId>>,
    /// Texts whose tokens must not come in a row, at the start of a word or within one.
    pub bad_words: Vec<String>,
    /// What form the output must have.
    pub structured_outputs: Option<StructuredOutputs>,
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
    /// Make a text of the tokens.
    pub detokenize: bool,
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
            n: 1,
            max_tokens: 16,
            min_tokens: 0,
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            repetition_penalty: 1.0,
            logit_bias: BTreeMap::new(),
            allowed_token_ids: None,
            bad_words: Vec::new(),
            structured_outputs: None,
            seed: None,
            ignore_eos: false,
            stop: Vec::new(),
            stop_token_ids: Vec::new(),
            include_stop_str_in_output: false,
            detokenize: true,
            skip_special_tokens: true,
            logprobs: None,
            prompt_logprobs: None,
        }
    }
}

/// What form an output must have. The texts are checked where the grammar is made, outside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum StructuredOutputs {
    /// A JSON value that this JSON schema allows. Of a `date` the grammar knows the days of each
    /// month, not the leap years: the 29th of February exists in all of them.
    Json(String),
    /// A text that this regular expression matches from beginning to end.
    Regex(String),
    /// One of these texts.
    Choice(Vec<String>),
    /// A text of this context-free grammar, in Lark's notation.
    Grammar(String),
    /// Any JSON object.
    JsonObject,
}

/// What a reported log-probability is: an engine's `logprobs_mode`. Those of a prompt are always raw
/// log-probabilities, as in vLLM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum LogprobsMode {
    /// Of the model's own distribution, whatever the parameters did to it.
    #[default]
    RawLogprobs,
    /// The model's own logits.
    RawLogits,
    /// Of the distribution that the token was drawn from: penalties, temperature, filters and all.
    /// −∞ for what was out.
    ProcessedLogprobs,
    /// The logits of that distribution.
    ProcessedLogits,
}

impl LogprobsMode {
    /// Whether the row is looked at after the parameters changed it.
    pub const fn is_processed(self) -> bool {
        matches!(self, LogprobsMode::ProcessedLogprobs | LogprobsMode::ProcessedLogits)
    }

    /// Whether logits are reported, not log-probabilities.
    pub const fn is_logits(self) -> bool {
        matches!(self, LogprobsMode::RawLogits | LogprobsMode::ProcessedLogits)
    }
}
