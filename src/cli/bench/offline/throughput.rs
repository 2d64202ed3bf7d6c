//! `kvasir bench throughput`: how much comes out when all there is to do is there at once.

use std::fmt;

use clap::Args;
use engine::RequestOptions;
use serde::Serialize;

use super::{MeasuredEngineArgs, check_length, forget, greedy, random_prompt, rounds};
use crate::cli::args::positive;
use crate::cli::bench::memory::{MemorySampler, MemoryUse};
use crate::cli::bench::output::OutputArgs;
use crate::cli::bench::progress;
use crate::cli::bench::report::{Axes, Page, bars, histogram};
use crate::cli::bench::spread::{Spread, spread_of};
use crate::cli::error::CliError;

/// `kvasir bench throughput`.
#[derive(Args, Debug)]
pub(crate) struct ThroughputArgs {
    /// Tokens of each prompt
    #[arg(long, value_name = "TOKENS", default_value = "128", value_parser = positive)]
    input_len: usize,

    /// Tokens of each answer
    #[arg(long, value_name = "TOKENS", default_value = "128", value_parser = positive)]
    output_len: usize,

    /// Prompts
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    num_prompts: u32,

    /// Runs of a tenth of the prompts before those that are measured
    #[arg(long, value_name = "N", default_value_t = 1)]
    num_iters_warmup: u32,

    /// Runs that are measured
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    num_iters: u32,

    #[command(flatten)]
    engine: MeasuredEngineArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What was found; vLLM's keys, and more. Rates are those of the median run.
#[derive(Debug, Serialize)]
struct Report {
    model: String,
    device: String,
    input_len: usize,
    output_len: usize,
    elapsed_time: f64,
    num_requests: u32,
    total_num_tokens: usize,
    requests_per_second: f64,
    tokens_per_second: f64,
    output_tokens_per_second: f64,
    spread: Spread,
    /// From step to step of each answer, in all runs, milliseconds.
    #[serde(skip)]
    itls_ms: Vec<f64>,
    memory: MemoryUse,
}

pub(crate) fn run(args: &ThroughputArgs) -> Result<(), CliError> {
    let report = measure(args)?;
    args.output.give(&report, &report.to_string(), || report.page())
}

fn measure(args: &ThroughputArgs) -> Result<Report, CliError> {
    let sampler = MemorySampler::start();
    let mut llm = args.engine.load(None)?;
    check_length(&llm, args.input_len, args.output_len)?;
    let mut rng = args.engine.rng();
    let prompts: Vec<Vec<u32>> =
        (0..args.num_prompts).map(|_| random_prompt(&llm, args.input_len, &mut rng)).collect();
    let params = greedy(args.output_len);
    let bar = progress(u64::from(args.num_iters_warmup) + u64::from(args.num_iters));
    let mut answer = |message: &'static str, prompts: &[Vec<u32>]| {
        bar.set_message(message);
        forget(&mut llm)?;
        let round = rounds::answer(&mut llm, prompts, &params, |_| RequestOptions::default())?;
        bar.inc(1);
        Ok::<_, CliError>(round)
    };
    for _ in 0..args.num_iters_warmup {
        answer("warming up", &prompts[..prompts.len().div_ceil(10)])?;
    }
    let (mut times, mut itls_ms, mut num_output_tokens) = (Vec::new(), Vec::new(), 0);
    for _ in 0..args.num_iters {
        let round = answer("measuring", &prompts)?;
        times.push(round.elapsed_s);
        num_output_tokens = round.answers.iter().map(rounds::Timed::num_output_tokens).sum();
        itls_ms.extend(round.answers.iter().flat_map(|a| a.itls_s.iter().map(|itl| itl * 1e3)));
    }
    bar.finish_and_clear();
    let spread = spread_of(&times)?;
    let total_num_tokens = prompts.len() * args.input_len + num_output_tokens;
    let rate = |num: usize| num as f64 / spread.median_s;
    Ok(Report {
        model: args.engine.model().to_owned(),
        input_len: args.input_len,
        output_len: args.output_len,
        elapsed_time: spread.median_s,
        num_requests: args.num_prompts,
        total_num_tokens,
        requests_per_second: rate(prompts.len()),
        tokens_per_second: rate(total_num_tokens),
        output_tokens_per_second: rate(num_output_tokens),
        spread,
        itls_ms,
        device: llm.device_name(),
        memory: sampler.stop(),
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread { min_s, median_s, max_s } = self.spread;
        writeln!(f, "{} on {}", self.model, self.device)?;
        writeln!(
            f,
            "{} x ({} tokens in, {} out): {median_s:.2} seconds ({min_s:.2} to {max_s:.2})",
            self.num_requests, self.input_len, self.output_len
        )?;
        writeln!(
            f,
            "Throughput: {:.2} requests/s, {:.2} total tokens/s, {:.2} output tokens/s",
            self.requests_per_second, self.tokens_per_second, self.output_tokens_per_second
        )
    }
}

impl Report {
    fn page(&self) -> Result<Page, CliError> {
        let mut page = Page::new(format!("Throughput of {} on {}", self.model, self.device));
        let row = |name: &str, figure: f64| [name.to_owned(), format!("{figure:.2}")];
        page.table(
            &format!(
                "{} prompts of {} tokens, answers of {}",
                self.num_requests, self.input_len, self.output_len
            ),
            ["", ""],
            vec![
                row("seconds, median", self.elapsed_time),
                row("requests a second", self.requests_per_second),
                row("tokens a second", self.tokens_per_second),
                row("answer tokens a second", self.output_tokens_per_second),
            ],
        );
        let Spread { min_s, median_s, max_s } = self.spread;
        let rows = [("all prompts".to_owned(), [min_s, median_s, max_s])];
        page.figure("Time of a run: median, least and most", bars("seconds", &rows))?;
        let axes = Axes::new("milliseconds", "times");
        page.figure("Inter-token Latency", histogram(&axes, &self.itls_ms))?;
        page.memory(&self.memory)?;
        Ok(page)
    }
}
