//! `kvasir presets`: the recipe's rows of settings, and which of its models they hold for.

use std::fmt::Write as _;

use clap::Args;
use kvasir::plan::{PRESETS, Preset, PresetCheck};
use serde::Serialize;

use super::error::CliError;
use super::output;

/// `kvasir presets`.
#[derive(Args, Debug)]
#[command(after_help = PRESETS_HELP)]
pub(crate) struct PresetsArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const PRESETS_HELP: &str = "\
--preset NAME, or --preset auto --context N, takes a row's settings for generate, serve, bench and plan, below flags, environment
and kvasir.toml.";

/// A row, and what became of it.
#[derive(Serialize)]
struct Checked {
    #[serde(flatten)]
    preset: Preset,
    checks: Vec<PresetCheck>,
}

pub(crate) fn run(args: &PresetsArgs) -> Result<(), CliError> {
    let check = |preset: Preset| -> Result<Checked, CliError> {
        let checks = preset.check().map_err(|error| CliError::from_internal_error(&error))?;
        Ok(Checked { preset, checks })
    };
    let checked = PRESETS.into_iter().map(check).collect::<Result<Vec<_>, _>>()?;
    if args.json {
        return output::json(&checked);
    }
    let mut text = String::new();
    for Checked { preset, checks } in &checked {
        let _ = writeln!(text, "{}: {}", preset.name, preset.use_case);
        let _ = writeln!(text, "  {}", settings(preset));
        checks.iter().for_each(|check| {
            let _ = writeln!(text, "  {}", line(check));
        });
    }
    output::text(&text)
}

fn settings(preset: &Preset) -> String {
    let chunked = if preset.enable_chunked_prefill { "" } else { "no " };
    let mut text = format!(
        "{} tokens, {} sequences, {} tokens in a step, {} of the memory, {chunked}chunked prefill, KV {}, {} MI300X",
        preset.max_model_len,
        preset.max_num_seqs,
        preset.max_num_batched_tokens,
        preset.gpu_memory_utilization,
        preset.kv_cache_dtype,
        preset.tensor_parallel_size * preset.pipeline_parallel_size,
    );
    if let Some(quantization) = preset.quantization {
        let _ = write!(text, ", weights {quantization}");
    }
    text + "; expected tokens/s: " + preset.expected_throughput
}

/// One model of a row.
pub(super) fn line(check: &PresetCheck) -> String {
    let fits = if check.fits { "fits" } else { "does not fit" };
    let mut text = format!("{:27} {fits}", check.model);
    if let Some(most) = check.most_tokens_per_s.filter(|_| check.fits) {
        let _ = write!(text, ", at most {most:.0} tokens/s at full length");
    }
    for note in &check.notes {
        let _ = write!(text, "; {note}");
    }
    text
}
