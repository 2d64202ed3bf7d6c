//! `kvasir calibrate`: scales of an FP8 KV cache from texts.

use std::io::Read;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use clap::Args;
use engine::{Calibration, DType, Llm, weights};
use serde::Deserialize;

use super::args::DtypeArg;
use super::bars::{self, DownloadBars};
use super::error::CliError;

/// `kvasir calibrate`.
#[derive(Args, Debug)]
#[command(after_help = CALIBRATE_HELP)]
pub(crate) struct CalibrateArgs {
    /// A known name, a GGUF file, a model directory, or hf:ORG/MODEL[@REVISION][:FILE.gguf]
    pub model: String,

    /// What the model reads: a text, or a .jsonl file with a `prompt`, a `text` or
    /// `prompt_token_ids` in each line
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,

    /// The file to write; an existing one is left alone
    #[arg(short, long, value_name = "SCALES.safetensors")]
    pub output: PathBuf,

    /// Format of weights and matrix inputs; auto is bfloat16
    #[arg(long, value_enum, default_value_t = DtypeArg::Auto)]
    pub dtype: DtypeArg,

    /// Threads that compute [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZero<usize>>,
}

const CALIBRATE_HELP: &str = "\
The model computes the texts once. Each layer and KV head gets a scale with which its largest key, and
its largest value, becomes half of the largest number of FP8 (e4m3): what is up to twice as large in
other texts still fits. The file holds for this model alone, for fp8_e4m3 and fp8_e5m2 and for both
flavours; give it to `kvasir generate --kv-cache-dtype fp8 --kv-cache-scales SCALES.safetensors`.

A few thousand tokens of the kind that the model will see are enough.";

/// A line of the input.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(alias = "text")]
    prompt: Option<String>,
    prompt_token_ids: Option<Vec<u32>>,
}

pub(crate) fn run(args: &CalibrateArgs) -> Result<(), CliError> {
    if args.output.exists() {
        return Err(CliError::usage(format!("{} already exists", args.output.display()))
            .with_hint("give another --output, or remove it"));
    }
    let input = read(&args.input)?;
    let path = engine::hub::resolve(&args.model, &DownloadBars::new())?;
    let model = weights::open(&path).map_err(|error| CliError::from_usage_error(&error))?;
    let texts = texts(&args.input, &input, &model)?;
    let bar = bars::counting(0, "tokens");
    let mut builder = Llm::builder(path).dtype(args.dtype.dtype().unwrap_or(DType::BF16));
    if let Some(threads) = args.threads {
        builder = builder.threads(threads);
    }
    let calibrated = builder.calibrate(&texts, &mut |progress| {
        bar.set_length(progress.total_tokens as u64);
        bar.set_position(progress.done_tokens as u64);
    });
    bar.finish_and_clear();
    let calibration = calibrated.map_err(|error| CliError::from_usage_error(&error))?;
    engine::write_kv_scales(&model, &calibration.scales, &args.output)
        .map_err(|error| CliError::from_usage_error(&error))?;
    eprintln!("{}", summary(&calibration, &args.output));
    Ok(())
}

fn read(path: &Path) -> Result<String, CliError> {
    let mut text = String::new();
    let opened = std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text));
    opened.map_err(|error| CliError::file("read", path, &error))?;
    Ok(text)
}

/// The tokens of a text, or of every line of a JSONL file.
fn texts(path: &Path, input: &str, model: &weights::Model) -> Result<Vec<Vec<u32>>, CliError> {
    let encode = |text: &str| {
        engine::encode(model, text).map_err(|error| CliError::from_usage_error(&error))
    };
    if path.extension().is_none_or(|extension| extension != "jsonl") {
        return Ok(vec![encode(input)?]);
    }
    let lines = input.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parse = |(i, line): (usize, &str)| {
        let place = format!("{}, line {}", path.display(), i + 1);
        let line: Line = serde_json::from_str(line)
            .map_err(|error| CliError::usage(format!("{place}: {error}")))?;
        match (line.prompt, line.prompt_token_ids) {
            (Some(text), None) => encode(&text).map_err(|error| error.at(&place)),
            (None, Some(token_ids)) => Ok(token_ids),
            _ => Err(CliError::usage(format!("{place}: neither `prompt` nor `prompt_token_ids`"))
                .with_hint("give one of them")),
        }
    };
    lines.map(parse).collect()
}

fn summary(calibration: &Calibration, output: &Path) -> String {
    let scales = &calibration.scales;
    format!(
        "{}: {} layers, {} KV heads, from {} tokens; largest key {:.4}, largest value {:.4}",
        output.display(),
        scales.num_layers(),
        scales.num_kv_heads(),
        calibration.num_tokens,
        calibration.largest_key,
        calibration.largest_value,
    )
}
