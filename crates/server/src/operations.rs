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
use crate::openai::template::TemplateFields;
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
    /// Whether the tokenizer puts its tokens around the text: around a prompt it does, around what a template wrote not.
    add_special_tokens: Option<bool>,
    /// Whether the answer has each token's text as well.
    return_token_strs: Option<bool>,
}

/// What a body has.
pub(crate) type ToTokenize = (TokenizeRequest, (ToolFields, TemplateFields));

impl Record for TokenizeRequest {}

/// What is to be told the tokens of.
pub(crate) fn prompt(
    (request, (tools, template)): ToTokenize,
    model: &ServedModel,
) -> Result<Prompt, ApiError> {
    model.check_name(request.model.as_deref())?;
    let tools = tools.into_tools()?;
    match (request.prompt, request.messages) {
        (Some(text), None) if tools.is_empty() && template == TemplateFields::default() => {
            Ok(match request.add_special_tokens {
                Some(false) => Prompt::BareText(text),
                _ => Prompt::Text(text),
            })
        }
        (None, Some(messages)) => {
            let add_special_tokens = request.add_special_tokens.unwrap_or(false);
            template.conversation(messages, tools, add_special_tokens).map(Prompt::Chat)
        }
        _ => Err(ApiError::bad_request(
            "give `prompt` or `messages`, one of them; `tools` and what is for the chat template belong to `messages`",
        )),
    }
}

pub(crate) async fn tokenize(
    State(app): State<Arc<App>>,
    Body(body): Body<ToTokenize>,
) -> Result<Json<Value>, ApiError> {
    let has_texts = body.0.return_token_strs.unwrap_or(false);
    let prompt = prompt(body, &app.model)?;
    let tokens = app.llm.with(move |llm| {
        let token_ids = llm.encode(&prompt)?;
        let texts = has_texts.then(|| llm.token_texts(&token_ids)).transpose()?;
        Ok::<_, engine::LlmError>((token_ids, texts))
    });
    let (token_ids, texts) = tokens.await??;
    Ok(Json(json!({
        "count": token_ids.len(),
        "max_model_len": app.model.max_model_len,
        "tokens": token_ids,
        "token_strs": texts,
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
