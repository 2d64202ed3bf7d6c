//! Python's methods of texts and maps.

use std::sync::Arc;

use minijinja::value::from_args;
use minijinja::{Environment, Error, State, Value};
use minijinja_contrib::pycompat;

use super::budget::Budget;
use super::error::invalid;
use super::filters::{check_strip_chars, join, replace};
use super::python::strip;

/// Lets templates call Python's methods.
pub(super) fn add(environment: &mut Environment<'_>, budget: &Arc<Budget>) {
    let budget = Arc::clone(budget);
    environment.set_unknown_method_callback(move |state, value, method, arguments| {
        call(state, value, method, arguments, &budget)
    });
}

fn call(
    state: &mut State,
    value: &Value,
    method: &str,
    arguments: &[Value],
    budget: &Budget,
) -> Result<Value, Error> {
    budget.inspect_surface(value)?;
    for argument in arguments {
        budget.inspect(argument)?;
    }
    if let Some(text) = value.as_str()
        && let Some(result) = call_on_text(text, method, arguments, budget)?
    {
        return Ok(result);
    }
    let result = pycompat::unknown_method_callback(state, value, method, arguments)?;
    budget.inspect(&result)?;
    Ok(result)
}

/// Methods whose result can be much larger than what they are given, or that minijinja's library does in
/// another way than Python.
fn call_on_text(
    text: &str,
    method: &str,
    arguments: &[Value],
    budget: &Budget,
) -> Result<Option<Value>, Error> {
    let stripped = |left, right| {
        let (chars,): (Option<&str>,) = from_args(arguments)?;
        check_strip_chars(chars)?;
        Ok(Value::from(strip(text, chars, left, right)))
    };
    match method {
        "strip" => stripped(true, true).map(Some),
        "lstrip" => stripped(true, false).map(Some),
        "rstrip" => stripped(false, true).map(Some),
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(arguments)?;
            Ok(Some(Value::from(text.strip_prefix(prefix).unwrap_or(text))))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(arguments)?;
            Ok(Some(Value::from(text.strip_suffix(suffix).unwrap_or(text))))
        }
        "replace" => {
            let (old, new, count): (&str, &str, Option<i64>) = from_args(arguments)?;
            let count = count.and_then(|count| usize::try_from(count).ok());
            replace(text, old, new, count, budget).map(|text| Some(Value::from(text)))
        }
        "join" => {
            let (values,): (&Value,) = from_args(arguments)?;
            join(values, text, None, budget).map(|text| Some(Value::from(text)))
        }
        // A format specification can ask for any width.
        "format" if text.contains(':') => {
            Err(invalid("format specifications ({:...}) are not supported in str.format()"))
        }
        _ => Ok(None),
    }
}
