//! A span of OpenTelemetry for each request, by vLLM's names, where the feature `otel` is built in.

#[cfg(not(feature = "otel"))]
mod absent;
mod endpoint;
#[cfg(feature = "otel")]
mod otlp;

#[cfg(not(feature = "otel"))]
pub(crate) use absent::{RequestSpan, Traces};
pub use endpoint::{OtlpEndpoint, OtlpEndpointError};
#[cfg(feature = "otel")]
pub(crate) use otlp::{RequestSpan, Traces};
