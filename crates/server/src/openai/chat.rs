//! `/v1/chat/completions`.

use std::mem;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use engine::output::{CompletionOutput, RequestOutput, StopReason};
use engine::text::Message;
use engine::{Prompt, RequestUpdate};
use futures_util::stream::{self, StreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::{Heading, Running, StreamOptions, events};
use super::logprobs;
use super::sampling::SamplingFields;
use super::usage::{Usage, UsageSoFar};
use crate::app::App;
use crate::body::{Body, Record};
use crate::error::ApiError;
use crate::request_id;
use crate::served_model::{Generate, ServedModel};
use crate::tools::{Reader, ToolFields, ToolUse};

/// A conversation to go on with.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct ChatRequest {
    model: Option<String>,
    messages: Vec<Message>,
    max_completion_tokens: Option<usize>,
    logprobs: Option<bool>,
    top_logprobs: Option<usize>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    request_id: Option<String>,
    /// Whether the answer is to be kept; it never is.
    store: Option<bool>,
}

/// What a body has.
pub(crate) type Asked = ((ChatRequest, ToolFields), SamplingFields);

impl Record for ChatRequest {
    const UNSUPPORTED: &'static [(&'static str, &'static str)] = &[
        ("modalities", "the model writes text"),
        ("audio", "the model writes text"),
        ("best_of", "it decodes answers that nobody gets; ask for `n` with logprobs"),
        ("use_beam_search", "the engine has no beam search; ask for `n`"),
        ("prompt_logprobs", "ask /v1/completions for the log-probabilities of a prompt"),
        ("chat_template", "a template from a request is never run; the model's own is"),
        ("kv_transfer_params", "prefill and decode run in one process"),
        ("reasoning_effort", "the model has no setting for it"),
        ("echo", "the messages are not part of the answer"),
    ];
}

impl ChatRequest {
    /// Likeliest candidates for each token, if log-probabilities are wanted.
    fn num_top_logprobs(&self) -> Result<Option<usize>, ApiError> {
        match (self.logprobs.unwrap_or(false), self.top_logprobs) {
            (false, None | Some(0)) => Ok(None),
            (false, Some(_)) => {
                let message = "`top_logprobs` needs `logprobs`: true";
                Err(ApiError::bad_field("top_logprobs", message))
            }
            (true, num_top) => Ok(Some(num_top.unwrap_or(0))),
        }
    }

    fn check(&self) -> Result<(), ApiError> {
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
        if self.stream_options.is_some() && self.stream != Some(true) {
            let message = "`stream_options` needs `stream`: true";
            return Err(ApiError::bad_field("stream_options", message));
        }
        Ok(())
    }
}

/// What a body means.
pub(crate) struct Chat {
    /// Without its messages, which are the prompt.
    request: ChatRequest,
    pub(crate) generate: Generate,
    num_top: Option<usize>,
    tool_use: ToolUse,
}

impl Chat {
    pub(crate) fn new(
        ((mut request, tools), sampling): Asked,
        model: &ServedModel,
    ) -> Result<Chat, ApiError> {
        model.check_name(request.model.as_deref())?;
        request.check()?;
        let num_top = request.num_top_logprobs()?;
        // Unless the request says so, an answer ends where the model ends it, or where its context is full.
        let max_tokens = request.max_completion_tokens.unwrap_or(model.max_model_len);
        let mut params = sampling.params(model, max_tokens)?;
        if request.max_completion_tokens.is_some() {
            params.max_tokens = max_tokens;
        }
        params.logprobs = num_top.map(|num_top| i32::try_from(num_top).unwrap_or(i32::MAX));
        model.check_logprobs("top_logprobs", params.logprobs)?;
        let mut tool_use = tools.into_use(model)?;
        tool_use.apply(&mut params)?;
        let messages = mem::take(&mut request.messages);
        let prompt = match mem::take(&mut tool_use.tools) {
            tools if tools.is_empty() => Prompt::Messages(messages),
            tools => Prompt::MessagesWithTools { messages, tools },
        };
        let generate = Generate { prompt, params, options: sampling.options() };
        Ok(Chat { request, generate, num_top, tool_use })
    }
}

pub(crate) async fn answer(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Body(asked): Body<Asked>,
) -> Result<Response, ApiError> {
    let Chat { request, generate, num_top, tool_use } = Chat::new(asked, &app.model)?;
    let heading = Heading::new(&app, "chatcmpl", request_id::of(&headers, request.request_id)?);
    let running = Running::start(&app, &heading, &headers, generate).await?;
    if request.stream == Some(true) {
        let usage = UsageSoFar::new(request.stream_options.unwrap_or_default());
        let mut chunks = Chunks { heading, num_top, usage, tool_use, readers: Vec::new() };
        let updates = running.updates();
        return Ok(events(updates.flat_map(move |update| stream::iter(chunks.of(update)))));
    }
    let output = running.finish().await?;
    Ok(Json(whole(&heading, num_top, &tool_use, &output)).into_response())
}

