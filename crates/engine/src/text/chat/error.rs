//! Why a chat template cannot be used or rendered.

use std::error::Error as _;

use minijinja::ErrorKind;

use crate::text::TokenizerError;

/// Why a chat template cannot be used or rendered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChatTemplateError {
    /// The template's file cannot be read.
    #[error(transparent)]
    File(#[from] TokenizerError),
    /// The source is larger than any real template.
    #[error("the chat template has {found} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Its size in bytes.
        found: usize,
        /// The largest size accepted.
        limit: usize,
    },
    /// There is nothing to render.
    #[error("a conversation needs at least one message")]
    NoMessages,
    /// The model would never hear of the tools.
    #[error(
        "the model's chat template has no place for tools; start with another one (--chat-template FILE)"
    )]
    NoTools,
    /// The model would never see the documents.
    #[error(
        "the model's chat template has no place for documents; put them into a message, or start with another template (--chat-template FILE)"
    )]
    NoDocuments,
    /// An argument would change nothing.
    #[error("the model's chat template does not use `{name}`; {}", known_args(.own))]
    UnknownArg {
        /// The argument.
        name: String,
        /// Those that there are.
        own: Vec<String>,
    },
    /// An argument is none of the template's own.
    #[error("`{name}` cannot be an argument of the chat template: the request says it otherwise")]
    GivenArg {
        /// The argument.
        name: String,
    },
    /// The last message has no text, or the prompt has not the last message's.
    #[error(
        "the last message cannot be continued: it has no text, or the chat template does not write it as it is"
    )]
    NothingToContinue,
    /// The template uses something this engine does not have.
    #[error("the chat template uses {feature}, which is not supported{}; pass the prompt as text (--raw), or use another template", at_line(.line))]
    Unsupported {
        /// What.
        feature: String,
        /// Where.
        line: Option<usize>,
    },
    /// The source is not Jinja.
    #[error("the chat template is not valid Jinja{}: {reason}", at_line(.line))]
    Syntax {
        /// What is wrong.
        reason: String,
        /// Where.
        line: Option<usize>,
    },
    /// The template refuses these messages.
    #[error("the chat template refuses these messages: {message}")]
    Raised {
        /// What it says.
        message: String,
    },
    /// The template wants more time or memory than any real one.
    #[error("the chat template was stopped{}: {reason}", at_line(.line))]
    LimitExceeded {
        /// Which limit.
        reason: String,
        /// Where.
        line: Option<usize>,
    },
    /// The template failed.
    #[error("the chat template failed{}: {reason}", at_line(.line))]
    Failed {
        /// Why.
        reason: String,
        /// Where.
        line: Option<usize>,
    },
}

fn known_args(own: &[String]) -> String {
    match own {
        [] => "it has no arguments of its own".to_owned(),
        own => format!("its own arguments are {}", own.join(", ")),
    }
}

fn at_line(line: &Option<usize>) -> String {
    line.map_or(String::new(), |line| format!(" (line {line})"))
}

/// What `raise_exception` was called with.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Raised(pub String);

/// An error that says a limit was reached.
pub(super) fn limit_error(reason: impl Into<String>) -> minijinja::Error {
    minijinja::Error::new(ErrorKind::OutOfFuel, reason.into())
}

/// An error about a value of the wrong kind.
pub(super) fn invalid(reason: impl Into<String>) -> minijinja::Error {
    minijinja::Error::new(ErrorKind::InvalidOperation, reason.into())
}

impl From<minijinja::Error> for ChatTemplateError {
    fn from(error: minijinja::Error) -> Self {
        let mut innermost = &error;
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(Raised(message)) = cause.downcast_ref() {
                return ChatTemplateError::Raised { message: message.clone() };
            }
            if let Some(cause) = cause.downcast_ref::<minijinja::Error>() {
                innermost = cause;
            }
            source = cause.source();
        }
        let line = error.line();
        let reason = innermost.detail().map_or_else(
            || innermost.kind().to_string(),
            |detail| format!("{}: {detail}", innermost.kind()),
        );
        match innermost.kind() {
            ErrorKind::OutOfFuel => ChatTemplateError::LimitExceeded {
                reason: innermost.detail().unwrap_or("it takes too many steps").to_owned(),
                line,
            },
            ErrorKind::SyntaxError | ErrorKind::BadEscape => {
                ChatTemplateError::Syntax { reason, line }
            }
            ErrorKind::UnknownFilter
            | ErrorKind::UnknownTest
            | ErrorKind::UnknownFunction
            | ErrorKind::UnknownMethod => ChatTemplateError::Unsupported {
                feature: innermost.detail().unwrap_or("something unknown").to_owned(),
                line,
            },
            _ => ChatTemplateError::Failed { reason, line },
        }
    }
}
