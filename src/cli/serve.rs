//! `kvasir serve`: the OpenAI API over one model.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use engine::LogprobsMode;
use engine::text::ChatTemplate;
use server::{
    Limits, OtlpEndpoint, ReasoningParser, Reserved, ServeError, ServerConfig, TlsFiles,
    ToolCallParser,
};
use tokio::signal;

use super::args::{EngineArgs, LogprobsModeArg};
use super::engine_setup::{self, EngineSetup};
use super::error::CliError;
use super::kv_store_args::KvStoreArgs;
use super::scheduler_args::SchedulerArgs;

/// `kvasir serve`.
#[derive(Args, Debug)]
#[command(after_help = SERVE_HELP)]
pub(crate) struct ServeArgs {
    /// The model: as --model, which it replaces
    #[arg(value_name = "MODEL", conflicts_with = "model")]
    model_name: Option<String>,

    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    scheduler: SchedulerArgs,
    #[command(flatten)]
    kv_store: KvStoreArgs,

    /// Seed of the random numbers of requests that have none
    #[arg(long)]
    seed: Option<u64>,

    /// What log-probabilities are of
    #[arg(long, value_enum, default_value_t = LogprobsModeArg::RawLogprobs)]
    logprobs_mode: LogprobsModeArg,
}

/// Where the server listens, and whom it answers.
#[derive(Args, Debug)]
#[command(next_help_heading = "HTTP")]
struct HttpArgs {
    /// Address to listen on; 0.0.0.0 is all of this machine's
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,

    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 8000)]
    port: u16,

    /// Answer only requests with this key (repeatable)
    #[arg(long = "api-key", value_name = "KEY")]
    api_keys: Vec<String>,

    /// What requests call the model (repeatable) [default: as it was given]
    #[arg(long = "served-model-name", value_name = "NAME")]
    served_model_names: Vec<String>,

    /// Let web pages of this origin ask; * is any (repeatable)
    #[arg(long = "allowed-origin", value_name = "ORIGIN")]
    allowed_origins: Vec<String>,

    /// Let the model decide whether it calls one of a request's tools, as vLLM does
    #[arg(long)]
    enable_auto_tool_choice: bool,

    /// How the model writes calls of tools [default: as its chat template does]
    #[arg(long, value_name = "FORM", value_parser = tool_call_parser)]
    tool_call_parser: Option<ToolCallParser>,

    /// Tell what the model thinks apart from its answers, by how it writes that: qwen3, deepseek_r1
    #[arg(long, value_name = "FORM", value_parser = reasoning_parser)]
    reasoning_parser: Option<ReasoningParser>,

    /// Put conversations into words by this file's Jinja template, not by the model's own
    #[arg(long, value_name = "FILE")]
    chat_template: Option<PathBuf>,

    /// Largest body of a request
    #[arg(long, value_name = "BYTES", default_value_t = 32 << 20)]
    max_body_bytes: usize,

    /// Most candidates of a token whose log-probabilities a request may ask for: an answer holds them all
    #[arg(long, value_name = "N", default_value_t = ServerConfig::DEFAULT_MAX_LOGPROBS)]
    max_logprobs: usize,

    #[command(flatten)]
    limits: LimitArgs,

    /// Encrypt connections with this certificate, in PEM, with those that vouch for it
    #[arg(long, value_name = "FILE", requires = "ssl_keyfile")]
    ssl_certfile: Option<PathBuf>,

    /// The certificate's private key, in PEM
    #[arg(long, value_name = "FILE", requires = "ssl_certfile")]
    ssl_keyfile: Option<PathBuf>,

    /// Give answers the X-Request-Id of their request, or one of their own
    #[arg(long)]
    enable_request_id_headers: bool,

    /// Send a span for each request to this collector of OpenTelemetry: OTLP as protobuf over HTTP, like
    /// http://localhost:4318/v1/traces. Needs a build with --features otel
    #[arg(long, value_name = "URL")]
    otlp_traces_endpoint: Option<OtlpEndpoint>,

    /// Serve no page at /
    #[arg(long)]
    disable_page: bool,
}

/// How many clients there may be, and how long they may take.
#[derive(Args, Debug)]
struct LimitArgs {
    /// Most connections at once; who comes then is told to try again
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_num_connections)]
    max_connections: usize,

    /// Longest that a request's head may take, or a connection be idle
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    header_timeout: Duration,

    /// Longest that a request's body may take
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    body_timeout: Duration,

    /// Longest that a client may read nothing of its answer
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    write_timeout: Duration,

    /// Longest that a request may take, from its arrival to the end of its answer [default: no limit]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    request_timeout: Option<Duration>,
}

