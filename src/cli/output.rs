//! What a command prints on standard output.

use std::io::Write;

use serde::Serialize;

use super::error::CliError;

/// Prints `text` as it is.
pub(super) fn text(text: &str) -> Result<(), CliError> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| CliError::output("standard output", &error))
}

/// Prints `value` as JSON, for people to read too.
pub(super) fn json<T: Serialize>(value: &T) -> Result<(), CliError> {
    let json = serde_json::to_string_pretty(value);
    text(&(json.map_err(|error| CliError::from_internal_error(&error))? + "\n"))
}
