//! GGUF, the file format of llama.cpp: versions 2 and 3, little-endian.
//!
//! The reader works on a byte slice and trusts nothing in it: counts are checked against the rest
//! of the file before anything is allocated, and every tensor that it reports lies in the file.
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod checkpoint;
mod config;
mod cursor;
mod error;
mod metadata;
mod names;
mod tensor_info;
mod value;

pub use checkpoint::checkpoint_from_bytes;
pub use config::{generation_config, model_config};
pub use error::GgufError;
pub use metadata::{Metadata, MetadataError, OptionalKey};
pub use tensor_info::TensorInfo;
pub use value::{Array, Value};

pub(super) use checkpoint::{open, parse};

use cursor::Cursor;
use tensor_info::Entry;

/// The first bytes of every GGUF file.
pub const MAGIC: [u8; 4] = *b"GGUF";

const DEFAULT_ALIGNMENT: u32 = 32;

/// What a file says of itself; the tensors' bytes stay where they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Gguf {
    /// Format version, 2 or 3.
    pub version: u32,
    /// The key–value pairs.
    pub metadata: Metadata,
    /// The tensors in the file's order.
    pub tensors: Vec<TensorInfo>,
}

impl Gguf {
    /// Reads header, metadata and tensor directory of `bytes`, a whole file.
    ///
    /// # Errors
    /// [`GgufError`] for anything that the format forbids or that has no reader.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, GgufError> {
        let mut cursor = Cursor::new(bytes);
        let version = read_version(&mut cursor, bytes)?;
        let num_tensors = cursor.count(Entry::min_bytes(), "the number of tensors")?;
        let num_pairs = cursor.count(Metadata::min_pair_bytes(), "the number of metadata keys")?;
        let metadata = Metadata::read(&mut cursor, num_pairs)?;
        refuse_split(&metadata)?;
        let alignment = alignment(&metadata)?;
        let mut entries = Vec::new();
        for _ in 0..num_tensors {
            entries.push(Entry::read(&mut cursor)?);
        }
        let data_start = cursor.position().next_multiple_of(alignment);
        let tensors = tensor_info::place_all(entries, data_start, alignment, bytes.len())?;
        Ok(Gguf { version, metadata, tensors })
    }

    /// The tensor that the file calls `name`.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}

fn read_version(cursor: &mut Cursor<'_>, bytes: &[u8]) -> Result<u32, GgufError> {
    if !bytes.starts_with(&MAGIC) {
        return Err(GgufError::NotGguf { found: bytes[..bytes.len().min(MAGIC.len())].to_vec() });
    }
    cursor.take(MAGIC.len(), "the magic number")?;
    match cursor.u32("the version")? {
        version @ (2 | 3) => Ok(version),
        version if matches!(version.swap_bytes(), 1..=3) => Err(GgufError::BigEndian),
        version => Err(GgufError::Version { version }),
    }
}

fn refuse_split(metadata: &Metadata) -> Result<(), GgufError> {
    let number = |key| metadata.get(key).and_then(Value::as_int);
    match number("split.count") {
        Some(count) if count > 1 => Err(GgufError::Split {
            part: number("split.no")
                .and_then(|no| u64::try_from(no).ok())
                .unwrap_or(0)
                .saturating_add(1),
            count: u64::try_from(count).unwrap_or(u64::MAX),
        }),
        _ => Ok(()),
    }
}

fn alignment(metadata: &Metadata) -> Result<usize, GgufError> {
    const KEY: &str = "general.alignment";
    let bad = |problem| GgufError::BadValue { key: KEY.to_owned(), problem };
    let alignment = metadata
        .u32(KEY)
        .optional()
        .map_err(|error| bad(error.to_string()))?
        .unwrap_or(DEFAULT_ALIGNMENT);
    // A bound, so that rounding up to it cannot overflow.
    if !alignment.is_power_of_two() || alignment > 1 << 20 {
        return Err(bad(format!(
            "{alignment} is not a power of two up to 1048576; the file is damaged"
        )));
    }
    Ok(alignment as usize)
}
