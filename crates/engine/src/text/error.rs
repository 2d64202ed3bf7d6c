//! Why a tokenizer cannot be had or used.

use std::path::PathBuf;

/// Why a tokenizer cannot be read, built, saved or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A file cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file, a vocabulary or a token is larger than any real one.
    #[error(
        "{what} is {found} {unit}, more than the limit of {limit}; the file is damaged or not a tokenizer"
    )]
    TooLarge {
        /// The file or the part of it.
        what: String,
        /// Its size.
        found: u64,
        /// The largest size accepted.
        limit: u64,
        /// What is counted.
        unit: &'static str,
    },
    /// A file is not what its name says.
    #[error("{file} cannot be understood: {reason}")]
    Parse {
        /// The file or the part of it.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A part of a tokenizer is of a kind this engine does not know.
    #[error(
        "unsupported {part} `{found}`; supported: {supported}. A tokenizer.json next to the model is used instead where there is one"
    )]
    Unsupported {
        /// Which part.
        part: &'static str,
        /// Its kind, as the file names it.
        found: String,
        /// The kinds that are known.
        supported: String,
    },
    /// Two ids share a text, or two texts an id.
    #[error("token {token:?} has id {first} and again id {second}; every token must appear once")]
    DuplicateToken {
        /// The text.
        token: String,
        /// The earlier id.
        first: u32,
        /// The later id.
        second: u32,
    },
    /// A merge rule that cannot be applied.
    #[error("merge {index} ({merge:?}) is unusable: {reason}")]
    BadMerge {
        /// Its place in the list, from 0.
        index: usize,
        /// Its text.
        merge: String,
        /// What is wrong.
        reason: String,
    },
    /// A list whose length does not fit the vocabulary.
    #[error("{what} has {found} entries, but the vocabulary has {expected} tokens")]
    WrongLength {
        /// The list.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The number of tokens.
        expected: usize,
    },
    /// Something needed is not there.
    #[error("{what} is missing: {why}")]
    Missing {
        /// What.
        what: String,
        /// What needs it.
        why: String,
    },
    /// A score that orders nothing.
    #[error("token {id} ({token:?}) has the score {score}; scores must be finite numbers")]
    BadScore {
        /// The token's id.
        id: u32,
        /// Its text.
        token: String,
        /// The score.
        score: f32,
    },
    /// An id beyond the vocabulary.
    #[error("{what} is {id}, but the vocabulary has {vocab_size} tokens")]
    IdOutOfRange {
        /// Which id.
        what: String,
        /// The id.
        id: u64,
        /// Number of tokens.
        vocab_size: usize,
    },
    /// A text that should be a token and is not.
    #[error("{what} is {token:?}, which is not a token of the vocabulary")]
    UnknownToken {
        /// Which token.
        what: &'static str,
        /// Its text.
        token: String,
    },
    /// A text could not be split into tokens.
    #[error("the text cannot be tokenized: {reason}")]
    Encode {
        /// What went wrong.
        reason: String,
    },
}
