//! `kvasir completions` and `kvasir man`: what shells and readers want to know of the commands.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use super::error::CliError;
use super::output;

/// `kvasir completions`.
#[derive(Args, Debug)]
#[command(
    after_help = "kvasir completions bash > ~/.local/share/bash-completion/completions/kvasir"
)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// `kvasir man`.
#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// Write a page for each command to this folder
    directory: PathBuf,
}

pub(crate) fn completions(args: &CompletionsArgs, mut command: Command) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "kvasir", &mut script);
    output::text(&String::from_utf8_lossy(&script))
}

pub(crate) fn man(args: &ManArgs, command: Command) -> Result<(), CliError> {
    let at = args.directory.display().to_string();
    std::fs::create_dir_all(&args.directory)
        .and_then(|()| clap_mangen::generate_to(command, &args.directory))
        .map_err(|error| CliError::output(&at, &error))
}
