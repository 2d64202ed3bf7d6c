//! How a command fails: what to print and which exit code.

use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use engine::hub::HubError;

/// A command that did not succeed.
#[derive(Debug)]
pub(crate) enum CliError {
    /// The user can mend it: exit code 2.
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The user cannot: exit code 1.
    Internal {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// Whoever read the output has gone, as `head` does: nothing to say.
    OutputClosed,
}

impl CliError {
    /// Something that the user can mend.
    pub(crate) fn usage(message: impl Into<String>) -> CliError {
        CliError::Usage { message: message.into(), hint: None }
    }

    /// The same from an error whose message reads "what is wrong; what to do", as those of our
    /// libraries do.
    pub(crate) fn from_usage_error(error: &dyn std::error::Error) -> CliError {
        let (message, hint) = split_advice(&error.to_string());
        CliError::Usage { message, hint }
    }

    /// Something that should not have happened.
    pub(crate) fn internal(message: impl Into<String>) -> CliError {
        CliError::Internal { message: message.into(), hint: None }
    }

    /// The same from an error.
    pub(crate) fn from_internal_error(error: &dyn std::error::Error) -> CliError {
        let (message, hint) = split_advice(&error.to_string());
        CliError::Internal { message, hint }
    }

    /// Says what to do.
    #[must_use]
    pub(crate) fn with_hint(mut self, advice: impl Into<String>) -> CliError {
        match &mut self {
            CliError::Usage { hint, .. } | CliError::Internal { hint, .. } => {
                *hint = Some(advice.into());
            }
            CliError::OutputClosed => {}
        }
        self
    }

    /// Says where it went wrong.
    #[must_use]
    pub(crate) fn at(mut self, place: &str) -> CliError {
        match &mut self {
            CliError::Usage { message, .. } | CliError::Internal { message, .. } => {
                *message = format!("{place}: {message}");
            }
            CliError::OutputClosed => {}
        }
        self
    }

    /// What is wrong, without what to do.
    pub(crate) fn message(&self) -> &str {
        match self {
            CliError::Usage { message, .. } | CliError::Internal { message, .. } => message,
            CliError::OutputClosed => "nobody reads the output",
        }
    }

    /// A file that the user named cannot be read or written.
    pub(crate) fn file(action: &str, path: &Path, error: &io::Error) -> CliError {
        CliError::usage(format!("cannot {action} {}: {error}", path.display()))
            .with_hint("check the path and its permissions")
    }

    /// Output could not be written to `place`.
    pub(crate) fn output(place: &str, error: &io::Error) -> CliError {
        match error.kind() {
            ErrorKind::BrokenPipe => CliError::OutputClosed,
            _ => CliError::usage(format!("cannot write to {place}: {error}")),
        }
    }

    /// Prints the error and gives its exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let (message, hint, code) = match self {
            CliError::Usage { message, hint } => (message, hint, 2),
            CliError::Internal { message, hint } => (message, hint, 1),
            CliError::OutputClosed => return ExitCode::SUCCESS,
        };
        let mut text = format!("error: {message}\n");
        if let Some(hint) = hint {
            text.push_str(&format!("hint: {hint}\n"));
        }
        // If stderr is gone too, the exit code must do.
        let _ = io::stderr().write_all(text.as_bytes());
        ExitCode::from(code)
    }
}

/// "What is wrong; what to do", taken apart.
fn split_advice(text: &str) -> (String, Option<String>) {
    match text.split_once("; ") {
        Some((message, advice)) => (message.to_owned(), Some(advice.to_owned())),
        None => (text.to_owned(), None),
    }
}

impl From<HubError> for CliError {
    fn from(error: HubError) -> CliError {
        match error {
            HubError::Http { .. }
            | HubError::BadReply { .. }
            | HubError::WrongDigest { .. }
            | HubError::WrongSize { .. } => CliError::from_internal_error(&error),
            _ => CliError::from_usage_error(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_gets_a_line_of_its_own() {
        let error = HubError::NoCacheDir;
        let CliError::Usage { message, hint } = CliError::from(error) else {
            panic!("the user can set HOME");
        };
        assert!(message.starts_with("there is no cache folder"), "{message}");
        assert_eq!(hint.as_deref(), Some("set one of them"));
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let error = io::Error::from(ErrorKind::BrokenPipe);
        assert!(matches!(CliError::output("stdout", &error), CliError::OutputClosed));
        let error = io::Error::from(ErrorKind::StorageFull);
        assert!(matches!(CliError::output("stdout", &error), CliError::Usage { .. }));
    }
}
