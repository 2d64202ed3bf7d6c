//! The key–value part of a GGUF file.

use std::collections::BTreeMap;

use super::GgufError;
use super::cursor::Cursor;
use super::value::{Array, Value};

/// The smallest key–value pair: a length, no key, a type, one byte.
const MIN_PAIR_BYTES: usize = 8 + 4 + 1;

/// All key–value pairs of a file, by key.
///
/// The getters are strict about kinds (text is not a number) but not about widths: an integer of
/// any width is good where it fits. [`OptionalKey::optional`] makes an absent key no error.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    pairs: BTreeMap<String, Value>,
}

impl Metadata {
    /// Reads `count` pairs.
    pub(super) fn read(cursor: &mut Cursor<'_>, count: usize) -> Result<Self, GgufError> {
        let mut pairs = BTreeMap::new();
        for _ in 0..count {
            let key = cursor.string("a metadata key")?;
            let value = Value::read(cursor, key)?;
            if pairs.insert(key.to_owned(), value).is_some() {
                return Err(GgufError::Duplicate { what: "metadata key", name: key.to_owned() });
            }
        }
        Ok(Metadata { pairs })
    }

    pub(super) const fn min_pair_bytes() -> usize {
        MIN_PAIR_BYTES
    }

    /// The value of `key`, whatever its type.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.pairs.get(key)
    }

    /// All pairs, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// A text.
    ///
    /// # Errors
    /// [`MetadataError`], as for every getter.
    pub fn str(&self, key: &str) -> Result<&str, MetadataError> {
        match self.require(key)? {
            Value::Str(text) => Ok(text),
            other => Err(wrong_type(key, other, "a string")),
        }
    }

    /// An integer that fits 32 bits.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub fn u32(&self, key: &str) -> Result<u32, MetadataError> {
        self.int(key, "an unsigned 32-bit integer")
    }

    /// An integer that fits a count.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub fn usize(&self, key: &str) -> Result<usize, MetadataError> {
        self.int(key, "an unsigned integer")
    }

    /// A number with a fraction.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub fn f32(&self, key: &str) -> Result<f32, MetadataError> {
        match self.require(key)? {
            Value::F32(x) => Ok(*x),
            Value::F64(x) => Ok(*x as f32),
            other => Err(wrong_type(key, other, "a floating-point number")),
        }
    }

    /// A truth value.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub fn bool(&self, key: &str) -> Result<bool, MetadataError> {
        match self.require(key)? {
            Value::Bool(x) => Ok(*x),
            other => Err(wrong_type(key, other, "a bool")),
        }
    }

    /// A list of texts.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub fn str_array(&self, key: &str) -> Result<&[String], MetadataError> {
        match self.require(key)? {
            Value::Array(Array::Str(texts)) => Ok(texts),
            other => Err(wrong_type(key, other, "an array of strings")),
        }
    }

    /// A list of f32.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub fn f32_array(&self, key: &str) -> Result<&[f32], MetadataError> {
        match self.require(key)? {
            Value::Array(Array::F32(numbers)) => Ok(numbers),
            other => Err(wrong_type(key, other, "an array of f32")),
        }
    }

    /// A list of i32; other integers are taken when all of them fit.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub fn i32_array(&self, key: &str) -> Result<Vec<i32>, MetadataError> {
        let value = self.require(key)?;
        let numbers = match value {
            Value::Array(array) => array.to_i32(),
            _ => None,
        };
        numbers.ok_or_else(|| wrong_type(key, value, "an array of i32"))
    }

    fn int<T: TryFrom<i128>>(&self, key: &str, expected: &'static str) -> Result<T, MetadataError> {
        let value = self.require(key)?;
        value
            .as_int()
            .and_then(|x| T::try_from(x).ok())
            .ok_or_else(|| wrong_type(key, value, expected))
    }

    fn require(&self, key: &str) -> Result<&Value, MetadataError> {
        self.pairs.get(key).ok_or_else(|| MetadataError::Missing { key: key.to_owned() })
    }
}

/// The cold path of the getters.
fn wrong_type(key: &str, value: &Value, expected: &'static str) -> MetadataError {
    MetadataError::WrongType { key: key.to_owned(), found: value.describe(), expected }
}

/// Why a metadata value cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// Nothing under this key.
    #[error("metadata key `{key}` is missing; convert the model again with a current llama.cpp")]
    Missing {
        /// The key.
        key: String,
    },
    /// A value of another type, or out of range.
    #[error("metadata key `{key}` is {found}, but must be {expected}")]
    WrongType {
        /// The key.
        key: String,
        /// Type and, when short, value.
        found: String,
        /// What it must be.
        expected: &'static str,
    },
}

/// Makes an absent key no error.
pub trait OptionalKey<T> {
    /// `Ok(None)` for [`MetadataError::Missing`].
    ///
    /// # Errors
    /// Every other [`MetadataError`].
    fn optional(self) -> Result<Option<T>, MetadataError>;
}

impl<T> OptionalKey<T> for Result<T, MetadataError> {
    fn optional(self) -> Result<Option<T>, MetadataError> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(MetadataError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
