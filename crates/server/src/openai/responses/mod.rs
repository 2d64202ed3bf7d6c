//! `/v1/responses`: one answer to a conversation that the request has whole. Nothing is kept.

mod events;
pub(super) mod request;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use engine::output::RequestOutput;
use engine::{FinishReason, Prompt};
use events::Events;
use futures_util::stream::{self, StreamExt};
pub(crate) use request::ResponseRequest;
use serde_json::{Value, json};

use super::answer::{Heading, Running, named_events};
use super::usage::Usage;
use crate::app::App;
use crate::body::Body;
use crate::error::ApiError;
use crate::request_id;
use crate::served_model::{Generate, ServedModel};

/// What the engine is asked.
pub(crate) fn generate(
    request: &ResponseRequest,
    model: &ServedModel,
) -> Result<Generate, ApiError> {
    model.check_name(request.model.as_deref())?;
    request.check()?;
    let sampling = request.sampling();
    let max_tokens = request.max_output_tokens.unwrap_or(model.max_model_len);
    let params = sampling.params(model, max_tokens)?;
    let prompt = Prompt::from(request.messages()?);
    Ok(Generate { prompt, params, options: sampling.options() })
}

pub(crate) async fn answer(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Body(request): Body<ResponseRequest>,
) -> Result<Response, ApiError> {
    let generate = generate(&request, &app.model)?;
    let heading = Heading::new(&app, "resp", request_id::of(&headers, request.request_id.clone())?);
    let (temperature, top_p) = (generate.params.temperature, generate.params.top_p);
    let shown = Shown { request, heading, temperature, top_p };
    let running = Running::start(&app, &shown.heading, &headers, generate).await?;
    if shown.request.stream == Some(true) {
        let mut events = Events::new(shown);
        let begin = stream::iter(events.begin());
        let updates = running.updates();
        return Ok(named_events(
            begin.chain(updates.flat_map(move |update| stream::iter(events.of(update)))),
        ));
    }
    let output = running.finish().await?;
    Ok(Json(shown.whole(&output)?).into_response())
}

/// What an answer says of its request.
struct Shown {
    request: ResponseRequest,
    heading: Heading,
    temperature: f32,
    top_p: f32,
}

impl Shown {
    /// The id of the one message that an answer is.
    fn message_id(&self) -> String {
        self.heading.id.replacen("resp-", "msg-", 1)
    }

    fn whole(&self, output: &RequestOutput) -> Result<Value, ApiError> {
        let completion = output.outputs.first();
        let completion =
            completion.ok_or_else(|| ApiError::internal("the answer has no sequence"))?;
        let status = status(completion.finish_reason);
        let mut response = self.response(status);
        response["output"] = json!([self.message(status, Some(&completion.text))]);
        if status == "incomplete" {
            response["incomplete_details"] = json!({ "reason": "max_output_tokens" });
        }
        let mut usage = Usage::default();
        usage.add(output);
        response["usage"] = usage.response_json();
        Ok(response)
    }

    /// The message, with its text if there is one already.
    fn message(&self, status: &str, text: Option<&str>) -> Value {
        let content: Vec<Value> = text.map(part).into_iter().collect();
        json!({
            "id": self.message_id(),
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": content,
        })
    }

    /// All but what only the whole answer has.
    fn response(&self, status: &str) -> Value {
        let request = &self.request;
        json!({
            "id": self.heading.id,
            "object": "response",
            "created_at": self.heading.created,
            "status": status,
            "error": null,
            "incomplete_details": null,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "metadata": request.metadata.clone().unwrap_or_default(),
            "model": self.heading.model,
            "output": [],
            "parallel_tool_calls": false,
            "previous_response_id": null,
            "service_tier": "default",
            "store": false,
            "temperature": self.temperature,
            "text": request.text.clone().unwrap_or_default(),
            "tool_choice": "none",
            "tools": [],
            "top_p": self.top_p,
            "truncation": "disabled",
            "usage": null,
            "user": request.user,
        })
    }
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

fn status(reason: FinishReason) -> &'static str {
    if reason == FinishReason::Length { "incomplete" } else { "completed" }
}
