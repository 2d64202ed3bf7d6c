//! `/v1/chat/completions`.

mod chunks;

use std::mem;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use chunks::Chunks;
use engine::Prompt;
use engine::output::{CompletionOutput, RequestOutput, StopReason};
use engine::text::{Message, PromptEnd};
use futures_util::stream::{self, StreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tool_calls::ReasoningParser;

use super::answer::{Heading, Running, StreamOptions, events};
use super::logprobs::Style;
use super::prompt::{ShownPrompt, prompt_logprobs_json};
use super::sampling::SamplingFields;
use super::template::TemplateFields;
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
    prompt_logprobs: Option<i32>,
    /// Whether the answer says what the model thought, where that is told apart; it does.
    include_reasoning: Option<bool>,
    /// Whether the answer begins with the text that it goes on with.
    echo: Option<bool>,
    /// Whether the tokenizer puts its tokens around what the template wrote; it does not.
    add_special_tokens: Option<bool>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    request_id: Option<String>,
    /// Whether the answer is to be kept; it never is.
    store: Option<bool>,
}

/// What a body has.
pub(crate) type Asked = ((ChatRequest, (ToolFields, TemplateFields)), SamplingFields);

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
        if self.prompt_logprobs.is_some() && self.stream == Some(true) {
            let message = "a stream has no `prompt_logprobs`; leave `stream` out";
            return Err(ApiError::bad_field("prompt_logprobs", message));
        }
        Ok(())
    }
}

/// What a body means.
pub(crate) struct Chat {
    /// Without its messages, which are the prompt.
    request: ChatRequest,
    pub(crate) generate: Generate,
    form: Form,
}

/// What is written of an answer.
struct Form {
    /// Who answers: whoever said what is continued, else the assistant.
    role: String,
    /// What the answer begins with.
    echoed: String,
    logprobs: Option<Style>,
    /// Likeliest candidates of `prompt_logprobs`.
    num_prompt_top: Option<i32>,
    returns_token_ids: bool,
    thoughts: Option<Thoughts>,
    tool_use: ToolUse,
}

/// How what the model thinks is told apart from its answers.
struct Thoughts {
    parser: ReasoningParser,
    /// Whether answers begin within a thought.
    is_thinking: bool,
    /// Whether the client wants to hear of it.
    is_told: bool,
}

impl Form {
    fn reader(&self) -> Reader {
        let reasoning = self.thoughts.as_ref();
        let reasoning = reasoning.map(|thoughts| thoughts.parser.reader(thoughts.is_thinking));
        self.tool_use.reader().behind(reasoning)
    }

    /// Whether the prompt must be looked at before it is answered.
    fn needs_prompt(&self) -> bool {
        self.returns_token_ids || self.thoughts.is_some()
    }

    /// What is told of a thought.
    fn told(&self, reasoning: String) -> Option<String> {
        let is_told = self.thoughts.as_ref().is_some_and(|thoughts| thoughts.is_told);
        Some(reasoning).filter(|reasoning| is_told && !reasoning.is_empty())
    }
}

impl Chat {
    pub(crate) fn new(
        ((mut request, (tools, template)), sampling): Asked,
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
        params.prompt_logprobs = request.prompt_logprobs;
        model.check_logprobs("top_logprobs", params.logprobs)?;
        model.check_logprobs("prompt_logprobs", params.prompt_logprobs)?;
        let mut tool_use = tools.into_use(model)?;
        let has_form = params.structured_outputs.is_some() || tool_use.is_certain();
        tool_use.apply(&mut params)?;
        let messages = mem::take(&mut request.messages);
        let tools = mem::take(&mut tool_use.tools);
        let add_special_tokens = request.add_special_tokens.unwrap_or(false);
        let conversation = template.conversation(messages, tools, add_special_tokens)?;
        let last = conversation.messages.last();
        let continued = last.filter(|_| conversation.end == PromptEnd::InLastMessage);
        let echoed = match (request.echo.unwrap_or(false), continued) {
            (false, _) => String::new(),
            (true, _) if tool_use.is_certain() => {
                let message = "`echo` repeats text, and `tool_choice` makes the answer a call; leave one of them out";
                return Err(ApiError::bad_field("echo", message));
            }
            (true, Some(message)) => message.text().into_owned(),
            (true, None) => {
                let message = "`echo` needs `continue_final_message`: true; there is no text that the answer goes on with";
                return Err(ApiError::bad_field("echo", message));
            }
        };
        let as_token_ids = sampling.return_tokens_as_token_ids.unwrap_or(false);
        let form = Form {
            role: continued.map_or_else(|| "assistant".to_owned(), |message| message.role.clone()),
            echoed,
            logprobs: num_top.map(|num_top| Style { num_top, as_token_ids }),
            num_prompt_top: request.prompt_logprobs,
            returns_token_ids: sampling.return_token_ids.unwrap_or(false),
            thoughts: thoughts(&request, model, continued, has_form)?,
            tool_use,
        };
        let prompt = Prompt::Chat(conversation);
        let generate = Generate { prompt, params, options: sampling.options() };
        Ok(Chat { request, generate, form })
    }
}

