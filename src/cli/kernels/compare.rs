//! `kvasir kernels compare` and `kvasir kernels report`.

use std::path::PathBuf;

use clap::Args;
use kernels_hip::{Device, Runtime};
use kvasir::kernels::{CompareError, Comparison, Markdown, Plain, compare, roofline, subjects};

use crate::cli::error::CliError;
use crate::cli::output;

/// What to load where there is no ROCm.
const EMULATOR_HINT: &str = "without a GPU the emulator can take its place: \
    cargo build --release -p hip-emulator, then KVASIR_HIP_LIBRARY=target/release/libhip_emulator.so";

/// `kvasir kernels compare`.
#[derive(Args, Debug)]
pub(crate) struct CompareArgs {
    /// The op, for example paged_attention
    op: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `kvasir kernels report`.
#[derive(Args, Debug)]
pub(crate) struct ReportArgs {
    /// Folder for kernels.json, kernels.md and a roofline of each op as SVG
    #[arg(short, long, default_value = "kernel-report")]
    output: PathBuf,
    /// Only these ops
    #[arg(long, value_delimiter = ',')]
    ops: Vec<String>,
    /// Print the JSON too
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CompareArgs) -> Result<(), CliError> {
    let comparison = comparison(&device()?, &args.op)?;
    if args.json {
        output::json(&comparison)
    } else {
        output::text(&Plain(&comparison).to_string())
    }
}

pub(super) fn report(args: &ReportArgs) -> Result<(), CliError> {
    let device = device()?;
    let all = || subjects().iter().map(|subject| subject.op.to_owned()).collect();
    let ops = if args.ops.is_empty() { all() } else { args.ops.clone() };
    let comparisons =
        ops.iter().map(|op| comparison(&device, op)).collect::<Result<Vec<_>, _>>()?;
    let json = serde_json::to_string_pretty(&comparisons)
        .map_err(|error| CliError::from_internal_error(&error))?;
    let mut markdown =
        "# HIP kernels\n\nEach figure names its source: emulated, model, or hardware.\n\n"
            .to_owned();
    let mut files = vec![("kernels.json".to_owned(), json)];
    for comparison in &comparisons {
        let name = format!("{}.svg", comparison.op);
        files.push((name.clone(), roofline(comparison).map_err(CliError::internal)?));
        markdown +=
            &format!("{}![roofline of {}]({name})\n\n", Markdown(comparison), comparison.op);
    }
    files.push(("kernels.md".to_owned(), markdown));
    let written = std::fs::create_dir_all(&args.output).and_then(|()| {
        files.iter().try_for_each(|(name, text)| std::fs::write(args.output.join(name), text))
    });
    written.map_err(|error| CliError::output(&args.output.display().to_string(), &error))?;
    if args.json {
        return output::json(&comparisons);
    }
    output::text(&format!("{}\n", args.output.join("kernels.md").display()))
}

fn device() -> Result<Device, CliError> {
    let device = Runtime::load().and_then(|runtime| runtime.device(0));
    device.map_err(|error| CliError::from_usage_error(&error).with_hint(EMULATOR_HINT))
}

fn comparison(device: &Device, op: &str) -> Result<Comparison, CliError> {
    compare(device, op, &mut |what| eprintln!("{what}")).map_err(|error| match error {
        CompareError::NoSubject { .. } => CliError::from_usage_error(&error),
        error => CliError::from_internal_error(&error),
    })
}
