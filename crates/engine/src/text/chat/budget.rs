//! What a template may spend.

use std::sync::atomic::{AtomicU64, Ordering};

use minijinja::value::ValueKind;
use minijinja::{Error, Value};

use super::error::{invalid, limit_error};

/// Deepest nesting of lists and maps.
const MAX_DEPTH: usize = 64;
/// Bytes of text that cost one unit.
const BYTES_PER_UNIT: usize = 16;
/// Units for a list, a map or an item of one.
const UNITS_PER_NODE: u64 = 4;
/// Units every template has: it may make or read 128 MB of text, which takes well below a second.
const BASE_UNITS: u64 = 8 << 20;
/// Units for each unit of input, so that long conversations can be read many times.
const UNITS_PER_INPUT_UNIT: u64 = 64;

/// Units that are left to one rendering. Shared by all that the template can call.
#[derive(Debug)]
pub(super) struct Budget {
    left: AtomicU64,
}

impl Budget {
    /// A budget for a rendering that is given `inputs`.
    pub(super) fn new(inputs: &[Value]) -> Result<Self, Error> {
        let measure = Budget { left: AtomicU64::new(u64::MAX) };
        for input in inputs {
            measure.inspect(input)?;
        }
        let input_units = u64::MAX - measure.left.into_inner();
        let units = BASE_UNITS.saturating_add(input_units.saturating_mul(UNITS_PER_INPUT_UNIT));
        Ok(Budget { left: AtomicU64::new(units) })
    }

    fn spend(&self, units: u64) -> Result<(), Error> {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(units))
            .map(drop)
            .map_err(|_| limit_error("it makes or reads more data than any prompt needs"))
    }

    /// Pays for making or reading `num_bytes` of text.
    pub(super) fn spend_bytes(&self, num_bytes: usize) -> Result<(), Error> {
        self.spend(1 + (num_bytes / BYTES_PER_UNIT) as u64)
    }

    /// Pays for `num_items` of a list.
    pub(super) fn spend_items(&self, num_items: usize) -> Result<(), Error> {
        self.spend((num_items as u64).saturating_mul(UNITS_PER_NODE))
    }

    /// Pays for reading all of `value`, lists and maps with all that is in them, as often as it is in them.
    ///
    /// Refuses a namespace inside another value: it could come to contain itself.
    pub(super) fn inspect(&self, value: &Value) -> Result<(), Error> {
        self.inspect_at(value, 0)
    }

    /// The same for a value that will become part of another.
    pub(super) fn inspect_part(&self, value: &Value) -> Result<(), Error> {
        self.inspect_at(value, 1)
    }

    fn inspect_at(&self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(limit_error("it nests lists or maps too deeply"));
        }
        if let Some(text) = value.as_str() {
            return self.spend_bytes(text.len());
        }
        self.spend_items(1)?;
        match value.kind() {
            ValueKind::Seq | ValueKind::Iterable => {
                for item in value.try_iter()?.checked() {
                    self.inspect_at(&item?, depth + 1)?;
                }
            }
            ValueKind::Map => {
                if depth > 0 && is_namespace(value) {
                    return Err(invalid("a namespace cannot be put into another value"));
                }
                for key in value.try_iter()?.checked() {
                    let key = key?;
                    self.inspect_at(&key, depth + 1)?;
                    self.inspect_at(&value.get_item(&key)?, depth + 1)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Pays for finding one item of `value`: in a text or in something that is only walked over, all before
    /// it are passed.
    pub(super) fn inspect_access(&self, value: &Value) -> Result<(), Error> {
        match value.kind() {
            ValueKind::String | ValueKind::Iterable => self.inspect_surface(value),
            _ => self.spend_items(1),
        }
    }

    /// Pays for walking over the items of `value`, but not for what is in them.
    pub(super) fn inspect_surface(&self, value: &Value) -> Result<(), Error> {
        match value.as_str() {
            Some(text) => self.spend_bytes(text.len()),
            None => self.spend_items(1 + value.len().unwrap_or(0)),
        }
    }
}

/// Jinja's only value that can be changed. Its type is private to minijinja, its name is not.
fn is_namespace(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.type_name().ends_with("::Namespace"))
}
