//! `/v1/completions`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use engine::output::{CompletionOutput, Logprob, RequestOutput};
use engine::{Prompt, RequestUpdate};
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt, select_all};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Heading, Running, StreamOptions, events};
use super::chat::stop_reason;
use super::logprobs;
use super::sampling::SamplingFields;
use super::usage::{Usage, UsageSoFar};
use crate::app::App;
use crate::body::{Body, Record};
use crate::error::ApiError;
use crate::request_id;
use crate::served_model::{Generate, ServedModel};

/// OpenAI's default.
const DEFAULT_MAX_TOKENS: usize = 16;

/// Most prompts of one request.
const MAX_NUM_PROMPTS: usize = 1024;

/// Texts to go on with.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct CompletionRequest {
    model: Option<String>,
    prompt: Option<Prompts>,
    logprobs: Option<usize>,
    prompt_logprobs: Option<i32>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    request_id: Option<String>,
}

/// What a body has.
pub(crate) type Asked = (CompletionRequest, SamplingFields);

impl Record for CompletionRequest {
    const UNSUPPORTED: &'static [(&'static str, &'static str)] = &[
        ("echo", "the prompt is not part of the answer"),
        ("suffix", "the model writes forward only"),
        ("best_of", "it decodes answers that nobody gets; ask for `n` with logprobs"),
        ("use_beam_search", "the engine has no beam search; ask for `n`"),
        ("kv_transfer_params", "prefill and decode run in one process"),
    ];
}

/// One prompt or several, in text or tokens.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "`prompt` must be a text, a list of token ids, or a list of either")]
enum Prompts {
    Text(String),
    TokenIds(Vec<u32>),
    Texts(Vec<String>),
    ManyTokenIds(Vec<Vec<u32>>),
}

impl Prompts {
    fn into_list(self) -> Vec<Prompt> {
        match self {
            Prompts::Text(text) => vec![Prompt::Text(text)],
            Prompts::TokenIds(token_ids) if token_ids.is_empty() => Vec::new(),
            Prompts::TokenIds(token_ids) => vec![Prompt::TokenIds(token_ids)],
            Prompts::Texts(texts) => texts.into_iter().map(Prompt::Text).collect(),
            Prompts::ManyTokenIds(lists) => lists.into_iter().map(Prompt::TokenIds).collect(),
        }
    }
}

/// What the engine is asked, for each prompt.
pub(crate) fn generate(
    (request, sampling): &Asked,
    model: &ServedModel,
) -> Result<Vec<Generate>, ApiError> {
    model.check_name(request.model.as_deref())?;
    let prompts = request.prompt.clone().map(Prompts::into_list).unwrap_or_default();
    if prompts.is_empty() || prompts.len() > MAX_NUM_PROMPTS {
        let message = format!("`prompt` has {} texts; give 1 to {MAX_NUM_PROMPTS}", prompts.len());
        return Err(ApiError::bad_field("prompt", message));
    }
    if request.stream_options.is_some() && request.stream != Some(true) {
        let message = "`stream_options` needs `stream`: true";
        return Err(ApiError::bad_field("stream_options", message));
    }
    let mut params = sampling.params(model, DEFAULT_MAX_TOKENS)?;
    params.logprobs = request.logprobs.map(|num_top| i32::try_from(num_top).unwrap_or(i32::MAX));
    params.prompt_logprobs = request.prompt_logprobs;
    model.check_logprobs("logprobs", params.logprobs)?;
    model.check_logprobs("prompt_logprobs", params.prompt_logprobs)?;
    let options = sampling.options();
    let generate = |prompt| Generate { prompt, params: params.clone(), options: options.clone() };
    Ok(prompts.into_iter().map(generate).collect())
}

pub(crate) async fn answer(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Body(asked): Body<Asked>,
) -> Result<Response, ApiError> {
    let prompts = generate(&asked, &app.model)?;
    let (request, n) = (asked.0, asked.1.n());
    let heading = Heading::new(&app, "cmpl", request_id::of(&headers, request.request_id)?);
    let start = |generate| Running::start(&app, &heading, &headers, generate);
    let running = try_join_all(prompts.into_iter().map(start)).await?;
    if request.stream == Some(true) {
        let chunks = Chunks {
            heading,
            num_top: request.logprobs,
            so_far: UsageSoFar::new(request.stream_options.unwrap_or_default()),
            num_unfinished: running.len(),
            usage: Usage::default(),
            text_offsets: vec![0; running.len() * n],
        };
        return Ok(stream(running, n, chunks));
    }
    let outputs = try_join_all(running.into_iter().map(Running::finish)).await?;
    Ok(Json(whole(&heading, request.logprobs, n, &outputs)).into_response())
}

