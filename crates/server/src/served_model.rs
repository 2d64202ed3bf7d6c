//! What a body asks of the engine. No engine is needed for it, so that any bytes can be tried.

use engine::{Prompt, RequestOptions, SamplingParams};
use tool_calls::{ReasoningParser, ToolCallParser};

use crate::body::parse;
use crate::config::ServerConfig;
use crate::error::ApiError;
use crate::openai::{chat, completions, responses};
use crate::operations;

/// A model as requests have to know it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServedModel {
    /// Names that requests may call it by; the first one is what answers say.
    pub names: Vec<String>,
    /// How it is sampled from where a request says nothing.
    pub sampling_defaults: SamplingParams,
    /// Most tokens of a prompt and its answer.
    pub max_model_len: usize,
    /// Most candidates that a request may ask the log-probabilities of, for each token; `usize::MAX`: all there are.
    pub max_logprobs: usize,
    /// How it writes calls of tools, if that is known.
    pub tool_call_parser: Option<ToolCallParser>,
    /// How it writes what it thinks before it answers, if that is to be told apart.
    pub reasoning_parser: Option<ReasoningParser>,
    /// Whether it may call tools of its own accord.
    pub enable_auto_tool_choice: bool,
}

/// A path that takes a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Endpoint {
    /// `/v1/chat/completions`.
    ChatCompletions,
    /// `/v1/completions`.
    Completions,
    /// `/v1/responses`.
    Responses,
    /// `/tokenize`.
    Tokenize,
    /// `/detokenize`.
    Detokenize,
}

impl Endpoint {
    /// All there are.
    pub const ALL: [Endpoint; 5] = [
        Endpoint::ChatCompletions,
        Endpoint::Completions,
        Endpoint::Responses,
        Endpoint::Tokenize,
        Endpoint::Detokenize,
    ];
}

/// What the engine is asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EngineRequest {
    /// Answers to each of one or more prompts.
    Generate(Vec<Generate>),
    /// The tokens of a prompt.
    Encode(Prompt),
    /// The text of tokens.
    Decode(Vec<u32>),
}

/// Answers to a prompt.
#[derive(Clone, Debug)]
pub struct Generate {
    /// What is to be answered.
    pub prompt: Prompt,
    /// How to choose tokens; the engine looks whether all are in their ranges.
    pub params: SamplingParams,
    /// What the scheduler and the KV cache are to know.
    pub options: RequestOptions,
}

impl ServedModel {
    /// A model of this name, which is sampled from as vLLM does, and calls no tools of its own accord.
    pub fn new(name: impl Into<String>, max_model_len: usize) -> Self {
        ServedModel {
            names: vec![name.into()],
            sampling_defaults: SamplingParams::default(),
            max_model_len,
            max_logprobs: ServerConfig::DEFAULT_MAX_LOGPROBS,
            tool_call_parser: None,
            reasoning_parser: None,
            enable_auto_tool_choice: false,
        }
    }

    /// What a body asks of the engine.
    ///
    /// # Errors
    /// What the client would be told: the body is not in JSON, or has a field or a value that the server does not take.
    pub fn read(&self, endpoint: Endpoint, body: &[u8]) -> Result<EngineRequest, ApiError> {
        Ok(match endpoint {
            Endpoint::ChatCompletions => {
                EngineRequest::Generate(vec![chat::Chat::new(parse(body)?, self)?.generate])
            }
            Endpoint::Completions => {
                EngineRequest::Generate(completions::generate(&parse(body)?, self)?)
            }
            Endpoint::Responses => {
                EngineRequest::Generate(vec![responses::generate(&parse(body)?, self)?])
            }
            Endpoint::Tokenize => EngineRequest::Encode(operations::prompt(parse(body)?, self)?),
            Endpoint::Detokenize => {
                EngineRequest::Decode(operations::token_ids(parse(body)?, self)?)
            }
        })
    }

    /// Fails if `name` is another model's; none is fine.
    pub(crate) fn check_name(&self, name: Option<&str>) -> Result<(), ApiError> {
        match name {
            Some(name) if !self.names.iter().any(|own| own == name) => {
                let own = self.names.first().map_or("", String::as_str);
                Err(ApiError::model_not_found(name, own))
            }
            _ => Ok(()),
        }
    }

    /// Fails if the log-probabilities of more candidates are wanted than may be; -1 is the whole vocabulary.
    pub(crate) fn check_logprobs(&self, field: &str, wanted: Option<i32>) -> Result<(), ApiError> {
        let (Some(wanted), max) = (wanted, self.max_logprobs) else { return Ok(()) };
        let num_top = if wanted == -1 { usize::MAX } else { wanted.max(0) as usize };
        if num_top <= max {
            return Ok(());
        }
        let message = format!(
            "`{field}` is {wanted}, but at most {max} candidates of a token are told; ask for \
             fewer, or start the server with a larger --max-logprobs"
        );
        Err(ApiError::bad_field(field, message))
    }
}
