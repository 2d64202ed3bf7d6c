//! What operators and tools ask for, beside answers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::Prompt;
use engine::text::Message;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::App;
use crate::body::{Body, Record};
use crate::error::ApiError;
use crate::served_model::ServedModel;
use crate::tools::ToolFields;

/// Whether the engine's thread works; does not wait for it.
pub(crate) async fn health(State(app): State<Arc<App>>) -> Response {
    if app.llm.is_alive() {
        StatusCode::OK.into_response()
    } else {
        ApiError::overloaded("the engine has stopped; start the server again").into_response()
    }
}

pub(crate) async fn version() -> Json<Value> {
    Json(json!({ "version": env!("CARGO_PKG_VERSION") }))
}

pub(crate) async fn load(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({ "server_load": app.metrics.load() }))
}

pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let page = app.metrics.render(&app.llm.status());
    let page = page.map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], page).into_response())
}

pub(crate) async fn reset_prefix_cache(
    State(app): State<Arc<App>>,
) -> Result<StatusCode, ApiError> {
    if app.llm.with(engine::Llm::reset_prefix_cache).await? {
        Ok(StatusCode::OK)
    } else {
        Err(ApiError::overloaded("requests run, and hold the blocks; try again when none does"))
    }
}

pub(crate) async fn embeddings() -> ApiError {
    ApiError::not_implemented("this model generates text; it has no embeddings")
}

/// `/tokenize`: a text or a conversation.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct TokenizeRequest {
    model: Option<String>,
    prompt: Option<String>,
    messages: Option<Vec<Message>>,
}

/// What a body has.
pub(crate) type ToTokenize = (TokenizeRequest, ToolFields);

impl Record for TokenizeRequest {
    const UNSUPPORTED: &'static [(&'static str, &'static str)] = &[
        ("add_special_tokens", "a text has the tokens that a request would give it"),
        ("return_token_strs", "ask /detokenize for the text of tokens"),
    ];
}

/// What is to be told the tokens of.
pub(crate) fn prompt(
    (request, tools): ToTokenize,
    model: &ServedModel,
) -> Result<Prompt, ApiError> {
    model.check_name(request.model.as_deref())?;
    let tools = tools.into_tools()?;
    match (request.prompt, request.messages) {
        (Some(text), None) if tools.is_empty() => Ok(Prompt::Text(text)),
        (None, Some(messages)) => Ok(Prompt::MessagesWithTools { messages, tools }),
        _ => Err(ApiError::bad_request(
            "give `prompt` or `messages`, one of them; `tools` belong to `messages`",
        )),
    }
}

pub(crate) async fn tokenize(
    State(app): State<Arc<App>>,
    Body(body): Body<ToTokenize>,
) -> Result<Json<Value>, ApiError> {
    let prompt = prompt(body, &app.model)?;
    let token_ids = app.llm.with(move |llm| llm.encode(&prompt)).await??;
    Ok(Json(json!({
        "count": token_ids.len(),
        "max_model_len": app.model.max_model_len,
        "tokens": token_ids,
        "token_strs": null,
    })))
}

/// `/detokenize`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct DetokenizeRequest {
    model: Option<String>,
    tokens: Option<Vec<u32>>,
}

impl Record for DetokenizeRequest {}

/// What is to be told the text of.
pub(crate) fn token_ids(
    request: DetokenizeRequest,
    model: &ServedModel,
) -> Result<Vec<u32>, ApiError> {
    model.check_name(request.model.as_deref())?;
    request.tokens.ok_or_else(|| ApiError::bad_field("tokens", "give `tokens`"))
}

pub(crate) async fn detokenize(
    State(app): State<Arc<App>>,
    Body(request): Body<DetokenizeRequest>,
) -> Result<Json<Value>, ApiError> {
    let tokens = token_ids(request, &app.model)?;
    let text = app.llm.with(move |llm| llm.decode(&tokens)).await??;
    Ok(Json(json!({ "prompt": text })))
}