/// What becomes of the model's thoughts. An answer of a given form has none: it has the form from its first token on.
fn thoughts(
    request: &ChatRequest,
    model: &ServedModel,
    continued: Option<&Message>,
    has_form: bool,
) -> Result<Option<Thoughts>, ApiError> {
    let Some(parser) = model.reasoning_parser else {
        let message = "`include_reasoning` needs a server that tells thoughts apart: start it with --reasoning-parser";
        return match request.include_reasoning {
            Some(false) => Err(ApiError::bad_field("include_reasoning", message)),
            _ => Ok(None),
        };
    };
    if has_form {
        return Ok(None);
    }
    // What is echoed is read with the answer, from its beginning.
    let continued = continued.filter(|_| request.echo != Some(true));
    let is_thinking = continued.is_some_and(|message| parser.is_open_in(&message.text()));
    Ok(Some(Thoughts { parser, is_thinking, is_told: request.include_reasoning.unwrap_or(true) }))
}

pub(crate) async fn answer(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Body(asked): Body<Asked>,
) -> Result<Response, ApiError> {
    let Chat { request, mut generate, mut form } = Chat::new(asked, &app.model)?;
    let heading = Heading::new(&app, "chatcmpl", request_id::of(&headers, request.request_id)?);
    let shown = match form.needs_prompt() {
        true => ShownPrompt::take(&app, &mut generate).await?,
        false => ShownPrompt::default(),
    };
    if let Some(thoughts) = &mut form.thoughts {
        thoughts.is_thinking |= thoughts.parser.is_opened_by(&shown.text);
    }
    let running = Running::start(&app, &heading, &headers, generate).await?;
    if request.stream == Some(true) {
        let usage = UsageSoFar::new(request.stream_options.unwrap_or_default());
        let mut chunks = Chunks::new(heading, form, shown, usage);
        let updates = running.updates();
        return Ok(events(updates.flat_map(move |update| stream::iter(chunks.of(update)))));
    }
    let output = running.finish().await?;
    Ok(Json(whole(&heading, &form, &output)).into_response())
}

/// The answer at once.
fn whole(heading: &Heading, form: &Form, output: &RequestOutput) -> Value {
    let choice = |completion: &CompletionOutput| {
        let mut reader = form.reader();
        let message = message(form, &mut reader, &completion.text);
        let tokens = completion.logprobs.as_deref().unwrap_or_default();
        let mut choice = json!({
            "index": completion.index,
            "message": message,
            "logprobs": form.logprobs.map(|style| style.chat(tokens)),
            "finish_reason": reader.finish_reason(completion.finish_reason.name()),
            "stop_reason": stop_reason(completion.stop_reason.as_ref()),
        });
        if form.returns_token_ids {
            choice["token_ids"] = json!(completion.token_ids);
        }
        choice
    };
    let mut usage = Usage::default();
    usage.add(output);
    let mut answer = json!({
        "id": heading.id,
        "object": "chat.completion",
        "created": heading.created,
        "model": heading.model,
        "choices": output.outputs.iter().map(choice).collect::<Vec<_>>(),
        "usage": usage.json(),
    });
    let prompt_logprobs = output.prompt_logprobs.as_ref().zip(form.num_prompt_top);
    if let Some((list, num_top)) = prompt_logprobs {
        answer["prompt_logprobs"] = prompt_logprobs_json(list, num_top);
    }
    if form.returns_token_ids {
        answer["prompt_token_ids"] = json!(output.prompt_token_ids);
    }
    answer
}

/// What the assistant says with `text`: nothing at all, where it only calls tools.
fn message(form: &Form, reader: &mut Reader, text: &str) -> Value {
    let mut said = reader.read(&[&form.echoed, text].concat(), true);
    let mut message = json!({ "role": form.role, "content": said.content, "refusal": null });
    let is_silent = said.content.is_empty();
    if form.thoughts.is_some() {
        if is_silent && !said.reasoning.is_empty() {
            message["content"] = Value::Null;
        }
        message["reasoning"] = json!(form.told(said.reasoning));
    }
    if !said.calls.is_empty() {
        for call in said.calls.iter_mut().filter_map(Value::as_object_mut) {
            call.shift_remove("index");
        }
        if is_silent {
            message["content"] = Value::Null;
        }
        message["tool_calls"] = Value::from(said.calls);
    }
    message
}

/// The text or token that ended an answer.
pub(super) fn stop_reason(reason: Option<&StopReason>) -> Value {
    match reason {
        None => Value::Null,
        Some(StopReason::Text(text)) => Value::from(text.as_str()),
        Some(StopReason::Token(token_id)) => Value::from(*token_id),
    }
}
