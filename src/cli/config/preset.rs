//! A row of the recipe's context matrix as the lowest layer.

use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, Id};
use kvasir::plan::{PRESETS, Preset};

use super::layers::{Setting, Source};
use crate::cli::args::positive;
use crate::cli::error::CliError;

const AUTO: &str = "auto";
/// Only what `--preset auto` is to look at; `kvasir plan` has its own.
const CONTEXT: &str = "preset_context";

/// What `--preset` takes.
pub(super) fn names() -> PossibleValuesParser {
    let names = PRESETS.iter().map(|preset| preset.name);
    PossibleValuesParser::new(names.chain([AUTO]))
}

/// `command` with a `--context`, if it has none.
pub(super) fn augment(command: Command) -> Command {
    if command.get_arguments().any(|arg| arg.get_long() == Some("context")) {
        return command;
    }
    let help = "Tokens that --preset auto chooses the row for";
    let context = Arg::new(CONTEXT).long("context").value_name("TOKENS").value_parser(positive);
    command.arg(context.help(help).help_heading("Configuration"))
}

/// The settings of the row that `option`, by an option's id, names.
pub(super) fn settings(
    options: &Command,
    option: impl Fn(&Id) -> Option<String>,
) -> Result<Vec<(&Arg, Setting)>, CliError> {
    let (own, name) = (option(&Id::from(CONTEXT)), option(&Id::from("preset")));
    if own.is_some() && name.as_deref() != Some(AUTO) {
        return Err(CliError::usage("--context has no effect without --preset auto")
            .with_hint("leave it out, or --max-model-len bounds sequences"));
    }
    let context = own.or_else(|| option(&Id::from("context")));
    let preset = match name {
        None => return Ok(Vec::new()),
        Some(name) if name == AUTO => {
            let tokens = context.as_deref().map(positive).transpose();
            let tokens = tokens.map_err(|error| CliError::usage(format!("--context: {error}")))?;
            let missing = || {
                CliError::usage("--preset auto does not know for how many tokens")
                    .with_hint("add --context N")
            };
            Preset::for_context(tokens.ok_or_else(missing)?)
        }
        // Clap says of what is no name where it stands.
        Some(name) => match Preset::named(&name) {
            Some(preset) => preset,
            None => return Ok(Vec::new()),
        },
    };
    let find = |name: &str| {
        let named = |arg: &&Arg| arg.get_long() == Some(name) && arg.get_id() != CONTEXT;
        options.get_arguments().find(named)
    };
    let setting = |(name, value): (&str, String)| {
        Some((find(name)?, Setting { values: vec![value], source: Source::Preset(preset.name) }))
    };
    if find("tp").is_none() {
        warn_of_what_is_left_out(&preset);
    }
    Ok(words(&preset).into_iter().filter_map(setting).collect())
}

/// Of a command that runs the engine.
fn warn_of_what_is_left_out(preset: &Preset) {
    let count = preset.tensor_parallel_size * preset.pipeline_parallel_size;
    if count > 1 {
        eprintln!("warning: preset {} is for {count} devices; this engine takes one", preset.name);
    }
    if let Some(quantization) = preset.quantization {
        eprintln!(
            "warning: preset {} is for {quantization} weights; the model's own are taken",
            preset.name
        );
    }
}

/// A row in the words of all commands' flags.
fn words(preset: &Preset) -> Vec<(&'static str, String)> {
    let switch = |on: &'static str, off: &'static str, is_on: bool| {
        (if is_on { on } else { off }, true.to_string())
    };
    vec![
        ("max-model-len", preset.max_model_len.to_string()),
        ("context", preset.max_model_len.to_string()),
        ("max-num-seqs", preset.max_num_seqs.to_string()),
        ("batch", preset.max_num_seqs.to_string()),
        ("tp", preset.tensor_parallel_size.to_string()),
        ("max-num-batched-tokens", preset.max_num_batched_tokens.to_string()),
        ("gpu-memory-utilization", preset.gpu_memory_utilization.to_string()),
        ("kv-cache-dtype", preset.kv_cache_dtype.to_owned()),
        switch("enable-prefix-caching", "no-enable-prefix-caching", preset.enable_prefix_caching),
        switch(
            "enable-chunked-prefill",
            "no-enable-chunked-prefill",
            preset.enable_chunked_prefill,
        ),
    ]
}
