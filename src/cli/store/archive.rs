//! `kvasir store export` and `import`: records in a tar file, each verified when it is written and when it is read.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use kv_store::inventory::{self, Inventory, Item, Verdict};
use kv_store::keys::ChunkKey;
use kv_store::record;
use serde_json::json;

use super::target::{Target, all_codecs, list};
use super::verify::words;
use crate::cli::error::CliError;
use crate::cli::{bars, output};

/// No record that is worth sending is longer; what says so is not read.
const MAX_RECORD_BYTES: u64 = 4 << 30;

/// `kvasir store export`.
#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    target: Target,
    /// The file to write; it must not be there
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `kvasir store import`.
#[derive(Args, Debug)]
pub(crate) struct ImportArgs {
    /// A file that `export` wrote
    file: PathBuf,
    #[command(flatten)]
    target: Target,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Default)]
struct Tally {
    num_done: u64,
    num_there: u64,
    bytes: u64,
    /// Records that were left out, and why.
    refused: Vec<(String, String)>,
}

impl Tally {
    fn report(&self, verb: &str, as_json: bool) -> Result<(), CliError> {
        if as_json {
            let refused = self.refused.iter().map(|(key, what)| json!({"key": key, "what": what}));
            output::json(&json!({
                verb: self.num_done,
                "already_there": self.num_there,
                "bytes": self.bytes,
                "refused": refused.collect::<Vec<_>>(),
            }))?;
        } else {
            let lines = self.refused.iter().map(|(key, what)| format!("{key} {what}\n"));
            let refused = lines.collect::<String>();
            let (done, there) = (self.num_done, self.num_there);
            output::text(&format!("{refused}{verb} {done} records, {there} were there already\n"))?;
        }
        match self.refused.len() {
            0 => Ok(()),
            num => {
                Err(CliError::internal(format!("{num} records are not good, and were left out")))
            }
        }
    }
}

pub(crate) fn export(args: &ExportArgs) -> Result<(), CliError> {
    let inventory = args.target.open()?;
    let failed = |error: io::Error| CliError::file("write", &args.file, &error);
    let file = File::create_new(&args.file).map_err(failed)?;
    let written = write_archive(&*inventory, file, &args.file);
    if written.is_err() {
        // Half an archive is none.
        let _ = std::fs::remove_file(&args.file);
    }
    written?.report("exported", args.json)
}

fn write_archive(inventory: &dyn Inventory, file: File, path: &Path) -> Result<Tally, CliError> {
    let failed = |error: io::Error| CliError::file("write", path, &error);
    let codecs = all_codecs();
    let mut archive = tar::Builder::new(BufWriter::new(file));
    let mut tally = Tally::default();
    let items = list(inventory)?;
    let bar = bars::counting(items.len() as u64, "records");
    for item in bar.wrap_iter(items.iter()) {
        match inventory::read(inventory, item, &codecs) {
            Ok((_, bytes)) => {
                let mut header = tar::Header::new_ustar();
                header.set_size(bytes.len() as u64);
                header.set_mode(0o644);
                archive.append_data(&mut header, name(&item.key), &*bytes).map_err(failed)?;
                tally.num_done += 1;
                tally.bytes += bytes.len() as u64;
            }
            Err(Verdict::Gone) => {}
            Err(verdict) => tally.refused.push((item.key.to_string(), words(&verdict))),
        }
    }
    let mut buffer = archive.into_inner().map_err(failed)?;
    buffer.flush().map_err(failed)?;
    buffer.get_ref().sync_all().map_err(failed)?;
    Ok(tally)
}

fn name(key: &ChunkKey) -> String {
    format!("records-v{}/{key}", record::VERSION)
}

pub(crate) fn import(args: &ImportArgs) -> Result<(), CliError> {
    let failed = |error: io::Error| CliError::file("read", &args.file, &error);
    let file = File::open(&args.file).map_err(failed)?;
    let inventory = args.target.create()?;
    let bar = bars::bytes("importing");
    bar.set_length(file.metadata().map_err(failed)?.len());
    let mut archive = tar::Archive::new(BufReader::new(bar.wrap_read(file)));
    let mut tally = Tally::default();
    for entry in archive.entries().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path().map_err(failed)?.to_string_lossy().into_owned();
        let key = path.split_once('/').and_then(|(_, key)| ChunkKey::parse(key));
        let Some(key) = key.filter(|key| name(key) == path) else {
            let message = format!("{} has {path:?}, which is no record", args.file.display());
            return Err(CliError::usage(message).with_hint("import reads what export wrote"));
        };
        let mut bytes = Vec::new();
        // Grows with what is there, not with what is promised.
        let num_bytes = entry.take(MAX_RECORD_BYTES).read_to_end(&mut bytes).map_err(failed)?;
        match record::verify_alone(&&bytes[..], &key, &all_codecs()) {
            Ok(header) if header.record_bytes() == num_bytes as u64 => {
                add(&*inventory, &key, &bytes, &mut tally)?;
            }
            Ok(_) => tally.refused.push((key.to_string(), "longer than its record".to_owned())),
            Err(unverified) => {
                tally.refused.push((key.to_string(), words(&inventory::verdict(Err(unverified)))));
            }
        }
    }
    bar.finish_and_clear();
    tally.report("imported", args.json)
}

/// What is there already stays if it is good.
fn add(
    inventory: &dyn Inventory,
    key: &ChunkKey,
    bytes: &[u8],
    tally: &mut Tally,
) -> Result<(), CliError> {
    let failed = |error: io::Error| CliError::internal(format!("{key} cannot be stored: {error}"));
    let codecs = all_codecs();
    let item = Item { key: *key, bytes: bytes.len() as u64 };
    let mut is_new = inventory.publish(key, bytes).map_err(failed)?;
    if !is_new && matches!(inventory::verify(inventory, &item, &codecs), Verdict::Damaged(_)) {
        inventory.quarantine(&item, &codecs).map_err(failed)?;
        is_new = inventory.publish(key, bytes).map_err(failed)?;
    }
    if is_new {
        tally.num_done += 1;
        tally.bytes += bytes.len() as u64;
    } else {
        tally.num_there += 1;
    }
    Ok(())
}
