//! `kvasir generate`: one prompt, streamed, or a file of them.

mod batch;
mod single;

use engine::Llm;

use super::args::GenerateArgs;
use super::engine_setup::{self, EngineSetup};
use super::error::CliError;
use super::summary::Summary;

pub(crate) fn run(args: GenerateArgs) -> Result<(), CliError> {
    match (&args.prompt, &args.files.input) {
        (Some(prompt), None) => single::run(prompt, &args),
        (None, Some(input)) => batch::run(input, &args),
        // clap lets neither pass.
        _ => Err(CliError::usage("give a prompt, or --input FILE.jsonl")),
    }
}

/// The engine that the arguments want.
fn load(args: &GenerateArgs) -> Result<Llm, CliError> {
    engine_setup::load(&EngineSetup {
        engine: &args.engine,
        scheduler: &args.scheduler,
        kv_store: &args.kv_store,
        logprobs_mode: args.sampling.logprobs_mode.into(),
        seed: args.sampling.seed,
        record: args.record.as_deref(),
    })
}

/// Prints the summary on stderr, which may be gone: the answers have been given.
fn print_summary(
    summary: &Summary,
    as_json: bool,
    output: Option<&engine::output::RequestOutput>,
) -> Result<(), CliError> {
    let line = match as_json {
        true => summary.json(output).map_err(|error| CliError::from_internal_error(&error))?,
        false => summary.text(),
    };
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{line}\n"));
    Ok(())
}
