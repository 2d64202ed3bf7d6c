//! vLLM's metrics, by their names on the wire, so that existing boards show this server.
//!
//! Those that vLLM has only with a feature that this engine lacks are not there: LoRA, sampled lives of KV
//! blocks, counting of NaN.

mod series;

use engine::output::RequestOutput;
use engine::{
    EngineStatus, FinishReason, LlmError, Refusal, RequestUpdate, SchedulerConfig, StepOutcome,
    TokenTime,
};
use prometheus::{IntCounter, IntGauge, Registry, TextEncoder};
use series::Series;

/// All series of one server.
pub(crate) struct Metrics {
    registry: Registry,
    series: Series,
    /// Requests in progress, which vLLM tells at `/load` alone.
    server_load: IntGauge,
}

impl Metrics {
    /// `kv_dtype` is the KV cache's format, by its name.
    pub(crate) fn new(model_name: &str, scheduler: &SchedulerConfig, kv_dtype: &str) -> Metrics {
        let registry = Registry::new();
        let series = Series::new(&registry, model_name);
        let server_load =
            IntGauge::new("server_load", "Requests in progress.").expect("a name of letters alone");
        for (state, is_on) in [("awake", 1), ("weights_offloaded", 0), ("discard_all", 0)] {
            series.engine_sleep_state.with_label_values(&[state]).set(is_on);
        }
        // Words as Python writes them, for boards that look for vLLM's.
        let is_caching = if scheduler.enable_prefix_caching { "True" } else { "False" };
        let [block_size, num_host_blocks, num_blocks] =
            [scheduler.block_size, scheduler.num_host_blocks, scheduler.num_blocks]
                .map(|count| count.to_string());
        let cache: [&str; 5] = [&block_size, kv_dtype, is_caching, &num_host_blocks, &num_blocks];
        series.cache_config_info.with_label_values(&cache).set(1);
        Metrics { registry, series, server_load }
    }

    /// The page, in Prometheus's text format.
    pub(crate) fn render(&self, status: &EngineStatus) -> Result<String, prometheus::Error> {
        let (series, stats) = (&self.series, &status.stats);
        series.num_requests_running.set(status.num_running as i64);
        series.num_requests_waiting.set((status.num_waiting + status.num_loading) as i64);
        for (reason, count) in [("capacity", status.num_waiting), ("deferred", status.num_loading)]
        {
            series.num_requests_waiting_by_reason.with_label_values(&[reason]).set(count as i64);
        }
        series.kv_cache_usage_perc.set(status.kv_cache_usage());
        raise(&series.prefix_cache_queries, stats.num_prefix_query_tokens);
        raise(&series.prefix_cache_hits, stats.num_prefix_hit_tokens);
        if status.has_kv_store {
            let num_missed = stats.num_prefix_query_tokens - stats.num_prefix_hit_tokens;
            raise(&series.external_prefix_cache_queries, num_missed);
            raise(&series.external_prefix_cache_hits, stats.num_loaded_tokens);
        }
        raise(&series.num_preemptions, stats.num_preemptions);
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Who is to be told of each step: tokens count when they are made, whoever still reads them.
    pub(crate) fn step_observer(&self) -> impl FnMut(StepOutcome<'_>) + Send + 'static {
        let series = self.series.clone();
        move |step| {
            if step.num_rows > 0 {
                series.iteration_tokens.observe(step.num_rows as f64);
            }
            step.updates.iter().for_each(|update| count_tokens(&series, update));
        }
    }

    /// Requests in progress.
    pub(crate) fn load(&self) -> i64 {
        self.server_load.get()
    }

    /// A request was not taken.
    pub(crate) fn refuse(&self, error: &LlmError) {
        if matches!(error, LlmError::Refused(Refusal::QueueFull { .. })) {
            self.series.admission_rejections.with_label_values(&["max_num_queued_reqs"]).inc();
        }
    }

    /// A request begins; it has ended when what this gives is dropped.
    pub(crate) fn begin(&self, n: usize, max_tokens: usize) -> InProgress {
        self.series.request_params_n.observe(n as f64);
        self.series.request_params_max_tokens.observe(max_tokens as f64);
        self.server_load.inc();
        InProgress {
            server_load: self.server_load.clone(),
            aborted: self.series.request_success.with_label_values(&["abort"]),
            num_unfinished: n,
        }
    }

    /// Some tokens were read.
    pub(crate) fn update(&self, in_progress: &mut InProgress, update: &RequestUpdate) {
        if let Some(reason) = update.finish_reason {
            in_progress.num_unfinished = in_progress.num_unfinished.saturating_sub(1);
            self.series.request_success.with_label_values(&[reason.name()]).inc();
        }
        if let Some(output) = &update.finished
            && update.finish_reason != Some(FinishReason::Error)
        {
            self.finish(output);
        }
    }

    fn finish(&self, output: &RequestOutput) {
        let (series, metrics) = (&self.series, &output.metrics);
        let num_prompt = output.prompt_token_ids.len();
        let num_tokens: usize = output.outputs.iter().map(|output| output.token_ids.len()).sum();
        let longest = output.outputs.iter().map(|output| output.token_ids.len()).max();
        let num_computed = output.prompt_kv.num_computed_tokens;
        series.request_prefill_kv_computed_tokens.observe(num_computed as f64);
        series.request_prompt_tokens.observe(num_prompt as f64);
        series.request_generation_tokens.observe(num_tokens as f64);
        series.request_max_num_generation_tokens.observe(longest.unwrap_or(0) as f64);
        series.request_num_preemptions.observe(f64::from(metrics.num_preemptions));
        let (queued, first, last) =
            (metrics.queue_time_s, metrics.time_to_first_token_s, metrics.e2e_latency_s);
        series.request_queue_time.observe(queued);
        series.e2e_request_latency.observe(last);
        series.request_prefill_time.observe(first - queued);
        series.request_decode_time.observe(last - first);
        series.request_inference_time.observe(last - queued);
        if let Some(num_more) =
            longest.and_then(|longest| longest.checked_sub(1)).filter(|&n| n > 0)
        {
            series.time_per_output_token.observe((last - first) / num_more as f64);
        }
    }
}

/// Tokens of an answer, and of its prompt with the first of them.
fn count_tokens(series: &Series, update: &RequestUpdate) {
    let num_new = update.new_token_ids.len();
    series.generation_tokens.inc_by(num_new as u64);
    match update.token_time {
        Some(TokenTime::First(seconds)) => series.time_to_first_token.observe(seconds),
        Some(TokenTime::Next(seconds)) => {
            let each = seconds / num_new as f64;
            (0..num_new).for_each(|_| series.inter_token_latency.observe(each));
        }
        None => {}
    }
    let Some(kv) = update.prompt_kv else { return };
    series.prompt_tokens.inc_by(update.num_prompt_tokens as u64);
    series.prompt_tokens_cached.inc_by((kv.num_cached_tokens + kv.num_loaded_tokens) as u64);
    for (source, count) in [
        ("local_compute", kv.num_computed_tokens),
        ("local_cache_hit", kv.num_cached_tokens),
        ("external_kv_transfer", kv.num_loaded_tokens),
    ] {
        series.prompt_tokens_by_source.with_label_values(&[source]).inc_by(count as u64);
    }
}

/// A request that counts as load until it is dropped.
pub(crate) struct InProgress {
    server_load: IntGauge,
    /// What sequences count as that nobody waits for any more.
    aborted: IntCounter,
    num_unfinished: usize,
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.server_load.dec();
        self.aborted.inc_by(self.num_unfinished as u64);
    }
}

/// Sets a counter to a total that is counted elsewhere.
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> Metrics {
        let scheduler = SchedulerConfig { num_blocks: 4, ..SchedulerConfig::default() };
        Metrics::new("m", &scheduler, "bfloat16")
    }

