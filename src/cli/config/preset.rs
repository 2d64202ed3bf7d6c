//! A row of the recipe's context matrix as the lowest layer.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command, Id};
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

/// Whether a row says anything of `command`.
pub(super) fn has_settings_for(command: &Command) -> bool {
    words(&PRESETS[0]).iter().any(|(name, _)| find(command, name).is_some())
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
    let Some(preset) = chosen(option)? else { return Ok(Vec::new()) };
    let setting = |(name, value): (&str, String)| {
        let source = Source::Preset(preset.name);
        Some((find(options, name)?, Setting { values: vec![value], source }))
    };
    Ok(words(&preset).into_iter().filter_map(setting).collect())
}

/// The row that options ask for, if they ask for one.
fn chosen(option: impl Fn(&Id) -> Option<String>) -> Result<Option<Preset>, CliError> {
    let (own, name) = (option(&Id::from(CONTEXT)), option(&Id::from("preset")));
    if own.is_some() && name.as_deref() != Some(AUTO) {
        return Err(CliError::usage("--context has no effect without --preset auto")
            .with_hint("leave it out, or --max-model-len bounds sequences"));
    }
    let context = own.or_else(|| option(&Id::from("context")));
    match name {
        Some(name) if name == AUTO => {
            let tokens = context.as_deref().map(positive).transpose();
            let tokens = tokens.map_err(|error| CliError::usage(format!("--context: {error}")))?;
            let missing = || {
                CliError::usage("--preset auto does not know for how many tokens")
                    .with_hint("add --context N")
            };
            Ok(Some(Preset::for_context(tokens.ok_or_else(missing)?)))
        }
        // Clap says of what is no name where it stands.
        name => Ok(name.and_then(|name| Preset::named(&name))),
    }
}

fn find<'a>(options: &'a Command, name: &str) -> Option<&'a Arg> {
    options.get_arguments().find(|arg| arg.get_long() == Some(name) && arg.get_id() != CONTEXT)
}

/// Says which settings of the row in force a command that runs the engine does not take.
pub(super) fn warn_of_what_is_left_out(
    options: &Command,
    matches: &ArgMatches,
) -> Result<(), CliError> {
    let option = |id: &Id| {
        let mut values = matches.try_get_raw(id.as_str()).ok()??;
        Some(values.next()?.to_string_lossy().into_owned())
    };
    let Some(preset) = chosen(option)?.filter(|_| find(options, "tp").is_none()) else {
        return Ok(());
    };
    let (name, count) = (preset.name, preset.tensor_parallel_size * preset.pipeline_parallel_size);
    if count > 1 {
        tracing::warn!("preset {name} is for {count} devices; this engine takes one");
    }
    if let Some(quantization) = preset.quantization {
        tracing::warn!("preset {name} is for {quantization} weights; the model's own are taken");
    }
    Ok(())
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
