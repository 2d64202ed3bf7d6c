//! `kvasir store`: looking after a KV store, without a model.

mod archive;
mod gc;
mod look;
mod target;
mod verify;

use clap::{Args, Subcommand};

use super::error::CliError;

/// `kvasir store`.
#[derive(Args, Debug)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// How full a store is, and with whose KV
    Stat(look::LookArgs),
    /// List every record
    Ls(look::LookArgs),
    /// Compare every byte with its digests; the exit code is 1 if records are damaged
    Verify(verify::VerifyArgs),
    /// Remove what is expired, what is in quarantine, and the oldest beyond a cap
    Gc(gc::GcArgs),
    /// Write all good records to a file, for `import` elsewhere
    Export(archive::ExportArgs),
    /// Add the records of a file that `export` wrote
    Import(archive::ImportArgs),
}

pub(crate) fn run(args: &StoreArgs) -> Result<(), CliError> {
    match &args.command {
        StoreCommand::Stat(args) => look::stat(args),
        StoreCommand::Ls(args) => look::ls(args),
        StoreCommand::Verify(args) => verify::run(args),
        StoreCommand::Gc(args) => gc::run(args),
        StoreCommand::Export(args) => archive::export(args),
        StoreCommand::Import(args) => archive::import(args),
    }
}
