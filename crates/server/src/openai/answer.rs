//! From a request in the engine to events or to a whole answer.

use std::convert::Infallible;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use engine::output::{RequestOutput, StopReason};
use engine::{RequestStream, RequestUpdate};
use futures_util::stream::{self, Stream, StreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{self, Instant};
use uuid::Uuid;

use crate::app::{App, unix_time};
use crate::error::ApiError;
use crate::metrics::InProgress;
use crate::request_log::RequestLog;
use crate::served_model::Generate;
use crate::traces::Traces;

/// What comes besides the answer in a stream.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct StreamOptions {
    /// Ends with a chunk that has the usage.
    pub(super) include_usage: bool,
    /// With it: every chunk has the usage of its sequence so far.
    pub(super) continuous_usage_stats: bool,
}

/// Fails for what belongs to a stream alone, or to a whole answer alone.
pub(super) fn check_stream(
    stream: Option<bool>,
    options: Option<StreamOptions>,
    prompt_logprobs: Option<i32>,
) -> Result<(), ApiError> {
    let is_streamed = stream == Some(true);
    if options.is_some() && !is_streamed {
        let message = "`stream_options` needs `stream`: true";
        return Err(ApiError::bad_field("stream_options", message));
    }
    if prompt_logprobs.is_some() && is_streamed {
        let message = "a stream has no `prompt_logprobs`; leave `stream` out, or have /v1/completions `echo` the prompt with `logprobs`";
        return Err(ApiError::bad_field("prompt_logprobs", message));
    }
    Ok(())
}

/// What all chunks of an answer say of it.
#[derive(Clone, Debug)]
pub(super) struct Heading {
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) model: String,
}

impl Heading {
    /// With an id of its own, or the caller's.
    pub(super) fn new(app: &App, prefix: &str, request_id: Option<String>) -> Self {
        let id = request_id.unwrap_or_else(|| Uuid::new_v4().simple().to_string());
        let model = app.model_name().to_owned();
        Heading { id: format!("{prefix}-{id}"), created: unix_time(), model }
    }

    /// A chunk of this kind.
    pub(super) fn chunk(&self, object: &str, choices: Vec<Value>, usage: Option<Value>) -> Value {
        let mut chunk = json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        });
        if let Some(usage) = usage {
            chunk["usage"] = usage;
        }
        chunk
    }
}

/// A request that the engine has taken. Dropping it withdraws the request.
pub(super) struct Running {
    app: Arc<App>,
    stream: RequestStream,
    deadline: Option<Instant>,
    in_progress: InProgress,
    log: RequestLog,
}

impl Running {
    pub(super) async fn start(
        app: &Arc<App>,
        heading: &Heading,
        headers: &HeaderMap,
        generate: Generate,
    ) -> Result<Running, ApiError> {
        let Generate { prompt, params, options } = generate;
        let begin = |traces: &Traces| traces.begin(&heading.id, headers, &params);
        let mut log = RequestLog::new(&heading.id, app.traces.as_ref().map(begin));
        let (n, max_tokens) = (params.n, params.max_tokens);
        let limit = app.config.limits.request_timeout;
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let stream = app.llm.generate_with(prompt, params, options).await;
        let stream = stream.inspect_err(|error| {
            app.metrics.refuse(error);
            log.refuse(error);
        })?;
        let in_progress = app.metrics.begin(n, max_tokens);
        Ok(Running { app: Arc::clone(app), stream, deadline, in_progress, log })
    }

    async fn next(&mut self) -> Option<Result<RequestUpdate, ApiError>> {
        let next = self.stream.next();
        let next = match self.deadline {
            None => next.await,
            Some(deadline) => match time::timeout_at(deadline, next).await {
                Ok(next) => next,
                Err(_) => return Some(Err(self.timed_out())),
            },
        };
        let update = match next? {
            Ok(update) => update,
            Err(error) => {
                self.log.fail(&error);
                return Some(Err(error.into()));
            }
        };
        self.app.metrics.update(&mut self.in_progress, &update);
        Some(match update.error {
            Some(error) => {
                self.log.fail(&error);
                Err(ApiError::internal(error.to_string()))
            }
            None => {
                update.finished.iter().for_each(|output| self.log.finish(output));
                Ok(update)
            }
        })
    }

    fn timed_out(&mut self) -> ApiError {
        let limit = self.app.config.limits.request_timeout.unwrap_or_default().as_secs_f64();
        self.log.time_out(limit);
        ApiError::timed_out(format!("the answer was not complete within {limit} s; ask for less"))
    }

    /// The whole answer.
    pub(super) async fn finish(mut self) -> Result<RequestOutput, ApiError> {
        while let Some(update) = self.next().await {
            if let Some(output) = update?.finished {
                return Ok(output);
            }
        }
        Err(ApiError::internal("the engine ended the request without an answer"))
    }

    /// Its updates, up to the last one or an error.
    pub(super) fn updates(self) -> impl Stream<Item = Result<RequestUpdate, ApiError>> + Send {
        stream::unfold(Some(self), async |running| {
            let mut running = running?;
            let update = running.next().await?;
            let is_last = update.as_ref().map_or(true, |update| update.finished.is_some());
            Some((update, (!is_last).then_some(running)))
        })
    }
}

/// The text or token that ended an answer.
pub(super) fn stop_reason(reason: Option<&StopReason>) -> Value {
    match reason {
        None => Value::Null,
        Some(StopReason::Text(text)) => Value::from(text.as_str()),
        Some(StopReason::Token(token_id)) => Value::from(*token_id),
    }
}

/// Server-sent events with a name each, as `/v1/responses` has them.
pub(super) fn named_events(
    named: impl Stream<Item = (&'static str, Value)> + Send + 'static,
) -> Response {
    let event = |(name, data): (&'static str, Value)| {
        Ok::<_, Infallible>(Event::default().event(name).data(data.to_string()))
    };
    Sse::new(named.map(event)).keep_alive(KeepAlive::default()).into_response()
}

/// Server-sent events, with the mark of the end.
pub(super) fn events(chunks: impl Stream<Item = Value> + Send + 'static) -> Response {
    let data = chunks.map(|chunk| chunk.to_string());
    let data = data.chain(stream::once(async { "[DONE]".to_owned() }));
    let events = data.map(|data| Ok::<_, Infallible>(Event::default().data(data)));
    // An answer that waits in the queue sends a comment now and then, so that nobody hangs up.
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}
