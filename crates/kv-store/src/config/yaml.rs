//! YAML as keys with their lines, judged by nobody yet.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::error::ConfigError;

/// A configuration is some twenty lines; whatever is longer is another file.
pub(super) const MAX_BYTES: usize = 64 << 10;
/// Keys, a tenant's name, its keys.
const MAX_DEPTH: usize = 4;

/// A key, its line and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: u64,
    pub(super) value: Value,
}

/// What stands behind a key.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Unsigned(u64),
    Real(f64),
    Text(String),
    Map(Vec<Entry>),
    /// What no key can have: a list, a negative number. As it is to be shown.
    Other(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("empty"),
            Value::Bool(value) => value.fmt(f),
            Value::Unsigned(value) => value.fmt(f),
            Value::Real(value) => value.fmt(f),
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Map(_) => f.write_str("a mapping"),
            Value::Other(what) => f.write_str(what),
        }
    }
}

/// The keys of a document. Keys that occur twice are refused by the parser, and so is a second document.
pub(super) fn entries(text: &str) -> Result<Vec<Entry>, ConfigError> {
    if text.len() > MAX_BYTES {
        return Err(ConfigError::TooLong { bytes: text.len(), most: MAX_BYTES });
    }
    // Anchors save no line of a flat file, and are how a small one grows large.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH, max_anchors: 0, max_aliases: 0 },
        with_snippet: false,
    };
    let value: Value = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| ConfigError::Yaml(error.to_string()))?;
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Map(entries) => Ok(entries),
        other => Err(ConfigError::Yaml(format!("expected lines of \"key: value\", found {other}"))),
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(u64::try_from(value).map_or_else(|_| Value::Other(value.to_string()), Value::Unsigned))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Other(value.to_string()))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Other(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Real(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        while list.next_element::<Value>()?.is_some() {}
        Ok(Value::Other("a list".to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Value>()? {
            let line = key.referenced.line();
            entries.push(Entry { key: key.value, line, value });
        }
        Ok(Value::Map(entries))
    }
}
