//! JSON to a template and from it: `tojson` as transformers has it, Python's `json.dumps`.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, Value};

use super::budget::Budget;
use super::error::invalid;
use super::python::float_repr;

/// Widest indentation.
const MAX_INDENT: usize = 64;

/// The options of `json.dumps` that transformers lets through.
struct Style {
    ensure_ascii: bool,
    indent: Option<usize>,
    item_separator: String,
    key_separator: String,
    sort_keys: bool,
}

/// What a template sees of a JSON value.
pub(super) fn from_json(value: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => Value::from(()),
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::from(items.iter().map(from_json).collect::<Vec<_>>()),
        Json::Object(fields) => {
            Value::from_pairs(fields.iter().map(|(name, value)| (name.as_str(), from_json(value))))
        }
    }
}

/// `value|tojson(ensure_ascii, indent, separators, sort_keys)`.
pub(super) fn tojson(
    value: &Value,
    positional: &[Value],
    kwargs: &Kwargs,
    budget: &Budget,
) -> Result<String, Error> {
    let style = Style::new(positional, kwargs)?;
    budget.inspect(value)?;
    let mut out = String::new();
    style.write(&mut out, value, 0, budget)?;
    budget.spend_bytes(out.len())?;
    Ok(out)
}

impl Style {
    fn new(positional: &[Value], kwargs: &Kwargs) -> Result<Self, Error> {
        let option = |place: usize, name: &str| match positional.get(place) {
            Some(value) => Ok(Some(value.clone())),
            None => kwargs.get::<Option<Value>>(name),
        };
        let flag = |value: Option<Value>| value.is_some_and(|value| value.is_true());
        let ensure_ascii = flag(option(0, "ensure_ascii")?);
        let indent = option(1, "indent")?
            .filter(|indent| !indent.is_none())
            .map(|indent| indent.as_usize().filter(|&indent| indent <= MAX_INDENT))
            .map(|indent| {
                indent.ok_or_else(|| invalid(format!("tojson's indent must be 0 to {MAX_INDENT}")))
            })
            .transpose()?;
        let separators = option(2, "separators")?.filter(|separators| !separators.is_none());
        let sort_keys = flag(option(3, "sort_keys")?);
        kwargs.assert_all_used()?;
        let (item_separator, key_separator) = match separators {
            None => (if indent.is_some() { "," } else { ", " }.into(), ": ".into()),
            Some(separators) => {
                let separator = |place: usize| {
                    separators
                        .get_item_by_index(place)?
                        .as_str()
                        .filter(|separator| separator.len() <= MAX_INDENT)
                        .map(str::to_owned)
                        .ok_or_else(|| invalid("tojson's separators must be two short texts"))
                };
                (separator(0)?, separator(1)?)
            }
        };
        Ok(Style { ensure_ascii, indent, item_separator, key_separator, sort_keys })
    }

    fn write(
        &self,
        out: &mut String,
        value: &Value,
        depth: usize,
        budget: &Budget,
    ) -> Result<(), Error> {
        if let Some(text) = value.as_str() {
            budget.spend_bytes(text.len())?;
            self.write_text(out, text);
            return Ok(());
        }
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&number(value)?),
            ValueKind::Seq => {
                out.push('[');
                let mut count = 0;
                for item in value.try_iter()?.checked() {
                    self.begin_item(out, count, depth + 1, budget)?;
                    self.write(out, &item?, depth + 1, budget)?;
                    count += 1;
                }
                self.end(out, count, depth, ']', budget)?;
            }
            ValueKind::Map => self.write_map(out, value, depth, budget)?,
            kind => return Err(invalid(format!("{kind} cannot be written as JSON"))),
        }
        Ok(())
    }

    fn write_map(
        &self,
        out: &mut String,
        value: &Value,
        depth: usize,
        budget: &Budget,
    ) -> Result<(), Error> {
        let mut keys = value.try_iter()?.checked().collect::<Result<Vec<_>, _>>()?;
        if self.sort_keys {
            keys.sort();
        }
        out.push('{');
        for (count, key) in keys.iter().enumerate() {
            self.begin_item(out, count, depth + 1, budget)?;
            match (key.as_str(), key.kind()) {
                (Some(text), _) => self.write_text(out, text),
                (None, ValueKind::Bool) => {
                    out.push_str(if key.is_true() { "\"true\"" } else { "\"false\"" })
                }
                (None, ValueKind::None) => out.push_str("\"null\""),
                (None, ValueKind::Number) => self.write_text(out, &number(key)?),
                (None, kind) => return Err(invalid(format!("{kind} cannot be a JSON key"))),
            }
            out.push_str(&self.key_separator);
            self.write(out, &value.get_item(key)?, depth + 1, budget)?;
        }
        self.end(out, keys.len(), depth, '}', budget)
    }

    fn begin_item(
        &self,
        out: &mut String,
        count: usize,
        depth: usize,
        budget: &Budget,
    ) -> Result<(), Error> {
        if count > 0 {
            out.push_str(&self.item_separator);
        }
        self.new_line(out, depth, budget)
    }

    fn end(
        &self,
        out: &mut String,
        count: usize,
        depth: usize,
        close: char,
        budget: &Budget,
    ) -> Result<(), Error> {
        if count > 0 {
            self.new_line(out, depth, budget)?;
        }
        out.push(close);
        Ok(())
    }

    fn new_line(&self, out: &mut String, depth: usize, budget: &Budget) -> Result<(), Error> {
        if let Some(indent) = self.indent {
            budget.spend_bytes(indent * depth)?;
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        }
        Ok(())
    }

    fn write_text(&self, out: &mut String, text: &str) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{C}' => out.push_str("\\f"),
                ' '..='~' => out.push(c),
                _ if c < ' ' || self.ensure_ascii => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                _ => out.push(c),
            }
        }
        out.push('"');
    }
}

fn number(value: &Value) -> Result<String, Error> {
    if value.is_integer() {
        return Ok(value.to_string());
    }
    Ok(match f64::try_from(value.clone())? {
        x if x.is_nan() => "NaN".into(),
        x if x.is_infinite() => if x > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        x => float_repr(x),
    })
}
