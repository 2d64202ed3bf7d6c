//! vLLM's metrics, by their names on the wire, so that existing boards show this server.

use std::time::{Duration, Instant};

use engine::output::RequestOutput;
use engine::{EngineStatus, FinishReason, RequestUpdate};
use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

/// Bounds of vLLM's histograms, seconds.
const TTFT_S: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
];
const PER_TOKEN_S: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0,
    40.0, 80.0,
];
const REQUEST_S: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
    480.0, 960.0, 1920.0, 7680.0,
];
const SMALL_COUNTS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0];

/// 1, 2, 5, 10, … tokens.
const TOKENS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0,
    20_000.0, 50_000.0, 100_000.0, 200_000.0,
];

/// All series of one server.
pub(crate) struct Metrics {
    registry: Registry,
    num_requests_running: IntGauge,
    num_requests_waiting: IntGauge,
    kv_cache_usage_perc: Gauge,
    server_load: IntGauge,
    prefix_cache_queries: IntCounter,
    prefix_cache_hits: IntCounter,
    num_preemptions: IntCounter,
    prompt_tokens: IntCounter,
    prompt_tokens_cached: IntCounter,
    generation_tokens: IntCounter,
    request_success: IntCounterVec,
    time_to_first_token: Histogram,
    inter_token_latency: Histogram,
    time_per_output_token: Histogram,
    e2e_request_latency: Histogram,
    request_queue_time: Histogram,
    request_prompt_tokens: Histogram,
    request_generation_tokens: Histogram,
    request_params_n: Histogram,
    request_params_max_tokens: Histogram,
}

/// Makes series in one registry, under one model's name.
struct Maker<'a> {
    registry: &'a Registry,
    model_name: &'a str,
}

impl Maker<'_> {
    fn opts(&self, name: &str, help: &str) -> Opts {
        Opts::new(format!("vllm:{name}"), help)
            .const_label("model_name", self.model_name)
            .const_label("engine", "0")
    }

    fn register<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        made: prometheus::Result<C>,
    ) -> C {
        let series =
            made.expect("names, labels and bounds of metrics are constants that a test makes");
        self.registry.register(Box::new(series.clone())).expect("each name is registered once");
        series
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::with_opts(self.opts(name, help)))
    }

    /// `name` without the `_total` that it has on the wire.
    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::with_opts(self.opts(&format!("{name}_total"), help)))
    }

    fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Histogram {
        let opts = HistogramOpts::from(self.opts(name, help)).buckets(bounds.to_vec());
        self.register(Histogram::with_opts(opts))
    }
}

impl Metrics {
    pub(crate) fn new(model_name: &str) -> Metrics {
        let registry = Registry::new();
        let make = Maker { registry: &registry, model_name };
        let success = make.opts("request_success_total", "Requests that were answered.");
        Metrics {
            num_requests_running: make.gauge("num_requests_running", "Sequences that hold KV."),
            num_requests_waiting: make.gauge("num_requests_waiting", "Sequences that wait."),
            kv_cache_usage_perc: make.register(Gauge::with_opts(
                make.opts("kv_cache_usage_perc", "Part of the KV pool in use; 1 is all of it."),
            )),
            server_load: make.gauge("server_load", "Requests in progress."),
            prefix_cache_queries: make.counter(
                "prefix_cache_queries",
                "Tokens that were looked for in the prefix cache.",
            ),
            prefix_cache_hits: make
                .counter("prefix_cache_hits", "Tokens whose KV was found in the prefix cache."),
            num_preemptions: make
                .counter("num_preemptions", "Times that a sequence lost its KV blocks."),
            prompt_tokens: make.counter("prompt_tokens", "Tokens of prompts."),
            prompt_tokens_cached: make
                .counter("prompt_tokens_cached", "Tokens of prompts that were not computed."),
            generation_tokens: make.counter("generation_tokens", "Tokens of answers."),
            request_success: make.register(IntCounterVec::new(success, &["finished_reason"])),
            time_to_first_token: make.histogram(
                "time_to_first_token_seconds",
                "From the arrival to the first token.",
                TTFT_S,
            ),
            inter_token_latency: make.histogram(
                "inter_token_latency_seconds",
                "Between two tokens of an answer.",
                PER_TOKEN_S,
            ),
            time_per_output_token: make.histogram(
                "request_time_per_output_token_seconds",
                "A request's mean time for a token after the first.",
                PER_TOKEN_S,
            ),
            e2e_request_latency: make.histogram(
                "e2e_request_latency_seconds",
                "From the arrival to the last token.",
                REQUEST_S,
            ),
            request_queue_time: make.histogram(
                "request_queue_time_seconds",
                "From the arrival to the first step.",
                REQUEST_S,
            ),
            request_prompt_tokens: make.histogram(
                "request_prompt_tokens",
                "Tokens of a request's prompt.",
                TOKENS,
            ),
            request_generation_tokens: make.histogram(
                "request_generation_tokens",
                "Tokens of a request's answer.",
                TOKENS,
            ),
            request_params_n: make.histogram(
                "request_params_n",
                "Answers that a request asks for.",
                SMALL_COUNTS,
            ),
            request_params_max_tokens: make.histogram(
                "request_params_max_tokens",
                "Most tokens of an answer.",
                TOKENS,
            ),
            registry,
        }
    }

