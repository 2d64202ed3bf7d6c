//! A result as `vllm bench serve` writes and prints it.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use chrono::Local;
use serde_json::{Map, Value, json};

use super::Served;
use super::args::ServeArgs;
use crate::cli::bench::load::client::Answer;
use crate::cli::bench::load::metrics::{Measured, Summary};
use crate::cli::error::CliError;

/// vLLM's name for what speaks OpenAI's two APIs.
fn backend(args: &ServeArgs) -> &'static str {
    match args.endpoint.endpoint.ends_with("/chat/completions") {
        true => "openai-chat",
        false => "openai",
    }
}

/// All keys, in vLLM's order; `memory` is ours.
pub(super) fn json(args: &ServeArgs, served: &Served) -> Map<String, Value> {
    let measured = &served.measured;
    let mut result = object(json!({
        "date": Local::now().format("%Y%m%d-%H%M%S").to_string(),
        "endpoint_type": backend(args),
        "backend": backend(args),
        "label": args.save.label,
        "model_id": served.model,
        "tokenizer_id": served.tokenizer,
        "num_prompts": served.num_prompts,
    }));
    let metadata = args.save.metadata.iter();
    result.extend(metadata.map(|(key, value)| (key.clone(), json!(value))));
    let rate = args.traffic.request_rate;
    let has_objectives = !args.figures.goodput.is_empty();
    result.extend(object(json!({
        "request_rate": if rate.is_finite() { json!(rate) } else { json!("inf") },
        "burstiness": args.traffic.burstiness,
        "max_concurrency": args.traffic.max_concurrency,
        "duration": measured.duration_s,
        "completed": measured.num_completed,
        "failed": measured.num_failed,
        "total_input_tokens": measured.total_input,
        "total_output_tokens": measured.total_output,
        "request_throughput": measured.rate(measured.num_completed as f64),
        "request_goodput": has_objectives.then(|| measured.rate(measured.num_good as f64)),
        "output_throughput": measured.rate(measured.total_output as f64),
        "total_token_throughput": total_token_throughput(measured),
    })));
    if args.save.save_detailed {
        result.extend(detailed(served));
    }
    result.extend(object(json!({
        "max_output_tokens_per_s": measured.max_tokens_per_s,
        "max_concurrent_requests": measured.max_concurrent,
    })));
    for &metric in &args.figures.percentile_metrics {
        let summary = Summary::of(measured.times_s(metric), &args.figures.metric_percentiles);
        let key = metric.key();
        result.insert(format!("mean_{key}_ms"), json!(summary.mean_ms));
        result.insert(format!("median_{key}_ms"), json!(summary.median_ms));
        result.insert(format!("std_{key}_ms"), json!(summary.std_ms));
        for (percent, time_ms) in summary.percentiles_ms {
            result.insert(format!("p{percent}_{key}_ms"), json!(time_ms));
        }
    }
    if let Some(memory) = &served.memory {
        result.insert("memory".to_owned(), json!(memory));
    }
    result
}

fn total_token_throughput(measured: &Measured) -> f64 {
    measured.rate(measured.total_input as f64 + measured.total_output as f64)
}

/// One item for each request.
fn detailed(served: &Served) -> Map<String, Value> {
    let of = |get: fn(&Answer) -> Value| -> Vec<Value> { served.answers.iter().map(get).collect() };
    object(json!({
        "input_lens": of(|answer| json!(answer.prompt_len)),
        "output_lens": served.measured.output_lens,
        "ttfts": of(|answer| json!(answer.ttft_s)),
        "itls": of(|answer| json!(answer.itls_s)),
        "latencies": of(|answer| json!(answer.latency_s)),
        "start_times": of(|answer| json!(answer.start_s)),
        "queue_times": of(|answer| json!(answer.queue_s)),
        "generated_texts": of(|answer| json!(answer.text)),
        "errors": of(|answer| json!(answer.error)),
    }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Where the result is to be written, if it is.
pub(super) fn path(args: &ServeArgs, result: &Map<String, Value>) -> Option<PathBuf> {
    let save = &args.save;
    if !save.save_result && !save.append_result {
        return None;
    }
    let name = save.result_filename.clone().unwrap_or_else(|| {
        let text = |key: &str| result[key].as_str().unwrap_or_default();
        let label = save.label.as_deref().unwrap_or(backend(args));
        let concurrency = args.traffic.max_concurrency;
        let concurrency = concurrency.map_or(String::new(), |num| format!("-concurrency{num}"));
        // A model's name may be a path.
        let model = text("model_id").rsplit('/').next().unwrap_or_default();
        let rate = args.traffic.request_rate;
        format!("{label}-{rate}qps{concurrency}-{model}-{}.json", text("date"))
    });
    Some(save.result_dir.clone().unwrap_or_default().join(name))
}

/// Writes the result, or appends it as a line.
pub(super) fn save(
    path: &Path,
    result: &Map<String, Value>,
    is_appended: bool,
) -> Result<(), CliError> {
    let line = Value::Object(result.clone()).to_string() + "\n";
    let write = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut options = OpenOptions::new();
        options.create(true).write(true).append(is_appended).truncate(!is_appended);
        options.open(path)?.write_all(line.as_bytes())
    };
    write().map_err(|error| CliError::output(&path.display().to_string(), &error))
}

/// vLLM's table.
pub(super) fn table(args: &ServeArgs, measured: &Measured) -> String {
    let mut table = format!("{:=^50}\n", " Serving Benchmark Result ");
    let mut row = |name: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(table, "{name:<40} {value:<10}");
    };
    row("Successful requests:", measured.num_completed.to_string());
    row("Failed requests:", measured.num_failed.to_string());
    if let Some(num) = args.traffic.max_concurrency {
        row("Maximum request concurrency:", num.to_string());
    }
    if args.traffic.request_rate.is_finite() {
        row("Request rate configured (RPS):", format!("{:.2}", args.traffic.request_rate));
    }
    row("Benchmark duration (s):", format!("{:.2}", measured.duration_s));
    row("Total input tokens:", measured.total_input.to_string());
    row("Total generated tokens:", measured.total_output.to_string());
    let mut rate = |name: &str, rate: f64| row(name, format!("{rate:.2}"));
    rate("Request throughput (req/s):", measured.rate(measured.num_completed as f64));
    if !args.figures.goodput.is_empty() {
        rate("Request goodput (req/s):", measured.rate(measured.num_good as f64));
    }
    rate("Output token throughput (tok/s):", measured.rate(measured.total_output as f64));
    rate("Peak output token throughput (tok/s):", measured.max_tokens_per_s);
    rate("Peak concurrent requests:", measured.max_concurrent as f64);
    rate("Total token throughput (tok/s):", total_token_throughput(measured));
    for &metric in &args.figures.percentile_metrics {
        let summary = Summary::of(measured.times_s(metric), &args.figures.metric_percentiles);
        let name = metric.key().to_uppercase();
        let _ = writeln!(table, "{:-^50}", metric.title());
        let mut time = |what: &str, time_ms: f64| {
            let _ = writeln!(table, "{:<40} {time_ms:<10.2}", format!("{what} {name} (ms):"));
        };
        time("Mean", summary.mean_ms);
        time("Median", summary.median_ms);
        for (percent, time_ms) in &summary.percentiles_ms {
            time(&format!("P{percent}"), *time_ms);
        }
    }
    table + &"=".repeat(50) + "\n"
}
