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

pub(crate) async fn tokenize(
    State(app): State<Arc<App>>,
    Body((request, tools)): Body<ToTokenize>,
) -> Result<Json<Value>, ApiError> {
    app.check_model(request.model.as_deref())?;
    let tools = tools.into_tools()?;
    let prompt = match (request.prompt, request.messages) {
        (Some(text), None) if tools.is_empty() => Prompt::Text(text),
        (None, Some(messages)) => Prompt::MessagesWithTools { messages, tools },
        _ => {
            return Err(ApiError::bad_request(
                "give `prompt` or `messages`, one of them; `tools` belong to `messages`",
            ));
        }
    };
    let token_ids = app.llm.with(move |llm| llm.encode(&prompt)).await??;
    Ok(Json(json!({
        "count": token_ids.len(),
        "max_model_len": app.max_model_len,
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

pub(crate) async fn detokenize(
    State(app): State<Arc<App>>,
    Body(request): Body<DetokenizeRequest>,
) -> Result<Json<Value>, ApiError> {
    app.check_model(request.model.as_deref())?;
    let tokens = request.tokens.ok_or_else(|| ApiError::bad_field("tokens", "give `tokens`"))?;
    let text = app.llm.with(move |llm| llm.decode(&tokens)).await??;
    Ok(Json(json!({ "prompt": text })))
}
