//! What all requests share, and who answers which path.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::middleware;
use engine::{AsyncLlm, Llm, SamplingParams};
use tool_calls::ToolCallParser;
use tower_http::cors::CorsLayer;

use crate::auth::{self, ApiKeys};
use crate::config::ServerConfig;
use crate::error::ApiError;
use crate::metrics::Metrics;
use crate::origin;
use crate::page;
use crate::request_id;
use crate::routes::{Route, routes};
use crate::served_model::ServedModel;
use crate::server::ServeError;
use crate::traces::Traces;

/// What all requests share.
pub(crate) struct App {
    pub(crate) llm: AsyncLlm,
    pub(crate) api_keys: ApiKeys,
    pub(crate) metrics: Metrics,
    /// Where requests' spans go.
    pub(crate) traces: Option<Traces>,
    pub(crate) config: ServerConfig,
    pub(crate) model: ServedModel,
    /// Seconds since 1970.
    pub(crate) started: u64,
}

impl App {
    pub(crate) fn new(llm: Llm, config: ServerConfig) -> Result<App, ServeError> {
        let generation = llm.generation_config();
        let mut sampling_defaults = SamplingParams::default();
        if let Some(temperature) = generation.temperature {
            sampling_defaults.temperature = temperature;
        }
        if let Some(top_p) = generation.top_p {
            sampling_defaults.top_p = top_p;
        }
        if let Some(top_k) = generation.top_k {
            sampling_defaults.top_k = i32::try_from(top_k).unwrap_or(0);
        }
        let shown = || ToolCallParser::of_template(llm.chat_template()?.source());
        let tool_call_parser = config.tool_call_parser.or_else(shown);
        if config.enable_auto_tool_choice && tool_call_parser.is_none() {
            return Err(ServeError::ToolCallParser);
        }
        let is_all = config.max_logprobs >= llm.config().vocab_size;
        let model = ServedModel {
            names: config.served_model_names.clone(),
            // How the checkpoint wants to be sampled from, over vLLM's defaults.
            sampling_defaults,
            max_model_len: llm.scheduler_config().max_model_len,
            max_logprobs: if is_all { usize::MAX } else { config.max_logprobs },
            tool_call_parser,
            reasoning_parser: config.reasoning_parser,
            enable_auto_tool_choice: config.enable_auto_tool_choice,
        };
        let (scheduler, kv_dtype) = (llm.scheduler_config(), llm.kv_dtype().name());
        let metrics = Metrics::new(&config.served_model_names[0], scheduler, kv_dtype);
        let traces = config.otlp_traces_endpoint.as_ref().map(Traces::start).transpose()?;
        Ok(App {
            llm: AsyncLlm::with_step_observer(llm, metrics.step_observer())?,
            api_keys: ApiKeys::new(&config.api_keys),
            metrics,
            traces,
            model,
            started: unix_time(),
            config,
        })
    }

    /// The name that answers say.
    pub(crate) fn model_name(&self) -> &str {
        &self.model.names[0]
    }
}

/// Seconds since 1970.
pub(crate) fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// Every path of the server.
pub(crate) fn router(app: &Arc<App>, cors: Option<CorsLayer>) -> Router {
    let (mut guarded, mut open) = (Router::new(), Router::new());
    for Route { path, handler, is_guarded, .. } in routes() {
        let router = if is_guarded { &mut guarded } else { &mut open };
        *router = std::mem::take(router).route(path, handler);
    }
    let guarded = guarded.route_layer(middleware::from_fn_with_state(Arc::clone(app), auth::check));
    if app.config.serves_page {
        open = open.merge(page::routes());
    }
    let router = guarded
        .merge(open)
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(app), origin::check))
        .layer(DefaultBodyLimit::max(app.config.max_body_bytes))
        .layer(middleware::from_fn_with_state(Arc::clone(app), request_id::echo));
    let router = match cors {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router.with_state(Arc::clone(app))
}

async fn unknown_path(uri: Uri) -> ApiError {
    ApiError::not_found(format!("there is nothing at {}; see /v1/models", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    ApiError::method_not_allowed(format!("{} does not take {method}", uri.path()))
}
