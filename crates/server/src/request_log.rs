//! What an operator is told of requests: one event for each, at its end, in a span with its id; and a span of
//! OpenTelemetry.

use std::fmt::Display;

use engine::LlmError;
use engine::output::RequestOutput;
use tracing::Span;

use crate::traces::RequestSpan;

/// The target of these events: `server::requests=debug` in a filter turns them on.
const TARGET: &str = "server::requests";

/// A request in the log, from its arrival to its end. What clients send is in texts alone, which the log escapes.
///
/// Events are within the span, not of it by name: a filter looks at the spans that were entered.
pub(crate) struct RequestLog {
    span: Span,
    trace: Option<RequestSpan>,
    is_over: bool,
}

impl RequestLog {
    pub(crate) fn new(request_id: &str, trace: Option<RequestSpan>) -> RequestLog {
        // As high as its highest event: a filter that shows a failure shows whose it is.
        let span = tracing::error_span!(target: TARGET, "request", id = request_id);
        RequestLog { span, trace, is_over: false }
    }

    /// The request is answered.
    pub(crate) fn finish(&mut self, output: &RequestOutput) {
        self.is_over = true;
        if let Some(trace) = &mut self.trace {
            trace.finish(output);
        }
        let mut reasons: Vec<&str> =
            output.outputs.iter().map(|output| output.finish_reason.name()).collect();
        reasons.dedup();
        let generated_tokens: usize =
            output.outputs.iter().map(|output| output.token_ids.len()).sum();
        let metrics = &output.metrics;
        let _in_span = self.span.enter();
        tracing::debug!(
            target: TARGET,
            prompt_tokens = output.prompt_token_ids.len(),
            cached_tokens = output.prompt_kv.num_cached_tokens,
            loaded_tokens = metrics.num_loaded_tokens.total(),
            generated_tokens,
            queue_s = metrics.queue_time_s,
            ttft_s = metrics.time_to_first_token_s,
            latency_s = metrics.e2e_latency_s,
            preemptions = metrics.num_preemptions,
            finish_reason = reasons.join(","),
            "finished"
        );
    }

    /// The request is refused, and its client told why.
    pub(crate) fn refuse(&mut self, error: &LlmError) {
        self.end_in_error(error);
        let _in_span = self.span.enter();
        tracing::debug!(target: TARGET, error = error.to_string(), "refused");
    }

    /// The request ends without its whole answer.
    pub(crate) fn fail(&mut self, error: &dyn Display) {
        self.end_in_error(error);
        let _in_span = self.span.enter();
        tracing::error!(target: TARGET, error = error.to_string(), "failed");
    }

    /// The answer took longer than it may.
    pub(crate) fn time_out(&mut self, limit_s: f64) {
        self.end_in_error(&format!("the answer took longer than {limit_s} s"));
        let _in_span = self.span.enter();
        tracing::warn!(target: TARGET, limit_s, "timed out");
    }

    fn end_in_error(&mut self, why: &dyn Display) {
        self.is_over = true;
        if let Some(trace) = &mut self.trace {
            trace.fail(why);
        }
    }
}

impl Drop for RequestLog {
    fn drop(&mut self) {
        if !self.is_over {
            if let Some(trace) = &mut self.trace {
                trace.abort();
            }
            let _in_span = self.span.enter();
            tracing::debug!(target: TARGET, "its client went away");
        }
    }
}
