//! Who watches launches, and what they saw.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use gfx942_emulator::count::Report;
use gfx942_emulator::sanitize::Finding;
use hip_sys::bindings::hipError_t;

use crate::error::{Failure, Result};

/// Most reports, and most findings, that are kept for whoever takes them.
const MAX_KEPT: usize = 1 << 16;

/// What is done about what a sanitizer finds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Sanitize {
    /// Nothing: there is no sanitizer.
    #[default]
    Off,
    /// It is told.
    Tell,
    /// It is told, and the launch has failed.
    Fail,
}

impl From<bool> for Sanitize {
    fn from(is_on: bool) -> Self {
        if is_on { Self::Tell } else { Self::Off }
    }
}

/// Who watches launches, and what they saw.
#[derive(Default)]
pub struct Watch {
    /// Whether launches are counted.
    pub counts: bool,
    /// Where each report goes as a line.
    pub file: Option<PathBuf>,
    /// Whether launches are sanitized.
    pub sanitize: Sanitize,
    reports: Vec<Report>,
    findings: Vec<Finding>,
}

impl Watch {
    /// Takes in what a launch was counted to do.
    pub fn add_report(&mut self, report: Report) {
        if let Some(file) = &self.file {
            if let Err(error) = append(file, &report) {
                eprintln!("hip-emulator: cannot write to {}: {error}", file.display());
            }
        } else if self.reports.len() < MAX_KEPT {
            self.reports.push(report);
        } else {
            eprintln!("hip-emulator: nobody takes the {MAX_KEPT} reports; this one is dropped");
        }
    }

    /// Takes in what was found in a launch.
    ///
    /// # Errors
    /// If that is a failure.
    pub fn add_findings(&mut self, findings: impl Iterator<Item = Finding>) -> Result {
        if self.sanitize == Sanitize::Off {
            return Ok(());
        }
        let mut first = None;
        for finding in findings {
            eprintln!("hip-emulator: sanitizer: {finding}");
            first.get_or_insert_with(|| finding.to_string());
            if self.findings.len() < MAX_KEPT {
                self.findings.push(finding);
            }
        }
        match first {
            Some(text) if self.sanitize == Sanitize::Fail => {
                Err(Failure::new(hipError_t::hipErrorLaunchFailure, format!("sanitizer: {text}")))
            }
            _ => Ok(()),
        }
    }

    /// The reports since the last time, as a JSON array.
    pub fn take_reports(&mut self) -> String {
        json(&std::mem::take(&mut self.reports))
    }

    /// The findings since the last time, as a JSON array.
    pub fn take_findings(&mut self) -> String {
        json(&std::mem::take(&mut self.findings))
    }
}

fn json<T: serde::Serialize>(items: &[T]) -> String {
    // There are neither maps with keys that are no strings nor failing writers.
    serde_json::to_string(items).unwrap_or_default()
}

fn append(file: &Path, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    // Whole lines: several processes may write to it.
    OpenOptions::new().append(true).create(true).open(file)?.write_all(&line)
}
