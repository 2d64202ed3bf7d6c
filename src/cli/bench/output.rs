//! Where a bench puts what it found.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::report::Page;
use crate::cli::error::CliError;
use crate::cli::output;

/// Options that every bench has.
#[derive(Args, Debug)]
pub(super) struct OutputArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,

    /// Write a report with pictures to this file: one page of HTML that needs no other file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl OutputArgs {
    /// Writes the page if it was asked for, and prints `report` as JSON or `table`.
    ///
    /// # Errors
    /// If a picture cannot be drawn, or something be written.
    pub(super) fn give<T: Serialize>(
        &self,
        report: &T,
        table: &str,
        page: impl FnOnce() -> Result<Page, CliError>,
    ) -> Result<(), CliError> {
        if let Some(path) = &self.html {
            let html = page()?.html()?;
            std::fs::write(path, html)
                .map_err(|error| CliError::output(&path.display().to_string(), &error))?;
        }
        if self.json { output::json(report) } else { output::text(table) }
    }
}
