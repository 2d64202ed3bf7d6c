//! What was measured, in the recipe's form.

use std::fmt;

use serde::Serialize;

use super::limits::Limits;
use crate::cli::bench::memory::MemoryUse;
use crate::cli::bench::report::{Page, bars};
use crate::cli::bench::spread::Spread;
use crate::cli::error::CliError;

/// Where a prompt's KV came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Method {
    Computed,
    Device,
    Host,
    Disk,
}

impl Method {
    const fn text(self) -> &'static str {
        match self {
            Method::Computed => "Prefill, computed from scratch",
            Method::Device => "KV still on the device",
            Method::Host => "KV from host memory",
            Method::Disk => "KV from the directory",
        }
    }

    const fn limit_text(self) -> &'static str {
        match self {
            Method::Computed => "",
            Method::Device => "tokenize + decode step",
            Method::Host => "the same + memcpy",
            Method::Disk => "the same + raw reads",
        }
    }
}

/// A line of the table.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    method: Method,
    ttft: Spread,
    /// How many times faster than cold.
    improvement: f64,
    /// What the machine allows, seconds.
    limit_s: Option<f64>,
    /// The median over that.
    of_limit: Option<f64>,
}

impl Row {
    pub(super) fn new(method: Method, ttft: Spread, cold: &Spread, limit_s: Option<f64>) -> Row {
        let improvement = cold.median_s / ttft.median_s;
        let of_limit = limit_s.map(|limit_s| ttft.median_s / limit_s);
        Row { method, ttft, improvement, limit_s, of_limit }
    }
}

/// All of it. Times are seconds.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub model: String,
    pub device: String,
    pub numerics_id: String,
    pub num_prompt_tokens: usize,
    pub kv_bytes: u64,
    pub rows: Vec<Row>,
    pub limits: Limits,
    pub memory: MemoryUse,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} on {}", self.model, self.device)?;
        let megabytes = self.kv_bytes as f64 / 1e6;
        writeln!(f, "{} prompt tokens, {megabytes:.1} MB of KV\n", self.num_prompt_tokens)?;
        let head = ["Method", "Time to first token", "Improvement", "Limit of this machine"];
        writeln!(f, "| {:30} | {:32} | {:11} | {} |", head[0], head[1], head[2], head[3])?;
        writeln!(f, "|{:-<32}|{:-<34}|{:-<13}|{:-<23}|", "", "", "", "")?;
        self.rows.iter().try_for_each(|row| row.write(f))?;
        let ms = |spread: &Spread| spread.median_s * 1e3;
        let Limits { tokenize, decode_step, copy, read, read_fallbacks } = &self.limits;
        let rate = |spread: &Spread| self.kv_bytes as f64 / spread.median_s / 1e9;
        writeln!(
            f,
            "\ntokenize {:.1} ms, decode step {:.1} ms, memcpy {:.1} ms ({:.1} GB/s), raw reads {:.1} ms \
             ({:.1} GB/s)",
            ms(tokenize),
            ms(decode_step),
            ms(copy),
            rate(copy),
            ms(read),
            rate(read)
        )?;
        read_fallbacks.iter().try_for_each(|why| writeln!(f, "raw reads: {why}"))
    }
}

impl Report {
    pub(super) fn page(&self) -> Result<Page, CliError> {
        let mut page =
            Page::new(format!("Time to first token of {} on {}", self.model, self.device));
        let row = |row: &Row| {
            [
                row.method.text().to_owned(),
                format!("{:.1}", row.ttft.median_s * 1e3),
                format!("{:.1}", row.improvement),
                row.limit_s.map_or(String::new(), |limit_s| format!("{:.1}", limit_s * 1e3)),
                row.method.limit_text().to_owned(),
            ]
        };
        page.table(
            &format!(
                "{} prompt tokens, {:.1} MB of KV",
                self.num_prompt_tokens,
                self.kv_bytes as f64 / 1e6
            ),
            ["", "median (ms)", "times faster", "this machine's limit (ms)", "which is"],
            self.rows.iter().map(row).collect(),
        );
        let ttft = |row: &Row| {
            let Spread { min_s, median_s, max_s } = row.ttft;
            (row.method.text().to_owned(), [min_s, median_s, max_s].map(|time| time * 1e3))
        };
        let rows: Vec<_> = self.rows.iter().map(ttft).collect();
        page.figure("Time to first token: median, least and most", bars("milliseconds", &rows))?;
        page.memory(&self.memory)?;
        Ok(page)
    }
}

impl Row {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread { min_s, median_s, max_s } = self.ttft;
        let times = format!("{:.1} ms ({:.1} to {:.1})", median_s * 1e3, min_s * 1e3, max_s * 1e3);
        let improvement = match self.method {
            Method::Computed => "baseline".to_owned(),
            _ => format!("{:.1}x faster", self.improvement),
        };
        let limit = match (self.limit_s, self.of_limit) {
            (Some(limit_s), Some(of_limit)) => {
                format!("{of_limit:.2} x {:.1} ms: {}", limit_s * 1e3, self.method.limit_text())
            }
            _ => String::new(),
        };
        writeln!(f, "| {:30} | {times:32} | {improvement:11} | {limit} |", self.method.text())
    }
}
