//! What can be wrong with a GGUF file.

use crate::weights::dequant::TensorFormat;

/// Why bytes are not a GGUF file that can be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// Something else.
    #[error("not a GGUF file: it starts with {found:02x?} instead of \"GGUF\"")]
    NotGguf {
        /// The first bytes.
        found: Vec<u8>,
    },
    /// Written on a big-endian machine.
    #[error("a big-endian GGUF file; convert it with gguf-py's `gguf-convert-endian FILE little`")]
    BigEndian,
    /// A version without a reader.
    #[error(
        "GGUF version {version}; only versions 2 and 3 can be read, so convert the model again with a current llama.cpp"
    )]
    Version {
        /// As found.
        version: u32,
    },
    /// The file ends too early.
    #[error(
        "the file ends inside {what}: {needed} bytes from offset {offset}, but it has {file_bytes}; download it again"
    )]
    Truncated {
        /// Which part.
        what: String,
        /// Where the part begins.
        offset: u64,
        /// How long it is.
        needed: u64,
        /// How long the file is.
        file_bytes: u64,
    },
    /// A count that the file has no room for.
    #[error(
        "{what}: a count of {count}, but the rest of the file has room for {room} at most; the file is damaged"
    )]
    CountTooLarge {
        /// What is counted.
        what: String,
        /// As found.
        count: u64,
        /// The most there can be.
        room: u64,
    },
    /// A string that is not text.
    #[error("{what}, at offset {offset}, is not UTF-8; the file is damaged")]
    NotUtf8 {
        /// Which string.
        what: String,
        /// Where its length stands.
        offset: u64,
    },
    /// The same key or tensor twice.
    #[error("{what} `{name}` is there twice; the file is damaged")]
    Duplicate {
        /// Key or tensor.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A metadata value that does not exist or that has no reader.
    #[error("metadata key `{key}`: {problem}")]
    BadValue {
        /// The key.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// A tensor with impossible dimensions.
    #[error("tensor `{name}`: {problem}; the file is damaged")]
    BadTensor {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A tensor stored in a way that cannot be read.
    #[error(
        "tensor `{name}` has the type {found}, which cannot be read; quantize the model to one of {}",
        TensorFormat::NAMES
    )]
    UnsupportedType {
        /// Its name.
        name: String,
        /// ggml's name or number for the type.
        found: String,
    },
    /// Two tensors share bytes.
    #[error("tensors `{first}` and `{second}` overlap; the file is damaged")]
    Overlap {
        /// The one that begins earlier.
        first: String,
        /// The other.
        second: String,
    },
    /// One file of several.
    #[error(
        "part {part} of a model split over {count} files; join them with llama.cpp's `gguf-split --merge`"
    )]
    Split {
        /// This file, from 1.
        part: u64,
        /// All of them.
        count: u64,
    },
}
