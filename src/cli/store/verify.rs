//! `kvasir store verify`: every byte of every record against its digests.

use clap::Args;
use kv_store::inventory::{self, Verdict};
use serde_json::json;

use super::target::{Target, all_codecs, list};
use crate::cli::error::CliError;
use crate::cli::{bars, output};

/// `kvasir store verify`.
#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    target: Target,
    /// Take damaged records out of readers' way, and keep them to be looked at
    #[arg(long)]
    quarantine: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A verdict for people.
pub(crate) fn words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Good(_) => "good".to_owned(),
        Verdict::Damaged(corruption) => format!("damaged: {corruption:?}"),
        Verdict::UnknownCodec => "of a codec that is not known here".to_owned(),
        Verdict::Gone => "gone".to_owned(),
        Verdict::Unreadable => "unreadable: the storage failed".to_owned(),
    }
}

pub(crate) fn run(args: &VerifyArgs) -> Result<(), CliError> {
    let inventory = args.target.open()?;
    let codecs = all_codecs();
    let items = list(&*inventory)?;
    let bar = bars::counting(items.len() as u64, "records");
    let (mut num_good, mut num_damaged, mut num_unknown, mut num_quarantined) = (0, 0, 0, 0);
    let mut findings = Vec::new();
    for item in bar.wrap_iter(items.iter()) {
        let verdict = inventory::verify(&*inventory, item, &codecs);
        match verdict {
            Verdict::Good(_) => num_good += 1,
            Verdict::Gone => {}
            Verdict::Damaged(_) => {
                num_damaged += 1;
                if args.quarantine {
                    let done = inventory.quarantine(item, &codecs);
                    let is_aside = done.map_err(|error| CliError::from_internal_error(&error))?;
                    num_quarantined += u64::from(is_aside);
                }
            }
            Verdict::UnknownCodec | Verdict::Unreadable => num_unknown += 1,
        }
        if !matches!(verdict, Verdict::Good(_) | Verdict::Gone) {
            findings.push((item.key.to_string(), words(&verdict)));
        }
    }
    if args.json {
        let findings = findings.iter().map(|(key, what)| json!({"key": key, "what": what}));
        output::json(&json!({
            "num_good": num_good,
            "num_damaged": num_damaged,
            "num_unknown": num_unknown,
            "num_quarantined": num_quarantined,
            "findings": findings.collect::<Vec<_>>(),
        }))?;
    } else {
        let lines = findings.iter().map(|(key, what)| format!("{key} {what}\n"));
        let found = lines.collect::<String>();
        output::text(&format!(
            "{found}{num_good} good, {num_damaged} damaged ({num_quarantined} put into quarantine), {num_unknown} \
             that cannot be told\n"
        ))?;
    }
    match (num_damaged, num_unknown) {
        (0, 0) => Ok(()),
        (0, _) => Err(CliError::internal(format!("{num_unknown} records could not be verified"))),
        _ => {
            let error = CliError::internal(format!("{num_damaged} records are damaged"));
            Err(match args.quarantine {
                true => error.with_hint("they are misses now, and will be computed again"),
                false => {
                    error.with_hint("--quarantine takes them away; readers refuse them anyway")
                }
            })
        }
    }
}
