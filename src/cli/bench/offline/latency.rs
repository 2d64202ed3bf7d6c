//! `kvasir bench latency`: how long one batch takes.

use std::fmt;

use clap::Args;
use engine::RequestOptions;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{MeasuredEngineArgs, check_length, forget, greedy, random_prompt, rounds};
use crate::cli::args::positive;
use crate::cli::bench::memory::{MemorySampler, MemoryUse};
use crate::cli::bench::output::OutputArgs;
use crate::cli::bench::progress;
use crate::cli::bench::report::{Axes, Line, Page, histogram, lines};
use crate::cli::bench::spread::{Spread, deviation, mean, quantile, spread_of};
use crate::cli::error::CliError;

/// `kvasir bench latency`.
#[derive(Args, Debug)]
pub(crate) struct LatencyArgs {
    /// Tokens of each prompt
    #[arg(long, value_name = "TOKENS", default_value = "32", value_parser = positive)]
    input_len: usize,

    /// Tokens of each answer
    #[arg(long, value_name = "TOKENS", default_value = "128", value_parser = positive)]
    output_len: usize,

    /// Prompts that are answered together
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch_size: u32,

    /// Batches before those that are measured
    #[arg(long, value_name = "N", default_value_t = 10)]
    num_iters_warmup: u32,

    /// Batches that are measured
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    num_iters: u32,

    #[command(flatten)]
    engine: MeasuredEngineArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What was found; vLLM's keys, and more. Times are seconds.
#[derive(Debug, Serialize)]
struct Report {
    model: String,
    device: String,
    input_len: usize,
    output_len: usize,
    batch_size: u32,
    avg_latency: f64,
    std_latency: f64,
    spread: Spread,
    percentiles: Map<String, Value>,
    latencies: Vec<f64>,
    /// To the first token of each prompt, in all batches.
    ttft: Spread,
    memory: MemoryUse,
}

/// vLLM's.
const PERCENTILES: [u8; 6] = [10, 25, 50, 75, 90, 99];

pub(crate) fn run(args: &LatencyArgs) -> Result<(), CliError> {
    let report = measure(args)?;
    args.output.give(&report, &report.to_string(), || report.page())
}

fn measure(args: &LatencyArgs) -> Result<Report, CliError> {
    let sampler = MemorySampler::start();
    let mut llm = args.engine.load(None)?;
    check_length(&llm, args.input_len, args.output_len)?;
    let mut rng = args.engine.rng();
    let prompts: Vec<Vec<u32>> =
        (0..args.batch_size).map(|_| random_prompt(&llm, args.input_len, &mut rng)).collect();
    let params = greedy(args.output_len);
    let bar = progress(u64::from(args.num_iters_warmup) + u64::from(args.num_iters));
    let (mut latencies, mut ttfts) = (Vec::new(), Vec::new());
    for round in 0..args.num_iters_warmup + args.num_iters {
        let is_warm_up = round < args.num_iters_warmup;
        bar.set_message(if is_warm_up { "warming up" } else { "measuring" });
        forget(&mut llm)?;
        let done = rounds::answer(&mut llm, &prompts, &params, |_| RequestOptions::default())?;
        if !is_warm_up {
            latencies.push(done.elapsed_s);
            ttfts.extend(done.answers.iter().map(|answer| answer.ttft_s));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let mut sorted = latencies.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let percentile =
        |percent: u8| (percent.to_string(), json!(quantile(&sorted, f64::from(percent) / 100.0)));
    Ok(Report {
        model: args.engine.model().to_owned(),
        device: llm.device_name(),
        input_len: args.input_len,
        output_len: args.output_len,
        batch_size: args.batch_size,
        avg_latency: mean(&latencies),
        std_latency: deviation(&latencies),
        spread: spread_of(&latencies)?,
        percentiles: PERCENTILES.into_iter().map(percentile).collect(),
        ttft: spread_of(&ttfts)?,
        latencies,
        memory: sampler.stop(),
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { batch_size, input_len, output_len, .. } = self;
        writeln!(f, "{} on {}", self.model, self.device)?;
        writeln!(f, "{batch_size} x ({input_len} tokens in, {output_len} out)\n")?;
        writeln!(f, "Avg latency: {:.4} seconds", self.avg_latency)?;
        writeln!(f, "Std latency: {:.4} seconds", self.std_latency)?;
        for (percent, latency) in &self.percentiles {
            writeln!(
                f,
                "{percent}% percentile latency: {:.4} seconds",
                latency.as_f64().unwrap_or(f64::NAN)
            )?;
        }
        let Spread { min_s, median_s, max_s } = self.ttft;
        writeln!(f, "To the first token: {median_s:.4} seconds ({min_s:.4} to {max_s:.4})")
    }
}

impl Report {
    fn page(&self) -> Result<Page, CliError> {
        let mut page = Page::new(format!("Latency of {} on {}", self.model, self.device));
        let row = |name: &str, seconds: f64| [name.to_owned(), format!("{:.2}", seconds * 1e3)];
        page.table(
            &format!(
                "{} prompts of {} tokens, answers of {}",
                self.batch_size, self.input_len, self.output_len
            ),
            ["", "ms"],
            vec![
                row("batch, mean", self.avg_latency),
                row("batch, standard deviation", self.std_latency),
                row("batch, least", self.spread.min_s),
                row("batch, median", self.spread.median_s),
                row("batch, most", self.spread.max_s),
                row("first token, median", self.ttft.median_s),
            ],
        );
        let millis: Vec<f64> = self.latencies.iter().map(|latency| latency * 1e3).collect();
        page.figure(
            "Latency of a batch",
            histogram(&Axes::new("milliseconds", "batches"), &millis),
        )?;
        let in_turn = millis.iter().enumerate().map(|(turn, &ms)| (turn as f64, ms)).collect();
        page.figure(
            "Latency in turn",
            lines(&Axes::new("batch", "milliseconds"), &[Line::new("latency", in_turn)]),
        )?;
        page.memory(&self.memory)?;
        Ok(page)
    }
}
