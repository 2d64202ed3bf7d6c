//! Why an output cannot have the form that is asked for.

/// Why an output cannot have the form that `structured_outputs` asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StructuredError {
    /// Larger than anything meant.
    #[error("structured_outputs.{kind} has {num_bytes} bytes; at most {max_bytes} are compiled")]
    TooLong {
        /// `json`, `regex`, `choice` or `grammar`.
        kind: &'static str,
        /// Its size.
        num_bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// Brackets in brackets in brackets.
    #[error(
        "structured_outputs.{kind} nests brackets {depth} deep; at most {max_depth} are compiled"
    )]
    TooDeep {
        /// `json`, `regex` or `grammar`.
        kind: &'static str,
        /// Its depth.
        depth: usize,
        /// The limit.
        max_depth: usize,
    },
    /// Not a form, or one with something that is not supported.
    #[error("structured_outputs.{kind} cannot be used: {reason}")]
    Invalid {
        /// `json`, `regex`, `choice` or `grammar`.
        kind: &'static str,
        /// The compiler's own words.
        reason: String,
    },
    /// Compiling took too long.
    #[error(
        "structured_outputs.{kind} was not compiled within {seconds} s; make it simpler: fewer \
         alternatives in alternatives, smaller repetition counts"
    )]
    TooSlow {
        /// `json`, `regex`, `choice` or `grammar`.
        kind: &'static str,
        /// The limit.
        seconds: u64,
    },
    /// Earlier forms are still being compiled, long after their requests were refused.
    #[error("too many forms of structured_outputs are being compiled; try again later")]
    Busy,
    /// Nothing can be generated.
    #[error("structured_outputs.{kind} allows nothing but an empty text; leave it out")]
    Empty {
        /// `json`, `regex`, `choice` or `grammar`.
        kind: &'static str,
    },
    /// Tokens of this vocabulary have no bytes of their own.
    #[error(
        "structured_outputs cannot be used with this model: its vocabulary is of whole words, and \
         the text of a token depends on the one before"
    )]
    WordVocabulary,
    /// Nothing can come where something must.
    #[error(
        "structured_outputs: no token of the model's vocabulary can go on with the form; check \
         that it has an end, and that the model's alphabet has its letters"
    )]
    DeadEnd,
    /// The parser gave up in the middle of an output.
    #[error("structured_outputs: {reason}; make the form simpler")]
    Parser {
        /// The parser's own words.
        reason: String,
    },
}
