//! `kvasir store gc`: room for what is used.

use clap::Args;
use indicatif::HumanBytes;
use kv_store::inventory::{self, Inventory, Item, Remains, Verdict};
use serde_json::json;

use super::target::{Target, list, now_ms};
use crate::cli::error::CliError;
use crate::cli::{bars, output};

/// `kvasir store gc`.
#[derive(Args, Debug)]
pub(crate) struct GcArgs {
    #[command(flatten)]
    target: Target,
    /// Remove the oldest records until no more than so many bytes are left
    #[arg(long)]
    max_bytes: Option<u64>,
    /// Leave what is in quarantine
    #[arg(long)]
    keep_quarantine: bool,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &GcArgs) -> Result<(), CliError> {
    let inventory = args.target.open()?;
    let failed = |error| CliError::from_internal_error(&error);
    let (expired, mut kept) = sorted_out(&*inventory)?;
    let mut bytes: u64 = kept.iter().map(|(_, item)| item.bytes).sum();
    let mut oldest = Vec::new();
    if let Some(max_bytes) = args.max_bytes {
        kept.sort_unstable();
        for (_, item) in kept {
            if bytes <= max_bytes {
                break;
            }
            bytes -= item.bytes;
            oldest.push(item);
        }
    }
    if !args.dry_run {
        for item in expired.iter().chain(&oldest) {
            inventory.remove(item).map_err(failed)?;
        }
    }
    let quarantined = match (args.keep_quarantine, args.dry_run) {
        (true, _) => Remains::default(),
        (false, true) => inventory.quarantined().map_err(failed)?,
        (false, false) => inventory.empty_quarantine().map_err(failed)?,
    };
    let removed = |items: &[Item]| Remains {
        num: items.len() as u64,
        bytes: items.iter().map(|item| item.bytes).sum(),
    };
    let parts =
        [("expired", removed(&expired)), ("oldest", removed(&oldest)), ("quarantine", quarantined)];
    if args.json {
        let parts = parts
            .map(|(name, part)| (name.to_owned(), json!({"num": part.num, "bytes": part.bytes})));
        let removed: serde_json::Map<_, _> = parts.into_iter().collect();
        return output::json(
            &json!({"is_dry_run": args.dry_run, "removed": removed, "bytes_left": bytes}),
        );
    }
    let verb = if args.dry_run { "would remove" } else { "removed" };
    let lines = parts
        .map(|(name, part)| format!("{verb} {} of {name}, {}\n", part.num, HumanBytes(part.bytes)));
    output::text(&format!("{}{} left\n", lines.concat(), HumanBytes(bytes)))
}

/// Milliseconds since 1970, and a record that was made then.
type Made = (u64, Item);

/// The expired records, and the others with the time they were made; of an unreadable one nothing is known, and it goes
/// first.
fn sorted_out(inventory: &dyn Inventory) -> Result<(Vec<Item>, Vec<Made>), CliError> {
    let now_ms = now_ms();
    let (mut expired, mut kept) = (Vec::new(), Vec::new());
    let items = list(inventory)?;
    let bar = bars::counting(items.len() as u64, "records");
    for item in bar.wrap_iter(items.into_iter()) {
        match inventory::header(inventory, &item) {
            Verdict::Gone => {}
            Verdict::Good(header) if header.meta.is_expired(now_ms) => expired.push(item),
            Verdict::Good(header) => kept.push((header.meta.created_ms, item)),
            _ => kept.push((0, item)),
        }
    }
    Ok((expired, kept))
}
