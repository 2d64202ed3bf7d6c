//! `kvasir bench`: what things take on this machine, beside what the machine allows.

mod kernels;
mod load;
mod memory;
mod offline;
mod output;
mod report;
mod serve;
mod spread;
mod store;
mod ttft;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use super::error::CliError;

/// `kvasir bench`.
#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Load on an OpenAI endpoint, this engine's or another's: throughput and latencies, as `vllm bench serve`
    Serve(Box<serve::ServeArgs>),
    /// How long a batch of prompts takes, as `vllm bench latency`
    Latency(Box<offline::latency::LatencyArgs>),
    /// Tokens a second when all prompts are there at once, as `vllm bench throughput`
    Throughput(Box<offline::throughput::ThroughputArgs>),
    /// Longer and longer contexts, until one does not fit: the recipe's progressive test
    ContextScaling(Box<offline::context_scaling::ContextScalingArgs>),
    /// Many users of the same documents: what it is worth that their KV is shared
    MultiUser(Box<offline::multi_user::MultiUserArgs>),
    /// Time to first token of a long prompt: computed, and with its KV from each place that can keep it
    Ttft(Box<ttft::TtftArgs>),
    /// Times of the CPU kernels, and of the HIP kernels where there is a GPU
    Kernels(kernels::KernelsArgs),
    /// GB/s of the KV store's tiers by chunk size and depth, with verification and without, beside raw copies and reads
    Store(store::StoreArgs),
}

pub(crate) fn run(args: &BenchArgs) -> Result<(), CliError> {
    match &args.command {
        BenchCommand::Serve(args) => serve::run(args),
        BenchCommand::Latency(args) => offline::latency::run(args),
        BenchCommand::Throughput(args) => offline::throughput::run(args),
        BenchCommand::ContextScaling(args) => offline::context_scaling::run(args),
        BenchCommand::MultiUser(args) => offline::multi_user::run(args),
        BenchCommand::Ttft(args) => ttft::run(args),
        BenchCommand::Kernels(args) => kernels::run(args),
        BenchCommand::Store(args) => store::run(args),
    }
}

/// A bar over runs, with a word for what is running.
fn progress(num_runs: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:26} {bar:30} {pos}/{len} {elapsed}");
    ProgressBar::new(num_runs).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
