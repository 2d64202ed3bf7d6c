//! `kvasir store stat` and `ls`: what records say of themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use clap::Args;
use indicatif::HumanBytes;
use kv_store::inventory::{self, Verdict};
use kv_store::record::Header;
use serde_json::{Value, json};

use super::target::{Target, list, now_ms, short};
use crate::cli::error::CliError;
use crate::cli::{bars, output};

/// `kvasir store stat` and `ls`.
#[derive(Args, Debug)]
pub(crate) struct LookArgs {
    #[command(flatten)]
    target: Target,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What the records of one identity, shape and codec come to.
#[derive(Default)]
struct Group {
    num_records: u64,
    bytes: u64,
    num_tokens: u64,
    tenants: BTreeSet<[u8; 16]>,
    num_expired: u64,
}

/// Identity, dtype, shape, codec.
type Kind = (String, String, String, String);

fn kind(header: &Header) -> Kind {
    let shape = &header.shape;
    let shape = format!("{}x{}x{}", shape.num_layers, shape.num_kv_heads, shape.head_dim);
    (short(&header.identity), header.dtype.clone(), shape, header.codec.clone())
}

pub(crate) fn stat(args: &LookArgs) -> Result<(), CliError> {
    let inventory = args.target.open()?;
    let items = list(&*inventory)?;
    let mut groups: BTreeMap<Kind, Group> = BTreeMap::new();
    let mut num_unreadable = 0;
    let bar = bars::counting(items.len() as u64, "records");
    let now_ms = now_ms();
    for item in bar.wrap_iter(items.iter()) {
        let Verdict::Good(header) = inventory::header(&*inventory, item) else {
            num_unreadable += 1;
            continue;
        };
        let group = groups.entry(kind(&header)).or_default();
        group.num_records += 1;
        group.bytes += item.bytes;
        group.num_tokens += u64::from(header.meta.num_tokens);
        group.tenants.insert(header.meta.tenant.0);
        group.num_expired += u64::from(header.meta.is_expired(now_ms));
    }
    let bytes: u64 = items.iter().map(|item| item.bytes).sum();
    let quarantined = inventory.quarantined();
    let quarantined = quarantined.map_err(|error| CliError::from_internal_error(&error))?;
    if args.json {
        return output::json(&json!({
            "num_records": items.len(),
            "bytes": bytes,
            "num_without_header": num_unreadable,
            "quarantine": {"num": quarantined.num, "bytes": quarantined.bytes},
            "groups": groups.iter().map(group_json).collect::<Value>(),
        }));
    }
    let mut text = format!("{} records, {}\n", items.len(), HumanBytes(bytes));
    // Writing to a string cannot fail.
    for ((identity, dtype, shape, codec), group) in &groups {
        let _ = writeln!(
            text,
            "{identity}  {dtype} {shape} {codec}: {} records, {} tokens, {}, {} tenants, {} expired",
            group.num_records,
            group.num_tokens,
            HumanBytes(group.bytes),
            group.tenants.len(),
            group.num_expired,
        );
    }
    if num_unreadable > 0 {
        let _ = writeln!(text, "{num_unreadable} records without a header that can be read");
    }
    let _ = writeln!(text, "{} in quarantine, {}", quarantined.num, HumanBytes(quarantined.bytes));
    output::text(&text)
}

fn group_json(((identity, dtype, shape, codec), group): (&Kind, &Group)) -> Value {
    json!({
        "identity": identity,
        "dtype": dtype,
        "shape": shape,
        "codec": codec,
        "num_records": group.num_records,
        "num_tokens": group.num_tokens,
        "bytes": group.bytes,
        "num_tenants": group.tenants.len(),
        "num_expired": group.num_expired,
    })
}

pub(crate) fn ls(args: &LookArgs) -> Result<(), CliError> {
    let inventory = args.target.open()?;
    let mut rows = Vec::new();
    let mut text = String::new();
    for item in list(&*inventory)? {
        let key = item.key.to_string();
        let row = match inventory::header(&*inventory, &item) {
            Verdict::Good(header) => {
                let (identity, dtype, shape, codec) = kind(&header);
                let meta = &header.meta;
                let end = meta.first_token.saturating_add(u64::from(meta.num_tokens));
                let _ = writeln!(
                    text,
                    "{key} {:>12} {identity} {dtype} {shape} {codec} tokens {}..{end}",
                    item.bytes, meta.first_token
                );
                json!({
                    "key": key, "bytes": item.bytes, "identity": identity, "dtype": dtype, "shape": shape,
                    "codec": codec, "first_token": meta.first_token, "num_tokens": meta.num_tokens,
                    "created_ms": meta.created_ms, "expires_ms": meta.expires_ms,
                })
            }
            Verdict::Gone => continue,
            verdict => {
                let _ =
                    writeln!(text, "{key} {:>12} {}", item.bytes, super::verify::words(&verdict));
                json!({"key": key, "bytes": item.bytes, "error": super::verify::words(&verdict)})
            }
        };
        rows.push(row);
    }
    if args.json { output::json(&rows) } else { output::text(&text) }
}
