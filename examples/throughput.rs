//! The jobs by which engines are compared: prefill, decode, a batch. `cargo xtask peers` runs it
//! beside others; each figure is the best of three.
//!
//! `cargo run --release --example throughput -- [--json] [--model M] [--dtype D] [--threads N]`

use std::num::NonZero;
use std::time::Instant;

use clap::Parser;
use engine::{DType, Llm, RequestOutput, SamplingParams};

/// Measures prefill, decode and a batch job.
#[derive(Parser)]
struct Args {
    /// Model name, GGUF file or directory.
    #[arg(long, default_value = "smollm2-135m")]
    model: String,
    /// float32, bfloat16 or float16.
    #[arg(long, default_value = "bfloat16")]
    dtype: DType,
    /// CPU threads; default all cores.
    #[arg(long)]
    threads: Option<NonZero<usize>>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

const RUNS: usize = 3;

fn main() -> Result<(), engine::LlmError> {
    let args = Args::parse();
    let start = Instant::now();
    let mut builder = Llm::builder(&args.model).dtype(args.dtype);
    if let Some(threads) = args.threads {
        builder = builder.threads(threads);
    }
    let mut llm = builder.build()?;
    let load_s = start.elapsed().as_secs_f64();
    let figures = [
        ("prefill_512_tok_s", best(f64::max, || prefill_rate(&mut llm, 512))?),
        ("prefill_2048_tok_s", best(f64::max, || prefill_rate(&mut llm, 2048))?),
        ("decode_tok_s", best(f64::max, || decode_rate(&mut llm, 64))?),
        ("batch_job_s", best(f64::min, || batch_job_s(&mut llm))?),
        ("load_s", load_s),
        ("read_gb_s", read_gb_s(args.threads.map_or(2, NonZero::get))),
    ];
    if args.json {
        let entries = figures.map(|(key, value)| format!("\"{key}\": {value}"));
        println!("{{{}}}", entries.join(", "));
    } else {
        println!("{} on {}", args.dtype, llm.device_name());
        figures.iter().for_each(|(key, value)| println!("{key:20} {value:10.2}"));
    }
    Ok(())
}

fn best(
    better: fn(f64, f64) -> f64,
    mut run: impl FnMut() -> Result<f64, engine::LlmError>,
) -> Result<f64, engine::LlmError> {
    let mut best = run()?;
    for _ in 1..RUNS {
        best = better(best, run()?);
    }
    Ok(best)
}

/// Token ids that are in every vocabulary; what they are does not change the work.
fn prompt(num_tokens: usize, seed: usize) -> Vec<u32> {
    (0..num_tokens).map(|i| ((i * 7919 + seed * 104_729) % 30_000 + 100) as u32).collect()
}

fn run(
    llm: &mut Llm,
    prompts: &[Vec<u32>],
    max_tokens: usize,
) -> Result<Vec<RequestOutput>, engine::LlmError> {
    let params = SamplingParams {
        max_tokens,
        temperature: 0.0,
        ignore_eos: true,
        ..SamplingParams::default()
    };
    llm.generate(prompts, &params)
}

/// Prompt tokens per second until the first token.
fn prefill_rate(llm: &mut Llm, num_tokens: usize) -> Result<f64, engine::LlmError> {
    let output = run(llm, &[prompt(num_tokens, 0)], 1)?;
    Ok(num_tokens as f64 / output[0].metrics.time_to_first_token_s)
}

/// Tokens per second of one sequence, the first not counted.
fn decode_rate(llm: &mut Llm, num_tokens: usize) -> Result<f64, engine::LlmError> {
    let output = run(llm, &[prompt(1, 0)], num_tokens + 1)?;
    let metrics = &output[0].metrics;
    Ok(num_tokens as f64 / (metrics.e2e_latency_s - metrics.time_to_first_token_s))
}

/// Seconds for 32 sequences of 128 tokens to generate 64 each.
fn batch_job_s(llm: &mut Llm) -> Result<f64, engine::LlmError> {
    let prompts: Vec<_> = (0..32).map(|seed| prompt(128, seed)).collect();
    let start = Instant::now();
    run(llm, &prompts, 64)?;
    Ok(start.elapsed().as_secs_f64())
}

/// Bandwidth of reading memory that no cache holds: the bound of decoding.
fn read_gb_s(num_threads: usize) -> f64 {
    const BYTES_PER_THREAD: usize = 512 << 20;
    let buffers: Vec<Vec<u64>> =
        (0..num_threads).map(|seed| vec![seed as u64 + 1; BYTES_PER_THREAD / 8]).collect();
    let sweep = || {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for buffer in &buffers {
                scope.spawn(|| std::hint::black_box(buffer.iter().fold(0_u64, |x, y| x ^ y)));
            }
        });
        (num_threads * BYTES_PER_THREAD) as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    (0..RUNS).map(|_| sweep()).fold(0.0, f64::max)
}