/// The answer at once.
fn whole(
    heading: &Heading,
    num_top: Option<usize>,
    tool_use: &ToolUse,
    output: &RequestOutput,
) -> Value {
    let choice = |completion: &CompletionOutput| {
        let mut reader = tool_use.reader();
        let message = message(&mut reader, &completion.text);
        let tokens = completion.logprobs.as_deref().unwrap_or_default();
        json!({
            "index": completion.index,
            "message": message,
            "logprobs": num_top.map(|num_top| logprobs::chat(tokens, num_top)),
            "finish_reason": reader.finish_reason(completion.finish_reason.name()),
            "stop_reason": stop_reason(completion.stop_reason.as_ref()),
        })
    };
    let mut usage = Usage::default();
    usage.add(output);
    json!({
        "id": heading.id,
        "object": "chat.completion",
        "created": heading.created,
        "model": heading.model,
        "choices": output.outputs.iter().map(choice).collect::<Vec<_>>(),
        "usage": usage.json(),
    })
}

/// What the assistant says with `text`: nothing at all, where it only calls tools.
fn message(reader: &mut Reader, text: &str) -> Value {
    let mut said = reader.read(text, true);
    if said.calls.is_empty() {
        return json!({ "role": "assistant", "content": said.content, "refusal": null });
    }
    for call in said.calls.iter_mut().filter_map(Value::as_object_mut) {
        call.shift_remove("index");
    }
    let content = Some(said.content).filter(|content| !content.is_empty());
    json!({
        "role": "assistant", "content": content, "refusal": null, "tool_calls": said.calls,
    })
}

/// The text or token that ended an answer.
pub(super) fn stop_reason(reason: Option<&StopReason>) -> Value {
    match reason {
        None => Value::Null,
        Some(StopReason::Text(text)) => Value::from(text.as_str()),
        Some(StopReason::Token(token_id)) => Value::from(*token_id),
    }
}

/// Writes chunks.
struct Chunks {
    heading: Heading,
    num_top: Option<usize>,
    usage: UsageSoFar,
    tool_use: ToolUse,
    /// One for each sequence whose first chunk, with the role, has been written.
    readers: Vec<Option<Reader>>,
}

impl Chunks {
    /// The chunks of an update; an error is the last thing that a stream says.
    fn of(&mut self, update: Result<RequestUpdate, ApiError>) -> Vec<Value> {
        let update = match update {
            Ok(update) => update,
            Err(error) => return vec![error.body()],
        };
        let mut chunks = Vec::new();
        let so_far = self.usage.add(update.index, &update);
        self.readers.resize(self.readers.len().max(update.index + 1), None);
        if self.readers[update.index].is_none() {
            self.readers[update.index] = Some(self.tool_use.reader());
            let delta = json!({ "role": "assistant", "content": "" });
            let choice = json!({ "index": update.index, "delta": delta, "logprobs": null, "finish_reason": null });
            chunks.push(self.chunk(vec![choice], so_far.clone()));
        }
        if let Some(choice) = self.choice(&update) {
            chunks.push(self.chunk(vec![choice], so_far));
        }
        if let Some(output) = update.finished.filter(|_| self.usage.is_told()) {
            let mut usage = Usage::default();
            usage.add(&output);
            chunks.push(self.chunk(Vec::new(), Some(usage.json())));
        }
        chunks
    }

    /// What is new of a sequence; nothing if a step gave half a letter.
    fn choice(&mut self, update: &RequestUpdate) -> Option<Value> {
        let reader = self.readers[update.index].as_mut()?;
        let said = reader.read(&update.text_delta, update.finish_reason.is_some());
        let logprobs = self.num_top.zip(update.new_logprobs.as_deref());
        let has_logprobs = logprobs.is_some_and(|(_, tokens)| !tokens.is_empty());
        let is_silent = said.content.is_empty() && said.calls.is_empty();
        if is_silent && update.finish_reason.is_none() && !has_logprobs {
            return None;
        }
        let mut delta = Map::new();
        if !said.content.is_empty() {
            delta.insert("content".to_owned(), Value::from(said.content));
        }
        if !said.calls.is_empty() {
            delta.insert("tool_calls".to_owned(), Value::from(said.calls));
        }
        let mut choice = json!({
            "index": update.index,
            "delta": delta,
            "logprobs": logprobs.map(|(num_top, tokens)| logprobs::chat(tokens, num_top)),
            "finish_reason": update.finish_reason.map(|reason| reader.finish_reason(reason.name())),
        });
        if update.finish_reason.is_some() {
            choice["stop_reason"] = stop_reason(update.stop_reason.as_ref());
        }
        Some(choice)
    }

    fn chunk(&self, choices: Vec<Value>, usage: Option<Value>) -> Value {
        let mut chunk = json!({
            "id": self.heading.id,
            "object": "chat.completion.chunk",
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
