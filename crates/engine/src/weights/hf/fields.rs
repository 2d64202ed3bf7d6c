//! Typed access to a JSON object, with errors that name the key.

use serde_json::{Map, Value};

use crate::weights::config_error::ConfigError;

/// A JSON object. As in transformers' Python, a key with `null` is there, but says "none".
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
}

/// What stands under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field<T> {
    /// No such key.
    Absent,
    /// `null`.
    Null,
    /// A value.
    Is(T),
}

impl<T> Field<T> {
    /// `None` for absent and null alike.
    pub(super) fn value(self) -> Option<T> {
        match self {
            Field::Is(value) => Some(value),
            Field::Absent | Field::Null => None,
        }
    }
}

impl<'a> Fields<'a> {
    pub(super) fn new(map: &'a Map<String, Value>) -> Self {
        Fields { map }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// The value of `key` as `convert` reads it.
    fn get<T>(
        &self,
        key: &str,
        expected: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Field<T>, ConfigError> {
        match self.map.get(key) {
            None => Ok(Field::Absent),
            Some(Value::Null) => Ok(Field::Null),
            Some(value) => convert(value)
                .map(Field::Is)
                .ok_or_else(|| ConfigError::wrong(key, shorten(value), expected)),
        }
    }

    pub(super) fn usize(&self, key: &str) -> Result<Field<usize>, ConfigError> {
        self.get(key, "an unsigned integer", as_usize)
    }

    pub(super) fn u32(&self, key: &str) -> Result<Field<u32>, ConfigError> {
        self.get(key, "an unsigned 32-bit integer", as_u32)
    }

    pub(super) fn f64(&self, key: &str) -> Result<Field<f64>, ConfigError> {
        self.get(key, "a number", Value::as_f64)
    }

    pub(super) fn bool(&self, key: &str) -> Result<Field<bool>, ConfigError> {
        self.get(key, "true or false", Value::as_bool)
    }

    pub(super) fn str(&self, key: &str) -> Result<Field<&'a str>, ConfigError> {
        self.get(key, "a string", Value::as_str)
    }

    pub(super) fn object(&self, key: &str) -> Result<Field<Fields<'a>>, ConfigError> {
        self.get(key, "an object", |value| value.as_object().map(Fields::new))
    }

    pub(super) fn str_list(&self, key: &str) -> Result<Field<Vec<&'a str>>, ConfigError> {
        self.get(key, "a list of strings", |value| {
            value.as_array()?.iter().map(Value::as_str).collect()
        })
    }

    pub(super) fn f64_list(&self, key: &str) -> Result<Field<Vec<f64>>, ConfigError> {
        self.get(key, "a list of numbers", |value| {
            value.as_array()?.iter().map(Value::as_f64).collect()
        })
    }

    /// One token or a list of them.
    pub(super) fn token_ids(&self, key: &str) -> Result<Field<Vec<u32>>, ConfigError> {
        self.get(key, "a token id or a list of them", |value| match value {
            Value::Array(ids) => ids.iter().map(as_u32).collect(),
            id => Some(vec![as_u32(id)?]),
        })
    }

    /// Any value, shortened for an error; `None` for absent and null.
    pub(super) fn describe(&self, key: &str) -> Option<String> {
        match self.map.get(key) {
            None | Some(Value::Null) => None,
            Some(value) => Some(shorten(value)),
        }
    }
}

/// Parses a whole file.
pub(super) fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, ConfigError> {
    serde_json::from_slice(bytes).map_err(|error| ConfigError::Json { problem: error.to_string() })
}

fn as_usize(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}

fn as_u32(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}

/// The value as JSON, at most 80 characters of it.
fn shorten(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
