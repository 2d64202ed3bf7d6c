//! `kvasir doctor`: what is wrong with this machine, and what to do.

mod gpu;
mod host;
mod machine;
mod storage;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::error::CliError;
use super::output;
use machine::Machine;

/// `kvasir doctor`.
#[derive(Args, Debug)]
#[command(after_help = DOCTOR_HELP)]
pub(crate) struct DoctorArgs {
    /// Look at what this LMCache configuration would keep, and where
    /// [default: the file that LMCACHE_CONFIG_FILE names, else none]
    #[arg(long, value_name = "FILE.yaml")]
    kv_config: Option<PathBuf>,

    /// Measure the storage that KV would be read from in this folder; a file of 256 MiB is written there and removed
    /// [default: where the configuration keeps KV]
    #[arg(long, value_name = "FOLDER")]
    kv_path: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

const DOCTOR_HELP: &str = "\
The exit code is 0 when nothing is wrong, and 1 when a check fails. A machine without a GPU is not wrong: the CPU backend
and the emulator run on it.";

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Severity {
    /// As it should be.
    Ok,
    /// Good to know.
    Info,
    /// Slower or smaller than it could be.
    Warning,
    /// Does not work.
    Failure,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    check: &'static str,
    severity: Severity,
    finding: String,
    remedy: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, finding: impl Into<String>) -> Finding {
        Finding { check, severity: Severity::Ok, finding: finding.into(), remedy: None }
    }

    fn info(check: &'static str, finding: impl Into<String>) -> Finding {
        Finding { severity: Severity::Info, ..Finding::ok(check, finding) }
    }

    fn warning(
        check: &'static str,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        let remedy = Some(remedy.into());
        Finding { severity: Severity::Warning, remedy, ..Finding::ok(check, finding) }
    }

    fn failure(
        check: &'static str,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        Finding { severity: Severity::Failure, ..Finding::warning(check, finding, remedy) }
    }
}

pub(crate) fn run(args: &DoctorArgs) -> Result<(), CliError> {
    let machine = Machine::this();
    let mut findings = gpu::findings(&machine, &gpu::architectures());
    findings.push(gpu::library());
    findings.extend(host::findings(&machine));
    findings.extend(storage::findings(args.kv_config.as_deref(), args.kv_path.as_deref()));
    if args.json {
        output::json(&findings)?;
    } else {
        output::text(&text(&findings))?;
    }
    match findings.iter().filter(|finding| finding.severity == Severity::Failure).count() {
        0 => Ok(()),
        1 => Err(CliError::internal("a check failed")),
        count => Err(CliError::internal(format!("{count} checks failed"))),
    }
}

fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { check, severity, finding, remedy } in findings {
        let severity = match severity {
            Severity::Ok => "ok",
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Failure => "FAILURE",
        };
        let _ = writeln!(text, "{severity:8} {check:18} {finding}");
        if let Some(remedy) = remedy {
            let _ = writeln!(text, "{:27} do: {remedy}", "");
        }
    }
    text
}

/// `bytes` in GiB.
fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

/// A path for messages.
fn named(path: &Path) -> String {
    path.display().to_string()
}
