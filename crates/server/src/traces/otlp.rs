//! Spans, sent by the SDK's own thread: whoever answers requests never waits for a collector.

use std::fmt::Display;
use std::time::Duration;

use axum::http::HeaderMap;
use engine::SamplingParams;
use engine::output::RequestOutput;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Span as _, SpanKind, Status, Tracer as _, TracerProvider as _};
use opentelemetry::{Array, Key, KeyValue, StringValue, Value};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span};

use super::OtlpEndpoint;
use crate::server::ServeError;

/// Who asks, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES says otherwise.
const SERVICE_NAME: &str = "kvasir";

/// Longest that a server which stops waits for its collector.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// What the OpenTelemetry conventions have besides vLLM's names.
const FINISH_REASONS: &str = "gen_ai.response.finish_reasons";

/// Spans on their way to one collector. Those that it does not take are dropped, and the log says so.
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    pub(crate) fn start(endpoint: &OtlpEndpoint) -> Result<Traces, ServeError> {
        // reqwest is built without cryptography of its own; whoever came first has chosen the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint.url())
            .build()
            .map_err(|error| ServeError::Traces(error.to_string()))?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource())
            .build();
        let tracer = provider.tracer(SERVICE_NAME);
        Ok(Traces { provider, tracer })
    }

    /// A request's span, below the one that its `traceparent` header names.
    pub(crate) fn begin(
        &self,
        request_id: &str,
        headers: &HeaderMap,
        params: &SamplingParams,
    ) -> RequestSpan {
        let parent = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
        let builder = self.tracer.span_builder("llm_request").with_kind(SpanKind::Server);
        let builder = builder.with_attributes([
            KeyValue::new("gen_ai.request.id", request_id.to_owned()),
            KeyValue::new("gen_ai.request.temperature", f64::from(params.temperature)),
            KeyValue::new("gen_ai.request.top_p", f64::from(params.top_p)),
            count("gen_ai.request.max_tokens", params.max_tokens),
            count("gen_ai.request.n", params.n),
        ]);
        RequestSpan(builder.start_with_context(&self.tracer, &parent))
    }

    /// Sends what is left.
    pub(crate) fn shut_down(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(SHUTDOWN_TIMEOUT) {
            tracing::warn!("the last spans may be lost: {error}; check --otlp-traces-endpoint");
        }
    }
}

fn resource() -> Resource {
    let told = Resource::builder().build();
    let name = told.get(&Key::from_static_str("service.name"));
    match name {
        Some(name) if !name.as_str().starts_with("unknown_service") => told,
        _ => Resource::builder().with_service_name(SERVICE_NAME).build(),
    }
}

/// A request's span, which ends when it is dropped.
pub(crate) struct RequestSpan(Span);

impl RequestSpan {
    /// The request is answered.
    pub(crate) fn finish(&mut self, output: &RequestOutput) {
        let metrics = &output.metrics;
        let (queued, first, last) =
            (metrics.queue_time_s, metrics.time_to_first_token_s, metrics.e2e_latency_s);
        let num_generated: usize = output.outputs.iter().map(|output| output.token_ids.len()).sum();
        self.0.set_attributes([
            count("gen_ai.usage.prompt_tokens", output.prompt_token_ids.len()),
            count("gen_ai.usage.completion_tokens", num_generated),
            KeyValue::new("gen_ai.latency.time_in_queue", queued),
            KeyValue::new("gen_ai.latency.time_to_first_token", first),
            KeyValue::new("gen_ai.latency.e2e", last),
            KeyValue::new("gen_ai.latency.time_in_model_prefill", first - queued),
            KeyValue::new("gen_ai.latency.time_in_model_decode", last - first),
            KeyValue::new("gen_ai.latency.time_in_model_inference", last - queued),
        ]);
        self.end_by(output.outputs.iter().map(|output| output.finish_reason.name()));
    }

    /// The request ends without its whole answer, and its client is told why.
    pub(crate) fn fail(&mut self, why: &dyn Display) {
        self.0.set_status(Status::error(why.to_string()));
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn abort(&mut self) {
        self.end_by(["abort"]);
    }

    fn end_by(&mut self, reasons: impl IntoIterator<Item = &'static str>) {
        let reasons: Vec<StringValue> = reasons.into_iter().map(StringValue::from).collect();
        self.0.set_attribute(KeyValue::new(FINISH_REASONS, Value::Array(Array::String(reasons))));
    }
}

fn count(name: &'static str, count: usize) -> KeyValue {
    KeyValue::new(name, i64::try_from(count).unwrap_or(i64::MAX))
}
