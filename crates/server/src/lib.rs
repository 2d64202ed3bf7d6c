//! The OpenAI API over the engine, with vLLM's additions, by vLLM's names.
//!
//! ```no_run
//! use engine::Llm;
//! use server::{Reserved, ServerConfig};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let reserved = Reserved::new(ServerConfig::new("my-model"))?;
//! let llm = Llm::builder("model.gguf").build()?;
//! let server = reserved.listen(llm).await?;
//! println!("http://{}", server.local_addr()?);
//! server.serve(std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A request is understood whole or refused: a field that the server does not know, or that it knows and
//! has no code for, is an error that names it. A client that goes away withdraws its request.
#![forbid(unsafe_code)]

mod app;
mod auth;
mod body;
mod config;
mod connections;
mod error;
mod metrics;
mod openai;
mod openapi;
mod operations;
mod origin;
mod page;
mod request_id;
mod request_log;
mod routes;
mod served_model;
mod server;
mod state;
mod tls;
mod tools;
mod traces;
mod write_timeout;

pub use config::{Limits, ServerConfig};
pub use error::ApiError;
pub use served_model::{Endpoint, EngineRequest, Generate, ServedModel};
pub use server::{Reserved, ServeError, Server};
pub use tls::TlsFiles;
pub use tool_calls::{ReasoningParser, ToolCallParser};
pub use traces::{OtlpEndpoint, OtlpEndpointError};
