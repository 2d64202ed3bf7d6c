//! Values as Python writes them: templates are made for Jinja2, where `{{ true }}` is `True`.

use minijinja::value::ValueKind;
use minijinja::{Error, Value};

use super::budget::Budget;

/// Appends `str(value)`. Pays for what is read and for what is written.
pub(super) fn write_str(out: &mut String, value: &Value, budget: &Budget) -> Result<(), Error> {
    match value.as_str() {
        Some(text) => {
            budget.spend_bytes(text.len())?;
            out.push_str(text);
            Ok(())
        }
        None if value.is_undefined() => Ok(()),
        None => {
            // Pays, and makes sure that the value ends somewhere.
            budget.inspect(value)?;
            write_repr(out, value, budget)
        }
    }
}

/// `str(value)`.
pub(super) fn to_str(value: &Value, budget: &Budget) -> Result<String, Error> {
    let mut out = String::new();
    write_str(&mut out, value, budget)?;
    Ok(out)
}

/// Appends `repr(value)` of a value that was inspected.
fn write_repr(out: &mut String, value: &Value, budget: &Budget) -> Result<(), Error> {
    if let Some(text) = value.as_str() {
        budget.spend_bytes(text.len())?;
        write_text_repr(out, text);
        return Ok(());
    }
    match value.kind() {
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number if !value.is_integer() => {
            out.push_str(&float_repr(f64::try_from(value.clone())?));
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let (open, close) = if value.is_tuple() { ('(', ')') } else { ('[', ']') };
            out.push(open);
            for (index, item) in value.try_iter()?.checked().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_repr(out, &item?, budget)?;
            }
            if value.is_tuple() && value.len() == Some(1) {
                out.push(',');
            }
            out.push(close);
        }
        ValueKind::Map => {
            out.push('{');
            for (index, key) in value.try_iter()?.checked().enumerate() {
                let key = key?;
                if index > 0 {
                    out.push_str(", ");
                }
                write_repr(out, &key, budget)?;
                out.push_str(": ");
                write_repr(out, &value.get_item(&key)?, budget)?;
            }
            out.push('}');
        }
        _ => out.push_str(&value.to_string()),
    }
    Ok(())
}

/// A text with quotes around it. Letters that Python takes for unprintable are escaped, as far as they are
/// control, space or format characters or for private use.
fn write_text_repr(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if is_printable(c) => out.push(c),
            c => {
                let code = c as u32;
                out.push_str(&match code {
                    0..=0xFF => format!("\\x{code:02x}"),
                    0x100..=0xFFFF => format!("\\u{code:04x}"),
                    _ => format!("\\U{code:08x}"),
                });
            }
        }
    }
    out.push(quote);
}

fn is_printable(c: char) -> bool {
    let hidden = c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{E000}'..='\u{F8FF}');
    !hidden
}

/// Python's `repr` of a float: the shortest digits that read back the same.
pub(super) fn float_repr(x: f64) -> String {
    if x.is_nan() {
        return "nan".into();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf" } else { "-inf" }.into();
    }
    let scientific = format!("{x:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = x.to_string();
        return if plain.contains('.') { plain } else { format!("{plain}.0") };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// `str.strip(chars)` and its halves; without `chars`, what Python takes for white space.
pub(super) fn strip<'a>(text: &'a str, chars: Option<&str>, left: bool, right: bool) -> &'a str {
    let stripped = |c: char| match chars {
        Some(chars) => chars.contains(c),
        None => c.is_whitespace() || ('\u{1C}'..='\u{1F}').contains(&c),
    };
    let mut text = text;
    if left {
        text = text.trim_start_matches(stripped);
    }
    if right {
        text = text.trim_end_matches(stripped);
    }
    text
}
