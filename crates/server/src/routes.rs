//! Every path of the server: who answers it, and what is said of it in `/openapi.json`.

use std::sync::Arc;

use axum::handler::Handler;
use axum::routing::{self, MethodRouter};
use schemars::{Schema, SchemaGenerator};

use crate::app::App;
use crate::body::Fields;
use crate::openai::{chat, completions, models, responses};
use crate::openapi;
use crate::operations;
use crate::state;

/// A method of a path.
pub(crate) struct Route {
    pub(crate) path: &'static str,
    pub(crate) method: &'static str,
    pub(crate) summary: &'static str,
    /// Whether a key is wanted, where the server has keys.
    pub(crate) is_guarded: bool,
    /// What its body is read as, if it has one.
    pub(crate) body: Option<fn(&mut SchemaGenerator) -> Schema>,
    pub(crate) answer: Answer,
    /// Statuses of its errors, besides those that all paths and all bodies have.
    pub(crate) errors: &'static [u16],
    pub(crate) handler: MethodRouter<Arc<App>>,
}

/// What comes with status 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing: the status is the answer.
    Empty,
    Text,
    /// An object with at least these fields.
    Object(&'static [&'static str]),
    /// The same, or events if `stream` is asked for.
    ObjectOrEvents(&'static [&'static str]),
    /// There is none.
    Never,
}

impl Route {
    fn get<H: Handler<T, Arc<App>>, T: 'static>(
        path: &'static str,
        handler: H,
        summary: &'static str,
        answer: Answer,
    ) -> Route {
        let handler = routing::get(handler);
        let (method, is_guarded) = ("get", path.starts_with("/v1/"));
        Route { path, method, summary, is_guarded, body: None, answer, errors: &[], handler }
    }

    fn post<H: Handler<T, Arc<App>>, T: 'static>(
        path: &'static str,
        handler: H,
        summary: &'static str,
        answer: Answer,
    ) -> Route {
        let handler = routing::post(handler);
        let method = "post";
        Route { path, method, summary, is_guarded: true, body: None, answer, errors: &[], handler }
    }

    fn body<T: Fields>(self) -> Route {
        Route { body: Some(T::schema), ..self }
    }

    fn errors(self, errors: &'static [u16]) -> Route {
        Route { errors, ..self }
    }

    fn open(self) -> Route {
        Route { is_guarded: false, ..self }
    }

    fn guarded(self) -> Route {
        Route { is_guarded: true, ..self }
    }
}

const GENERATED: &[u16] = &[404, 503, 504];

/// All of them.
pub(crate) fn routes() -> Vec<Route> {
    use Answer::{Empty, Never, Object, ObjectOrEvents, Text};
    let whole = ObjectOrEvents(&["id", "object", "created", "model", "choices", "usage"]);
    let response = ObjectOrEvents(&["id", "object", "created_at", "model", "output", "usage"]);
    let tokens = Object(&["count", "max_model_len", "tokens"]);
    vec![
        Route::get(
            "/v1/models",
            models::list,
            "The model, by each of its names",
            Object(&["object", "data"]),
        ),
        Route::get(
            "/v1/models/{model}",
            models::one,
            "The model",
            Object(&["id", "object", "max_model_len"]),
        )
        .errors(&[404]),
        Route::post("/v1/chat/completions", chat::answer, "Goes on with a conversation", whole)
            .body::<chat::Asked>()
            .errors(GENERATED),
        Route::post("/v1/completions", completions::answer, "Goes on with texts", whole)
            .body::<completions::Asked>()
            .errors(GENERATED),
        Route::post("/v1/responses", responses::answer, "Answers a conversation", response)
            .body::<responses::ResponseRequest>()
            .errors(GENERATED),
        Route::post("/v1/embeddings", operations::embeddings, "Refused: the model has none", Never)
            .errors(&[501]),
        Route::post(
            "/tokenize",
            operations::tokenize,
            "The tokens of a text or a conversation",
            tokens,
        )
        .body::<operations::ToTokenize>()
        .errors(&[404, 503]),
        Route::post(
            "/detokenize",
            operations::detokenize,
            "The text of tokens",
            Object(&["prompt"]),
        )
        .body::<operations::DetokenizeRequest>()
        .errors(&[404, 503]),
        Route::post(
            "/reset_prefix_cache",
            operations::reset_prefix_cache,
            "Forgets all cached KV",
            Empty,
        )
        .errors(&[503]),
        Route::get("/health", operations::health, "Whether the engine works", Empty).errors(&[503]),
        Route::get("/ping", operations::health, "As /health", Empty).errors(&[503]),
        Route::post("/ping", operations::health, "As /health", Empty).errors(&[503]).open(),
        Route::get("/version", operations::version, "The server's version", Object(&["version"])),
        Route::get("/load", operations::load, "Requests in progress", Object(&["server_load"])),
        Route::get("/metrics", operations::metrics, "For Prometheus", Text),
        Route::get(
            "/kvasir/state",
            state::answer,
            "Scheduler, KV blocks and tiers at one moment",
            Object(&["model", "version", "scheduler", "kv_blocks", "prompt_tokens", "kv_store"]),
        )
        .guarded()
        .errors(&[503]),
        Route::get(
            "/openapi.json",
            openapi::answer,
            "This document",
            Object(&["openapi", "paths"]),
        ),
    ]
}
