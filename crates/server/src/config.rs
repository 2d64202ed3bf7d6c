//! What a server is told at its start.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::tools::ToolCallParser;

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
    /// How the model writes calls of tools; `None`: as its chat template does.
    pub tool_call_parser: Option<ToolCallParser>,
    /// Requests may leave it to the model whether it calls a tool.
    pub enable_auto_tool_choice: bool,
}

impl ServerConfig {
    /// vLLM's port, on this machine alone, without keys.
    pub fn new(model_name: impl Into<String>) -> Self {
        ServerConfig {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000),
            served_model_names: vec![model_name.into()],
            api_keys: Vec::new(),
            allowed_origins: Vec::new(),
            max_body_bytes: 32 << 20,
            tool_call_parser: None,
            enable_auto_tool_choice: false,
        }
    }
}
