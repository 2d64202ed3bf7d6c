//! What `/v1/chat/completions` is asked, besides tools, templates and sampling.

use engine::text::Message;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::body::Record;
use crate::error::ApiError;
use crate::openai::answer::{StreamOptions, check_stream};

/// A conversation to go on with.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct ChatRequest {
    pub(super) model: Option<String>,
    pub(super) messages: Vec<Message>,
    pub(super) max_completion_tokens: Option<usize>,
    pub(super) logprobs: Option<bool>,
    pub(super) top_logprobs: Option<usize>,
    pub(super) prompt_logprobs: Option<i32>,
    /// Whether the answer says what the model thought, where that is told apart; it does.
    pub(super) include_reasoning: Option<bool>,
    /// Whether the answer begins with the text that it goes on with.
    pub(super) echo: Option<bool>,
    /// Whether the tokenizer puts its tokens around what the template wrote; it does not.
    pub(super) add_special_tokens: Option<bool>,
    pub(super) stream: Option<bool>,
    pub(super) stream_options: Option<StreamOptions>,
    pub(super) request_id: Option<String>,
    /// Whether the answer is to be kept; it never is.
    pub(super) store: Option<bool>,
}

impl Record for ChatRequest {
    const UNSUPPORTED: &'static [(&'static str, &'static str)] = &[
        ("modalities", "the model writes text"),
        ("audio", "the model writes text"),
        ("best_of", "it decodes answers that nobody gets; ask for `n` with logprobs"),
        ("use_beam_search", "the engine has no beam search; ask for `n`"),
        ("kv_transfer_params", "prefill and decode run in one process"),
        ("verbosity", "the model has no setting for it"),
        ("prediction", "guesses come from `--speculative-config`, not from a request"),
        ("web_search_options", "the model answers from the messages alone"),
    ];
}

impl ChatRequest {
    /// Likeliest candidates for each token, if log-probabilities are wanted.
    pub(super) fn num_top_logprobs(&self) -> Result<Option<usize>, ApiError> {
        match (self.logprobs.unwrap_or(false), self.top_logprobs) {
            (false, None | Some(0)) => Ok(None),
            (false, Some(_)) => {
                let message = "`top_logprobs` needs `logprobs`: true";
                Err(ApiError::bad_field("top_logprobs", message))
            }
            (true, num_top) => Ok(Some(num_top.unwrap_or(0))),
        }
    }

    pub(super) fn check(&self) -> Result<(), ApiError> {
        if self.messages.is_empty() {
            return Err(ApiError::bad_field(
                "messages",
                "`messages` must have at least one message",
            ));
        }
        if self.store == Some(true) {
            return Err(ApiError::bad_field(
                "store",
                "the server keeps no answers; leave `store` out",
            ));
        }
        check_stream(self.stream, self.stream_options, self.prompt_logprobs)
    }
}
