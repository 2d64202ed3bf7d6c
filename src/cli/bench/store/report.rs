//! What was measured, as a table.

use std::fmt;

use serde::Serialize;

use super::place::Kind;
use crate::cli::bench::memory::MemoryUse;
use crate::cli::bench::report::{Page, bars};
use crate::cli::bench::spread::Quantiles;
use crate::cli::error::CliError;

/// What the machine does with the same bytes by itself, in the same turns.
#[derive(Debug, Serialize)]
pub(super) struct Beside {
    pub what: &'static str,
    pub gb_s: Quantiles,
    /// The tier's speed over this one.
    pub ratio: Quantiles,
}

/// A line of the table.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub tier: Kind,
    pub op: &'static str,
    pub chunk_tokens: u32,
    pub chunk_bytes: usize,
    pub depth: u32,
    pub num_turns: usize,
    pub gb_s: Quantiles,
    pub beside: Option<Beside>,
    /// The part of the time that goes without verification.
    pub verification: Option<Quantiles>,
}

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub bytes_per_token: usize,
    /// Why files were not read as they should be, if they were not.
    pub fallbacks: Vec<String>,
    pub rows: Vec<Row>,
    pub memory: MemoryUse,
}

impl Report {
    pub(super) fn page(&self) -> Result<Page, CliError> {
        let mut page = Page::new("Tiers of the KV store");
        let row = |row: &Row| {
            [
                row.tier_text().to_owned(),
                row.op.to_owned(),
                row.chunk_tokens.to_string(),
                row.depth.to_string(),
                format!("{:.2}", row.gb_s.median),
                row.beside.as_ref().map_or(String::new(), Beside::text),
            ]
        };
        page.table(
            "Chunks as those of SmolLM2-135M",
            ["tier", "op", "tokens of a chunk", "threads", "GB/s", "of what the machine does"],
            self.rows.iter().map(row).collect(),
        );
        let speed = |row: &Row| {
            let Row { op, chunk_tokens, depth, .. } = row;
            let name = format!("{}: {op}, {chunk_tokens} tokens, {depth} threads", row.tier_text());
            let Quantiles { p10, median, p90 } = row.gb_s;
            (name, [p10, median, p90])
        };
        let rows: Vec<_> = self.rows.iter().map(speed).collect();
        page.figure("Speed: median, and from 10 % to 90 % of turns", bars("GB/s", &rows))?;
        page.memory(&self.memory)?;
        Ok(page)
    }
}

impl Beside {
    fn text(&self) -> String {
        format!("{:.0} % of {} {:.2}", self.ratio.median * 100.0, self.what, self.gb_s.median)
    }
}

impl Row {
    fn tier_text(&self) -> &'static str {
        match self.tier {
            Kind::Host => "host memory",
            Kind::PageCache => "files, page cache",
            Kind::Disk => "files, direct",
            Kind::Bucket => "bucket",
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["Tier", "Op", "Chunk", "Depth", "GB/s (p10 to p90)"];
        let [tier, op, chunk, depth, rate] = head;
        writeln!(
            f,
            "| {tier:17} | {op:3} | {chunk:>11} | {depth:>5} | {rate:24} | {:29} | {:12} |",
            "Of what the machine does", "Verification"
        )?;
        writeln!(
            f,
            "|{:-<19}|{:-<5}|{:-<13}|{:-<7}|{:-<26}|{:-<31}|{:-<14}|",
            "", "", "", "", "", "", ""
        )?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))?;
        self.fallbacks.iter().try_for_each(|why| writeln!(f, "direct reads: {why}"))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tier = self.tier_text();
        let chunk = format!("{} tokens", self.chunk_tokens);
        let Quantiles { p10, median, p90 } = self.gb_s;
        let rate = format!("{median:.2} ({p10:.2} to {p90:.2})");
        let beside = self.beside.as_ref().map_or_else(String::new, Beside::text);
        let verification = self.verification.as_ref();
        let verification = verification.map(|part| format!("{:.1} %", part.median * 100.0));
        write!(
            f,
            "| {tier:17} | {:3} | {chunk:>11} | {:>5} | {rate:24} | {beside:29} | {:>12} |",
            self.op,
            self.depth,
            verification.unwrap_or_default()
        )
    }
}
