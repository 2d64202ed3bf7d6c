//! `kvasir bench`: what things take on this machine, beside what the machine allows.

mod spread;
mod ttft;

use clap::{Args, Subcommand};

use super::error::CliError;

/// `kvasir bench`.
#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Time to first token of a long prompt: computed, and with its KV from each place that can keep it
    Ttft(Box<ttft::TtftArgs>),
}

pub(crate) fn run(args: &BenchArgs) -> Result<(), CliError> {
    match &args.command {
        BenchCommand::Ttft(args) => ttft::run(args),
    }
}
