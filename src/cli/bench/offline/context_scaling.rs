//! `kvasir bench context-scaling`: the recipe's progressive context test. For each context an engine of that length
//! answers a prompt that fills half of it; what does not fit is told, and the next is tried.

use std::fmt;

use clap::Args;
use engine::RequestOptions;
use serde::Serialize;

use super::{MeasuredEngineArgs, forget, greedy, random_prompt, rounds};
use crate::cli::args::positive;
use crate::cli::bench::memory::{MemorySampler, MemoryUse};
use crate::cli::bench::output::OutputArgs;
use crate::cli::bench::progress;
use crate::cli::bench::report::{Axes, Line, Page, lines};
use crate::cli::bench::spread::{Spread, spread_of};
use crate::cli::error::CliError;

/// `kvasir bench context-scaling`.
#[derive(Args, Debug)]
pub(crate) struct ContextScalingArgs {
    /// Contexts, in tokens
    #[arg(long, value_name = "TOKENS", value_delimiter = ',', value_parser = positive)]
    #[arg(default_value = "4096,8192,16384,32768,65536")]
    context_sizes: Vec<usize>,

    /// Tokens of each answer
    #[arg(long, value_name = "TOKENS", default_value = "100", value_parser = positive)]
    output_len: usize,

    /// Runs of each context that are measured, after one of a short prompt
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    num_iters: u32,

    #[command(flatten)]
    engine: MeasuredEngineArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    results: Vec<Row>,
    memory: MemoryUse,
}

/// A context, by the recipe's keys.
#[derive(Debug, Serialize)]
struct Row {
    context_size: usize,
    status: &'static str,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    Done(Measured),
    Failed { error: String },
}

#[derive(Debug, Serialize)]
struct Measured {
    prompt_tokens: usize,
    latency_sec: f64,
    throughput_tok_per_sec: f64,
    latency: Spread,
    ttft: Spread,
    config: Config,
}

/// What the engine was given.
#[derive(Debug, Serialize)]
struct Config {
    max_num_seqs: usize,
    max_num_batched_tokens: usize,
    kv_bytes_per_token: u64,
}

pub(crate) fn run(args: &ContextScalingArgs) -> Result<(), CliError> {
    let sampler = MemorySampler::start();
    let bar = progress(args.context_sizes.len() as u64);
    let mut results = Vec::new();
    for &context_size in &args.context_sizes {
        bar.set_message(format!("{context_size} tokens"));
        let (status, outcome) = match measure(args, context_size) {
            Ok(measured) => ("SUCCESS", Outcome::Done(measured)),
            Err(error) => ("FAILED", Outcome::Failed { error: error.message().to_owned() }),
        };
        results.push(Row { context_size, status, outcome });
        bar.inc(1);
    }
    bar.finish_and_clear();
    let model = args.engine.model().to_owned();
    let report = Report { model, results, memory: sampler.stop() };
    args.output.give(&report, &report.to_string(), || report.page())?;
    match report.results.iter().all(|row| matches!(row.outcome, Outcome::Failed { .. })) {
        true => Err(CliError::usage("no context could be measured")
            .with_hint("give smaller --context-sizes, or another model")),
        false => Ok(()),
    }
}

fn measure(args: &ContextScalingArgs, context_size: usize) -> Result<Measured, CliError> {
    let prompt_tokens = (context_size / 2).max(1);
    if prompt_tokens + args.output_len > context_size {
        return Err(CliError::usage(format!(
            "half of {context_size} tokens has no room for an answer of {}",
            args.output_len
        )));
    }
    let mut llm = args.engine.load(Some(context_size))?;
    let mut rng = args.engine.rng();
    let params = greedy(args.output_len);
    let mut answer = |num_tokens: usize| {
        forget(&mut llm)?;
        let prompt = [random_prompt(&llm, num_tokens, &mut rng)];
        rounds::answer(&mut llm, &prompt, &params, |_| RequestOptions::default())
    };
    // The first step of an engine takes memory that later ones have.
    answer(1)?;
    let (mut latencies, mut ttfts) = (Vec::new(), Vec::new());
    for _ in 0..args.num_iters {
        let round = answer(prompt_tokens)?;
        latencies.push(round.elapsed_s);
        ttfts.extend(round.answers.iter().map(|answer| answer.ttft_s));
    }
    let latency = spread_of(&latencies)?;
    let config = llm.scheduler_config();
    Ok(Measured {
        prompt_tokens,
        latency_sec: latency.median_s,
        throughput_tok_per_sec: args.output_len as f64 / latency.median_s,
        latency,
        ttft: spread_of(&ttfts)?,
        config: Config {
            max_num_seqs: config.max_num_seqs,
            max_num_batched_tokens: config.max_num_batched_tokens,
            kv_bytes_per_token: llm.kv_bytes_per_token(),
        },
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: half of each context as prompt\n", self.model)?;
        for row in &self.results {
            let size = row.context_size;
            match &row.outcome {
                Outcome::Done(done) => {
                    let Spread { min_s, median_s, max_s } = done.latency;
                    writeln!(
                        f,
                        "{size:>8} tokens: {median_s:.2} s latency ({min_s:.2} to {max_s:.2}), {:.2} s to the first \
                         token, {:.2} tok/s",
                        done.ttft.median_s, done.throughput_tok_per_sec
                    )?;
                }
                Outcome::Failed { error } => writeln!(f, "{size:>8} tokens: FAILED: {error}")?,
            }
        }
        Ok(())
    }
}

impl Report {
    fn page(&self) -> Result<Page, CliError> {
        let mut page = Page::new(format!("Contexts of {}", self.model));
        let row = |row: &Row| {
            let size = row.context_size.to_string();
            match &row.outcome {
                Outcome::Done(done) => [
                    size,
                    done.prompt_tokens.to_string(),
                    format!("{:.2}", done.latency_sec),
                    format!("{:.2}", done.ttft.median_s),
                    format!("{:.2}", done.throughput_tok_per_sec),
                ],
                Outcome::Failed { error } => [size, error.clone(), "".into(), "".into(), "".into()],
            }
        };
        page.table(
            "Contexts",
            ["tokens", "of prompt", "latency (s)", "first token (s)", "answer tokens a second"],
            self.results.iter().map(row).collect(),
        );
        let points = |get: fn(&Measured) -> f64| {
            let point = |row: &Row| match &row.outcome {
                Outcome::Done(done) => Some((row.context_size as f64, get(done))),
                Outcome::Failed { .. } => None,
            };
            self.results.iter().filter_map(point).collect()
        };
        page.figure(
            "Latency by context",
            lines(
                &Axes::new("tokens of context", "seconds"),
                &[
                    Line::new("whole answer", points(|done| done.latency.median_s)),
                    Line::new("first token", points(|done| done.ttft.median_s)),
                ],
            ),
        )?;
        page.memory(&self.memory)?;
        Ok(page)
    }
}