const SERVE_HELP: &str = "\
    curl http://localhost:8000/v1/chat/completions -H 'Content-Type: application/json' \\
        -d '{\"messages\": [{\"role\": \"user\", \"content\": \"Why is the sky blue?\"}]}'

A browser finds a chat, and a view of the scheduler and of the KV blocks, at http://localhost:8000.
/metrics has vLLM's names. Ctrl-C takes no more requests, and ends when those in progress are answered.";

pub(crate) fn run(mut args: ServeArgs) -> Result<(), CliError> {
    if let Some(model) = args.model_name.take() {
        args.engine.model = model;
    }
    let chat_template = args.http.chat_template.as_deref().map(ChatTemplate::from_file);
    let chat_template =
        chat_template.transpose().map_err(|error| CliError::from_usage_error(&error))?;
    let reserved = Reserved::new(args.http.config(&args.engine.model));
    let reserved = reserved.map_err(|error| serve_error(&error))?;
    let mut llm = engine_setup::load(&EngineSetup {
        engine: &args.engine,
        scheduler: &args.scheduler,
        kv_store: &args.kv_store,
        logprobs_mode: LogprobsMode::from(args.logprobs_mode),
        seed: args.seed,
        record: None,
    })?;
    if let Some(chat_template) = chat_template {
        llm.set_chat_template(chat_template);
    }
    let device = llm.device_name();
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| CliError::internal(format!("cannot start threads: {error}")))?;
    runtime
        .block_on(async {
            let server = reserved.listen(llm).await?;
            let url = server.url()?;
            tracing::info!(model = args.engine.model, device, "serving");
            tracing::info!("listening on {url}");
            server.serve(asked_to_stop()).await
        })
        .map_err(|error| serve_error(&error))
}

impl HttpArgs {
    fn config(self, model: &str) -> ServerConfig {
        let mut config = ServerConfig::new(model);
        config.address = SocketAddr::new(self.host, self.port);
        if !self.served_model_names.is_empty() {
            config.served_model_names = self.served_model_names;
        }
        config.api_keys = self.api_keys;
        config.allowed_origins = self.allowed_origins;
        config.max_body_bytes = self.max_body_bytes;
        config.max_logprobs = self.max_logprobs;
        config.tool_call_parser = self.tool_call_parser;
        config.reasoning_parser = self.reasoning_parser;
        config.enable_auto_tool_choice = self.enable_auto_tool_choice;
        config.limits.max_num_connections = self.limits.max_connections;
        config.limits.header_timeout = self.limits.header_timeout;
        config.limits.body_timeout = self.limits.body_timeout;
        config.limits.write_timeout = self.limits.write_timeout;
        config.limits.request_timeout = self.limits.request_timeout;
        config.tls = self.ssl_certfile.zip(self.ssl_keyfile).map(|(c, k)| TlsFiles::new(c, k));
        config.otlp_traces_endpoint = self.otlp_traces_endpoint;
        config.enable_request_id_headers = self.enable_request_id_headers;
        config.serves_page = !self.disable_page;
        config
    }
}

/// A year. The sum of a point in time and any duration at all may be none.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it must be a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() && duration <= LONGEST_TIMEOUT => Ok(duration),
        _ => Err("it must be more than 0 seconds, and no more than a year".to_owned()),
    }
}

fn tool_call_parser(name: &str) -> Result<ToolCallParser, String> {
    let found = ToolCallParser::ALL.into_iter().find(|parser| parser.name() == name);
    found.ok_or_else(|| one_of(&ToolCallParser::ALL.map(ToolCallParser::name)))
}

fn reasoning_parser(name: &str) -> Result<ReasoningParser, String> {
    let found = ReasoningParser::ALL.into_iter().find(|parser| parser.name() == name);
    found.ok_or_else(|| one_of(&ReasoningParser::ALL.map(ReasoningParser::name)))
}

fn one_of(names: &[&str]) -> String {
    format!("it must be one of {}", names.join(", "))
}

/// Ctrl-C, or what service managers send.
async fn asked_to_stop() {
    let interrupted = signal::ctrl_c();
    #[cfg(unix)]
    if let Ok(mut terminated) = signal::unix::signal(signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = interrupted => {}
            _ = terminated.recv() => {}
        }
        return;
    }
    let _ = interrupted.await;
}

fn serve_error(error: &ServeError) -> CliError {
    match error {
        ServeError::Engine(error) => engine_setup::engine_error(error),
        ServeError::Io(_) => CliError::from_internal_error(error),
        error => CliError::from_usage_error(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_a_time_that_can_pass() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("31536000"), Ok(LONGEST_TIMEOUT));
        for text in ["0", "-1", "1e-12", "31536001", "1e19", "1e300", "inf", "nan", "", "1s"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
