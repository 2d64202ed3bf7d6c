//! The command line: what can be asked for, and who does it.

mod args;
mod bars;
mod bench;
mod calibrate;
mod config;
mod constraints;
mod convert;
mod doctor;
mod engine_setup;
mod error;
mod generate;
mod in_order;
mod inspect;
mod jsonl;
mod kernels;
mod kv_store_args;
mod log;
mod manual;
mod output;
mod output_line;
mod overrides;
mod plan;
mod presets;
mod pull;
#[cfg(test)]
mod reference;
mod replay;
mod scheduler_args;
mod serve;
mod store;
mod summary;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{Args, Command as Definition, CommandFactory, FromArgMatches, Parser, Subcommand};

use args::GenerateArgs;
use calibrate::CalibrateArgs;
use config::Asked;
use convert::ConvertArgs;
use error::CliError;
use inspect::InspectArgs;
use pull::PullArgs;

/// Run language models.
#[derive(Debug, Parser)]
#[command(name = "kvasir", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer a prompt, or every line of a JSONL file
    Generate(Box<GenerateArgs>),
    /// Answer requests in OpenAI's API over HTTP
    Serve(Box<serve::ServeArgs>),
    /// Fetch a model and print where it is
    Pull(PullArgs),
    /// Write a model as a Hugging Face directory
    Convert(ConvertArgs),
    /// Measure the scales of an FP8 KV cache on texts
    Calibrate(CalibrateArgs),
    /// Repeat a run that --record wrote down, and name the first step that differs
    Replay(replay::ReplayArgs),
    /// Show what a model is made of
    Inspect(InspectArgs),
    /// What a model needs of a device: memory, and bounds of time
    Plan(plan::PlanArgs),
    /// The recipe's settings for contexts of different lengths, and which models they hold for
    Presets(presets::PresetsArgs),
    /// What things take on this machine, beside what it allows
    Bench(bench::BenchArgs),
    /// The HIP kernels: what there is, and how variants compare
    Kernels(kernels::KernelsArgs),
    /// What is wrong with this machine, and what to do
    Doctor(doctor::DoctorArgs),
    /// Print what a shell completes
    Completions(manual::CompletionsArgs),
    /// Write the pages of the manual
    Man(manual::ManArgs),
    /// Look after a KV store: a directory, a bucket, or what an LMCache configuration names
    Store(store::StoreArgs),
}

/// Does what the arguments say. The exit code is 0 for success, 2 for what the user can mend, and
/// 1 for anything else.
pub(crate) fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

/// All that can be asked for.
fn definition() -> Definition {
    config::with_config_args(log::with_log_args(Cli::command()))
}

/// `command` with the options of `A`, and its own words on what it does.
fn with_args<A: Args>(command: Definition) -> Definition {
    let about = Resettable::from(command.get_about().cloned());
    let long_about = Resettable::from(command.get_long_about().cloned());
    A::augment_args(command).about(about).long_about(long_about)
}

/// `command`, if no others are below it, or all those, changed.
fn for_leaves(command: Definition, change: &dyn Fn(Definition) -> Definition) -> Definition {
    if !command.has_subcommands() {
        return change(command);
    }
    command.mut_subcommands(|command| for_leaves(command, change))
}

fn run() -> Result<(), CliError> {
    let args: Vec<OsString> = std::env::args_os().collect();
    let matches = match config::read(definition(), &args)? {
        Asked::Run(matches) => matches,
        Asked::Show(shown) => return shown.print(),
    };
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match cli.command {
        Command::Generate(args) => generate::run(*args),
        Command::Serve(args) => serve::run(*args),
        Command::Pull(args) => pull::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Presets(args) => presets::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Kernels(args) => kernels::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => manual::completions(&args, definition()),
        Command::Man(args) => manual::man(&args, definition()),
        Command::Store(args) => store::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_of_the_arguments_is_sound() {
        super::definition().debug_assert();
    }

    #[test]
    fn options_that_many_commands_have_leave_them_their_words() {
        let (with, without) = (super::definition(), super::Cli::command());
        for command in without.get_subcommands() {
            let about = with.find_subcommand(command.get_name()).map(|found| found.get_about());
            assert_eq!(about, Some(command.get_about()), "{}", command.get_name());
        }
    }
}