/// The answers at once: those to a prompt are numbered after those to the prompts before it.
fn whole(heading: &Heading, num_top: Option<usize>, n: usize, outputs: &[RequestOutput]) -> Value {
    let mut usage = Usage::default();
    let mut choices = Vec::new();
    for (prompt_idx, output) in outputs.iter().enumerate() {
        usage.add(output);
        let prompt_logprobs = output.prompt_logprobs.as_ref().map(|list| prompt_logprobs(list));
        for completion in &output.outputs {
            let mut choice = choice(prompt_idx * n, completion, num_top);
            choice["prompt_logprobs"] = prompt_logprobs.clone().unwrap_or_default();
            choices.push(choice);
        }
    }
    json!({
        "id": heading.id,
        "object": "text_completion",
        "created": heading.created,
        "model": heading.model,
        "choices": choices,
        "usage": usage.json(),
    })
}

fn choice(first_index: usize, completion: &CompletionOutput, num_top: Option<usize>) -> Value {
    let tokens = completion.logprobs.as_deref().unwrap_or_default();
    json!({
        "index": first_index + completion.index,
        "text": completion.text,
        "logprobs": num_top.map(|num_top| logprobs::completion(tokens, num_top, &mut 0)),
        "finish_reason": completion.finish_reason.name(),
        "stop_reason": stop_reason(completion.stop_reason.as_ref()),
    })
}

/// vLLM's form: for each token of the prompt its candidates by their ids; nothing for the first.
fn prompt_logprobs(list: &[Option<Vec<Logprob>>]) -> Value {
    let candidate = |logprob: &Logprob| {
        let value = json!({
            "logprob": logprob.logprob.max(-9999.0),
            "rank": logprob.rank,
            "decoded_token": logprob.decoded_token,
        });
        (logprob.token_id.to_string(), value)
    };
    let token = |candidates: &Option<Vec<Logprob>>| match candidates {
        None => Value::Null,
        Some(candidates) => Value::Object(candidates.iter().map(candidate).collect()),
    };
    Value::from(list.iter().map(token).collect::<Vec<_>>())
}

fn stream(running: Vec<Running>, n: usize, mut chunks: Chunks) -> Response {
    let numbered = running.into_iter().enumerate().map(|(prompt_idx, running)| {
        running.updates().map(move |update| (prompt_idx * n, update)).boxed()
    });
    let updates = select_all(numbered);
    events(
        updates.flat_map(move |(first_index, update)| stream::iter(chunks.of(first_index, update))),
    )
}

/// Writes chunks.
struct Chunks {
    heading: Heading,
    num_top: Option<usize>,
    so_far: UsageSoFar,
    num_unfinished: usize,
    usage: Usage,
    /// Where each sequence's next token begins in its text.
    text_offsets: Vec<usize>,
}

impl Chunks {
    fn of(&mut self, first_index: usize, update: Result<RequestUpdate, ApiError>) -> Vec<Value> {
        let update = match update {
            Ok(update) => update,
            Err(error) => return vec![error.body()],
        };
        let index = first_index + update.index;
        let so_far = self.so_far.add(index, &update);
        let logprobs = match (self.num_top, update.new_logprobs.as_deref()) {
            (Some(num_top), Some(tokens)) => {
                Some(logprobs::completion(tokens, num_top, &mut self.text_offsets[index]))
            }
            _ => None,
        };
        let mut chunks = Vec::new();
        let is_silent = update.text_delta.is_empty() && update.finish_reason.is_none();
        if !is_silent || logprobs.is_some() {
            let choice = json!({
                "index": index,
                "text": update.text_delta,
                "logprobs": logprobs,
                "finish_reason": update.finish_reason.map(engine::FinishReason::name),
                "stop_reason": stop_reason(update.stop_reason.as_ref()),
            });
            chunks.push(self.chunk(vec![choice], so_far));
        }
        if let Some(output) = &update.finished {
            self.usage.add(output);
            self.num_unfinished -= 1;
            if self.so_far.is_told() && self.num_unfinished == 0 {
                chunks.push(self.chunk(Vec::new(), Some(self.usage.json())));
            }
        }
        chunks
    }

    fn chunk(&self, choices: Vec<Value>, usage: Option<Value>) -> Value {
        let mut chunk = json!({
            "id": self.heading.id,
            "object": "text_completion",
            "created": self.heading.created,
            "model": self.heading.model,
            "choices": choices,
        });
        if let Some(usage) = usage {
            chunk["usage"] = usage;
        }
        chunk
    }
}
