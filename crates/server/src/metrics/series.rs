//! Names, labels and bounds of vLLM's series.

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
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
const PREEMPTIONS: &[f64] = &[1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0];
const STEP_TOKENS: &[f64] =
    &[1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0];

/// 1, 2, 5, 10, … tokens.
const TOKENS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0,
    20_000.0, 50_000.0, 100_000.0, 200_000.0,
];

/// vLLM's labels of what this engine's cache has too.
const CACHE_CONFIG_LABELS: [&str; 5] =
    ["block_size", "cache_dtype", "enable_prefix_caching", "num_cpu_blocks", "num_gpu_blocks"];

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

    fn gauges(&self, name: &str, help: &str, label: &str) -> IntGaugeVec {
        self.register(IntGaugeVec::new(self.opts(name, help), &[label]))
    }

    /// `name` without the `_total` that it has on the wire.
    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::with_opts(self.opts(&format!("{name}_total"), help)))
    }

    /// One for each of the label's `values`, which are all there from the start.
    fn counters(&self, name: &str, help: &str, label: &str, values: &[&str]) -> IntCounterVec {
        let opts = self.opts(&format!("{name}_total"), help);
        let counters = self.register(IntCounterVec::new(opts, &[label]));
        values.iter().for_each(|&value| drop(counters.with_label_values(&[value])));
        counters
    }

    fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Histogram {
        let opts = HistogramOpts::from(self.opts(name, help)).buckets(bounds.to_vec());
        self.register(Histogram::with_opts(opts))
    }
}

macro_rules! series {
    ($make:ident; $($field:ident: $kind:ty = $made:expr;)*) => {
        /// All series of one server, by their names. Clones count together.
        #[derive(Clone)]
        pub(super) struct Series {
            $(pub(super) $field: $kind,)*
        }

        impl Series {
            pub(super) fn new(registry: &Registry, model_name: &str) -> Series {
                let $make = Maker { registry, model_name };
                Series { $($field: $made,)* }
            }
        }
    };
}

series! { make;
    num_requests_running: IntGauge = make.gauge("num_requests_running", "Sequences that hold KV.");
    num_requests_waiting: IntGauge = make.gauge("num_requests_waiting", "Sequences that wait.");
    num_requests_waiting_by_reason: IntGaugeVec = make.gauges(
        "num_requests_waiting_by_reason",
        "Sequences that wait for room (capacity), or for KV that is being loaded (deferred).",
        "reason",
    );
    engine_sleep_state: IntGaugeVec = make.gauges(
        "engine_sleep_state",
        "1 for the state that the engine is in; this one is always awake.",
        "sleep_state",
    );
    kv_cache_usage_perc: Gauge = make.register(Gauge::with_opts(
        make.opts("kv_cache_usage_perc", "Part of the KV pool in use; 1 is all of it."),
    ));
    cache_config_info: IntGaugeVec = make.register(IntGaugeVec::new(
        make.opts("cache_config_info", "1, with what the KV cache was started with as labels."),
        &CACHE_CONFIG_LABELS,
    ));
    prefix_cache_queries: IntCounter =
        make.counter("prefix_cache_queries", "Tokens that were looked for in the prefix cache.");
    prefix_cache_hits: IntCounter =
        make.counter("prefix_cache_hits", "Tokens whose KV was found in the prefix cache.");
    external_prefix_cache_queries: IntCounter = make.counter(
        "external_prefix_cache_queries",
        "Tokens that the KV store was asked for; 0 without one.",
    );
    external_prefix_cache_hits: IntCounter = make
        .counter("external_prefix_cache_hits", "Tokens whose KV was loaded from the KV store.");
    num_preemptions: IntCounter =
        make.counter("num_preemptions", "Times that a sequence lost its KV blocks.");
    prompt_tokens: IntCounter = make.counter("prompt_tokens", "Tokens of prompts.");
    prompt_tokens_cached: IntCounter =
        make.counter("prompt_tokens_cached", "Tokens of prompts that were not computed.");
    prompt_tokens_by_source: IntCounterVec = make.counters(
        "prompt_tokens_by_source",
        "Tokens of prompts, by where their KV came from.",
        "source",
        &["local_compute", "local_cache_hit", "external_kv_transfer"],
    );
    generation_tokens: IntCounter = make.counter("generation_tokens", "Tokens of answers.");
    request_success: IntCounterVec = make.counters(
        "request_success",
        "Sequences that ended, by their reason.",
        "finished_reason",
        &["stop", "length", "abort", "error"],
    );
    admission_rejections: IntCounterVec = make.counters(
        "admission_rejections",
        "Requests that were told to come again, by the limit that was reached.",
        "reason",
        &["max_num_queued_reqs"],
    );
    time_to_first_token: Histogram = make.histogram(
        "time_to_first_token_seconds",
        "From the arrival to the first token.",
        TTFT_S,
    );
    inter_token_latency: Histogram = make.histogram(
        "inter_token_latency_seconds",
        "Between two tokens of an answer.",
        PER_TOKEN_S,
    );
    time_per_output_token: Histogram = make.histogram(
        "request_time_per_output_token_seconds",
        "A request's mean time for a token after the first.",
        PER_TOKEN_S,
    );
    e2e_request_latency: Histogram = make.histogram(
        "e2e_request_latency_seconds",
        "From the arrival to the last token.",
        REQUEST_S,
    );
    request_queue_time: Histogram = make.histogram(
        "request_queue_time_seconds",
        "From the arrival to the first step.",
        REQUEST_S,
    );
    request_prefill_time: Histogram = make.histogram(
        "request_prefill_time_seconds",
        "From the first step to the first token.",
        REQUEST_S,
    );
    request_decode_time: Histogram = make.histogram(
        "request_decode_time_seconds",
        "From the first token to the last.",
        REQUEST_S,
    );
    request_inference_time: Histogram = make.histogram(
        "request_inference_time_seconds",
        "From the first step to the last token.",
        REQUEST_S,
    );
    iteration_tokens: Histogram =
        make.histogram("iteration_tokens_total", "Token rows of a step.", STEP_TOKENS);
    request_prompt_tokens: Histogram =
        make.histogram("request_prompt_tokens", "Tokens of a request's prompt.", TOKENS);
    request_generation_tokens: Histogram =
        make.histogram("request_generation_tokens", "Tokens of a request's answer.", TOKENS);
    request_max_num_generation_tokens: Histogram = make.histogram(
        "request_max_num_generation_tokens",
        "Tokens of the longest of a request's answers.",
        TOKENS,
    );
    request_params_n: Histogram =
        make.histogram("request_params_n", "Answers that a request asks for.", SMALL_COUNTS);
    request_params_max_tokens: Histogram =
        make.histogram("request_params_max_tokens", "Most tokens of an answer.", TOKENS);
    request_num_preemptions: Histogram = make.histogram(
        "request_num_preemptions",
        "Times that a request's sequences lost their KV blocks.",
        PREEMPTIONS,
    );
    request_prefill_kv_computed_tokens: Histogram = make.histogram(
        "request_prefill_kv_computed_tokens",
        "Tokens of a request's prompt whose KV was computed.",
        TOKENS,
    );
}
