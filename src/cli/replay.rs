//! `kvasir replay`: a recorded run once more, step by step.

use std::io::Write;
use std::num::NonZero;
use std::path::PathBuf;

use clap::Args;
use engine::{Replay, ReplayReport};
use serde::Serialize;

use super::bars;
use super::error::CliError;

/// `kvasir replay`.
#[derive(Args, Debug)]
#[command(after_help = REPLAY_HELP)]
pub(crate) struct ReplayArgs {
    /// What --record wrote
    pub file: PathBuf,

    /// Where the model is now [default: where it was]
    #[arg(long)]
    pub model: Option<PathBuf>,

    /// Threads that compute; the steps are the same with any number [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZero<usize>>,

    /// Print the result as one line of JSON
    #[arg(long)]
    pub json: bool,
}

const REPLAY_HELP: &str = "\
Every step is repeated with the requests, the withdrawals and the durations of the record, and its
batch, its logits and its tokens are compared by digest. The engine must have the numerics id of the
record; one that was made with --cpu-isa portable can be repeated on any machine.

The exit code is 0 if all steps are the same, 1 if one differs, 2 for what you can mend.";

/// The result for programs.
#[derive(Serialize)]
struct Line {
    num_steps: u64,
    same: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<DifferenceLine>,
}

#[derive(Serialize)]
struct DifferenceLine {
    step: u64,
    line: u64,
    part: &'static str,
}

pub(crate) fn run(args: &ReplayArgs) -> Result<(), CliError> {
    let user_error = |error| CliError::from_usage_error(&error);
    let replay = Replay::open(&args.file, args.model.clone(), args.threads).map_err(user_error)?;
    let bar = bars::bytes("replaying");
    let report = replay.run(|replay| {
        let (num_bytes, num_read) = replay.progress();
        bar.set_length(num_bytes);
        bar.set_position(num_read);
    });
    bar.finish_and_clear();
    let report = report.map_err(user_error)?;
    let text = if args.json { json(&report)? } else { text(&report) };
    writeln!(std::io::stdout(), "{text}")
        .map_err(|error| CliError::output("standard output", &error))?;
    match report.difference {
        Some(_) => Err(CliError::internal("the run does not repeat")),
        None => Ok(()),
    }
}

fn text(report: &ReplayReport) -> String {
    match &report.difference {
        None => format!("{} steps, all as recorded", report.num_steps),
        Some(difference) => format!(
            "step {} (line {}) differs from the record in its {}; the {} before it are the same",
            difference.step_idx,
            difference.line,
            difference.part.name(),
            difference.step_idx
        ),
    }
}

fn json(report: &ReplayReport) -> Result<String, CliError> {
    let difference = report.difference.as_ref().map(|difference| DifferenceLine {
        step: difference.step_idx,
        line: difference.line,
        part: difference.part.name(),
    });
    let line = Line { num_steps: report.num_steps, same: difference.is_none(), difference };
    serde_json::to_string(&line).map_err(|error| CliError::from_internal_error(&error))
}
