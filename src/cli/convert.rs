//! `kvasir convert`: any model that can be read, as a Hugging Face directory.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use engine::{DType, convert_to_hf_dir, weights};

use super::bars::{self, DownloadBars};
use super::error::CliError;

/// `kvasir convert`.
#[derive(Args, Debug)]
pub(crate) struct ConvertArgs {
    /// A known name, a GGUF file, a model directory, or hf:ORG/MODEL[@REVISION][:FILE.gguf]
    pub model: String,
    /// The directory to write; made if it does not exist
    pub out: PathBuf,
    /// Format of the weights
    #[arg(long, value_enum, default_value_t = WeightDtype::Bfloat16)]
    pub dtype: WeightDtype,
}

/// A format that weights are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WeightDtype {
    #[value(alias = "bf16")]
    Bfloat16,
    #[value(alias = "f32", alias = "float")]
    Float32,
}

impl From<WeightDtype> for DType {
    fn from(dtype: WeightDtype) -> DType {
        match dtype {
            WeightDtype::Bfloat16 => DType::BF16,
            WeightDtype::Float32 => DType::F32,
        }
    }
}

pub(crate) fn run(args: &ConvertArgs) -> Result<(), CliError> {
    let path = engine::hub::resolve(&args.model, &DownloadBars::new())?;
    let model = weights::open(&path).map_err(|error| CliError::from_usage_error(&error))?;
    let bar = bars::bytes("converting");
    let converted = convert_to_hf_dir(&model, &args.out, args.dtype.into(), &mut |progress| {
        bar.set_length(progress.total_bytes);
        bar.set_position(progress.done_bytes);
    });
    bar.finish_and_clear();
    converted.map_err(|error| CliError::from_usage_error(&error))
}
