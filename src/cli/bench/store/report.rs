//! What was measured, as a table.

use std::fmt;

use serde::Serialize;

use super::place::Kind;
use crate::cli::bench::spread::Quantiles;

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
        let tier = match self.tier {
            Kind::Host => "host memory",
            Kind::PageCache => "files, page cache",
            Kind::Disk => "files, direct",
            Kind::Bucket => "bucket",
        };
        let chunk = format!("{} tokens", self.chunk_tokens);
        let Quantiles { p10, median, p90 } = self.gb_s;
        let rate = format!("{median:.2} ({p10:.2} to {p90:.2})");
        let beside = self.beside.as_ref().map_or_else(String::new, |beside| {
            let (part, gb_s) = (beside.ratio.median * 100.0, beside.gb_s.median);
            format!("{part:.0} % of {} {gb_s:.2}", beside.what)
        });
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
