//! What a server is told at its start.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tool_calls::{ReasoningParser, ToolCallParser};

use crate::tls::TlsFiles;
use crate::traces::OtlpEndpoint;

/// Where the server listens, whom it answers, and its limits.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Address to listen on.
    pub address: SocketAddr,
    /// Names that requests may call the model by; the first one is what answers say. At least one.
    pub served_model_names: Vec<String>,
    /// One of these is wanted in the `Authorization` header of every request but those for health,
    /// version and metrics. Empty: none is.
    pub api_keys: Vec<String>,
    /// Web pages of these origins may ask; `*` is any. Empty: none may.
    pub allowed_origins: Vec<String>,
    /// Largest body of a request, bytes.
    pub max_body_bytes: usize,
    /// Most candidates that a request may ask the log-probabilities of, for each token: an answer holds them all.
    pub max_logprobs: usize,
    /// How many clients there may be, and how long they may take.
    pub limits: Limits,
    /// Encrypts connections; `None`: they are plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Answers have an `X-Request-Id` header: the request's, or one of their own.
    pub enable_request_id_headers: bool,
    /// There is a page at `/`; everybody can read it, with a key or without, and it shows nothing without.
    pub serves_page: bool,
    /// How the model writes calls of tools; `None`: as its chat template does.
    pub tool_call_parser: Option<ToolCallParser>,
    /// How the model writes what it thinks before it answers, if that is to be told apart.
    pub reasoning_parser: Option<ReasoningParser>,
    /// Requests may leave it to the model whether it calls a tool.
    pub enable_auto_tool_choice: bool,
    /// Where a span of OpenTelemetry is sent for each request; `None`: there are none.
    pub otlp_traces_endpoint: Option<OtlpEndpoint>,
}

/// How many clients there may be, and how long they may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at once; who comes then is answered 503. 1 to 1 048 576.
    pub max_num_connections: usize,
    /// For a request's head, and between two requests of a connection.
    pub header_timeout: Duration,
    /// For a request's body.
    pub body_timeout: Duration,
    /// While nothing can be written because the client does not read.
    pub write_timeout: Duration,
    /// From the arrival of a request to the end of its answer; `None`: as long as it takes.
    pub request_timeout: Option<Duration>,
}

impl Limits {
    pub(crate) const MAX_NUM_CONNECTIONS: usize = 1 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_num_connections: 4096,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            request_timeout: None,
        }
    }
}

impl ServerConfig {
    /// As many as in OpenAI's API, and in vLLM.
    pub const DEFAULT_MAX_LOGPROBS: usize = 20;

    /// vLLM's port, on this machine alone, without keys.
    pub fn new(model_name: impl Into<String>) -> Self {
        ServerConfig {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000),
            served_model_names: vec![model_name.into()],
            api_keys: Vec::new(),
            allowed_origins: Vec::new(),
            max_body_bytes: 32 << 20,
            max_logprobs: ServerConfig::DEFAULT_MAX_LOGPROBS,
            limits: Limits::default(),
            tls: None,
            enable_request_id_headers: false,
            serves_page: true,
            tool_call_parser: None,
            reasoning_parser: None,
            enable_auto_tool_choice: false,
            otlp_traces_endpoint: None,
        }
    }
}