    /// The page, in Prometheus's text format.
    pub(crate) fn render(&self, status: &EngineStatus) -> Result<String, prometheus::Error> {
        self.num_requests_running.set(status.num_running as i64);
        self.num_requests_waiting.set(status.num_waiting as i64);
        self.kv_cache_usage_perc.set(status.kv_cache_usage());
        raise(&self.prefix_cache_queries, status.stats.num_prefix_query_tokens);
        raise(&self.prefix_cache_hits, status.stats.num_prefix_hit_tokens);
        raise(&self.num_preemptions, status.stats.num_preemptions);
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Requests in progress.
    pub(crate) fn load(&self) -> i64 {
        self.server_load.get()
    }

    /// A request begins; it has ended when what this gives is dropped.
    pub(crate) fn begin(&self, n: usize, max_tokens: usize) -> InProgress {
        self.request_params_n.observe(n as f64);
        self.request_params_max_tokens.observe(max_tokens as f64);
        self.server_load.inc();
        InProgress { server_load: self.server_load.clone(), last: Vec::new() }
    }

    /// Some tokens came.
    pub(crate) fn update(&self, in_progress: &mut InProgress, update: &RequestUpdate) {
        let (num_new, now) = (update.new_token_ids.len(), Instant::now());
        let last = &mut in_progress.last;
        last.resize(last.len().max(update.index + 1), None);
        if num_new > 0 {
            if let Some(before) = last[update.index].replace(now) {
                let each = now.duration_since(before).div_f64(num_new as f64);
                (0..num_new).for_each(|_| self.inter_token_latency.observe(seconds(each)));
            }
            self.generation_tokens.inc_by(num_new as u64);
        }
        if let Some(reason) = update.finish_reason {
            self.request_success.with_label_values(&[reason.name()]).inc();
        }
        if let Some(output) = &update.finished
            && update.finish_reason != Some(FinishReason::Error)
        {
            self.finish(output);
        }
    }

    fn finish(&self, output: &RequestOutput) {
        let (metrics, num_prompt) = (&output.metrics, output.prompt_token_ids.len());
        let num_tokens: usize = output.outputs.iter().map(|output| output.token_ids.len()).sum();
        let longest = output.outputs.iter().map(|output| output.token_ids.len()).max();
        self.prompt_tokens.inc_by(num_prompt as u64);
        self.prompt_tokens_cached.inc_by(metrics.num_cached_tokens as u64);
        self.request_prompt_tokens.observe(num_prompt as f64);
        self.request_generation_tokens.observe(num_tokens as f64);
        self.request_queue_time.observe(metrics.queue_time_s);
        self.time_to_first_token.observe(metrics.time_to_first_token_s);
        self.e2e_request_latency.observe(metrics.e2e_latency_s);
        if let Some(num_more) =
            longest.and_then(|longest| longest.checked_sub(1)).filter(|&n| n > 0)
        {
            let decode_s = metrics.e2e_latency_s - metrics.time_to_first_token_s;
            self.time_per_output_token.observe(decode_s / num_more as f64);
        }
    }
}

/// A request that counts as load until it is dropped.
pub(crate) struct InProgress {
    server_load: IntGauge,
    /// When each sequence gave its last token.
    last: Vec<Option<Instant>>,
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.server_load.dec();
    }
}

/// Sets a counter to a total that is counted elsewhere.
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_vllms_on_the_wire() {
        let metrics = Metrics::new("m");
        drop(metrics.begin(2, 16));
        let status = EngineStatus {
            num_running: 3,
            num_blocks: 4,
            num_used_blocks: 1,
            ..Default::default()
        };
        let page = metrics.render(&status).unwrap();
        for line in [
            "# TYPE vllm:num_requests_running gauge",
            "vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 3",
            "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"m\"} 0.25",
            "# TYPE vllm:prompt_tokens_total counter",
            "# TYPE vllm:time_to_first_token_seconds histogram",
            "vllm:request_params_n_count{engine=\"0\",model_name=\"m\"} 1",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }

    #[test]
    fn totals_of_the_engine_are_not_added_twice() {
        let metrics = Metrics::new("m");
        let mut status = EngineStatus::default();
        for total in [2, 5, 5] {
            status.stats.num_preemptions = total;
            metrics.render(&status).unwrap();
        }
        assert_eq!(metrics.num_preemptions.get(), 5);
    }
}
