//! `kvasir kernels`: the HIP kernels, what they are and how their variants compare.

mod compare;
mod list;

use clap::{Args, Subcommand};

use super::error::CliError;

/// `kvasir kernels`.
#[derive(Args, Debug)]
pub(crate) struct KernelsArgs {
    #[command(subcommand)]
    command: KernelsCommand,
}

#[derive(Debug, Subcommand)]
enum KernelsCommand {
    /// List every variant of every op: whether this build has it, and what the compiler made of it
    List(list::ListArgs),
    /// Compare the variants of an op: exactness, what they do, how long that takes
    Compare(compare::CompareArgs),
    /// Compare the variants of every op, as JSON, Markdown and pictures
    Report(compare::ReportArgs),
}

pub(crate) fn run(args: &KernelsArgs) -> Result<(), CliError> {
    match &args.command {
        KernelsCommand::List(args) => list::run(args),
        KernelsCommand::Compare(args) => compare::run(args),
        KernelsCommand::Report(args) => compare::report(args),
    }
}