    #[test]
    fn names_are_vllms_on_the_wire() {
        let metrics = metrics();
        drop(metrics.begin(2, 16));
        metrics.step_observer()(StepOutcome { num_rows: 12, updates: &[] });
        let status = EngineStatus {
            num_running: 3,
            num_waiting: 2,
            num_loading: 1,
            num_blocks: 4,
            num_used_blocks: 1,
            ..Default::default()
        };
        let page = metrics.render(&status).unwrap();
        for line in [
            "# TYPE vllm:num_requests_running gauge",
            "vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 3",
            "vllm:num_requests_waiting{engine=\"0\",model_name=\"m\"} 3",
            "vllm:num_requests_waiting_by_reason{engine=\"0\",model_name=\"m\",reason=\"deferred\"} 1",
            "vllm:engine_sleep_state{engine=\"0\",model_name=\"m\",sleep_state=\"awake\"} 1",
            "vllm:cache_config_info{block_size=\"16\",cache_dtype=\"bfloat16\",\
             enable_prefix_caching=\"True\",engine=\"0\",model_name=\"m\",num_cpu_blocks=\"0\",\
             num_gpu_blocks=\"4\"} 1",
            "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"m\"} 0.25",
            "# TYPE vllm:prompt_tokens_total counter",
            "# TYPE vllm:time_to_first_token_seconds histogram",
            "vllm:request_params_n_count{engine=\"0\",model_name=\"m\"} 1",
            "vllm:request_success_total{engine=\"0\",finished_reason=\"abort\",model_name=\"m\"} 2",
            "vllm:iteration_tokens_total_sum{engine=\"0\",model_name=\"m\"} 12",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
        let foreign = page.lines().find(|line| {
            !line.starts_with("vllm:")
                && !line.starts_with("# HELP vllm:")
                && !line.starts_with("# TYPE vllm:")
        });
        assert_eq!(foreign, None);
    }

    #[test]
    fn totals_of_the_engine_are_not_added_twice() {
        let metrics = metrics();
        let mut status = EngineStatus::default();
        for total in [2, 5, 5] {
            status.stats.num_preemptions = total;
            metrics.render(&status).unwrap();
        }
        assert_eq!(metrics.series.num_preemptions.get(), 5);
    }
}
