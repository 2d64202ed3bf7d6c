//! `/v1/chat/completions`.

mod chunks;
mod form;
mod request;

use std::mem;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use chunks::Chunks;
use engine::Prompt;
use engine::output::{CompletionOutput, RequestOutput};
use engine::text::PromptEnd;
use form::{Form, Thoughts};
use futures_util::stream::{self, StreamExt};
pub(crate) use request::ChatRequest;
use serde_json::{Value, json};

use super::answer::{Heading, Running, events, stop_reason};
use super::logprobs::{Style, num_candidates};
use super::prompt::prompt_logprobs_json;
use super::sampling::SamplingFields;
use super::template::TemplateFields;
use super::usage::{Usage, UsageSoFar};
use crate::app::App;
use crate::body::Body;
use crate::error::ApiError;
use crate::request_id;
use crate::served_model::{Generate, ServedModel};
use crate::tools::ToolFields;

/// What a body has.
pub(crate) type Asked = ((ChatRequest, (ToolFields, TemplateFields)), SamplingFields);

/// What a body means.
pub(crate) struct Chat {
    /// Without its messages, which are the prompt.
    request: ChatRequest,
    pub(crate) generate: Generate,
    form: Form,
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
        params.logprobs = num_top.map(num_candidates);
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
            thoughts: Thoughts::new(&request, model, continued, has_form)?,
            tool_use,
        };
        let prompt = Prompt::Chat(conversation);
        let generate = Generate { prompt, params, options: sampling.options() };
        Ok(Chat { request, generate, form })
    }
}

pub(crate) async fn answer(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Body(asked): Body<Asked>,
) -> Result<Response, ApiError> {
    let Chat { request, mut generate, mut form } = Chat::new(asked, &app.model)?;
    let heading = Heading::new(&app, "chatcmpl", request_id::of(&headers, request.request_id)?);
    let prompt_token_ids = form.take_prompt(&app, &mut generate).await?;
    let running = Running::start(&app, &heading, &headers, generate).await?;
    if request.stream == Some(true) {
        let usage = UsageSoFar::new(request.stream_options.unwrap_or_default());
        let mut chunks = Chunks::new(heading, form, prompt_token_ids, usage);
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
        let message = form.message(&mut reader, &completion.text);
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
