//! The operators of templates, paid for, with Python's meaning.

use std::sync::Arc;

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, State, Value, tests};

use super::budget::Budget;
use super::error::{invalid, limit_error};
use super::python::write_str;

/// The operators are called as filters; no template can write these names.
pub(super) mod names {
    pub const CONCAT: &str = "~";
    pub const ADD: &str = "+";
    pub const MUL: &str = "*";
    pub const EQ: &str = "==";
    pub const NE: &str = "!=";
    pub const LT: &str = "<";
    pub const LE: &str = "<=";
    pub const GT: &str = ">";
    pub const GE: &str = ">=";
    pub const IN: &str = "in?";
    pub const ITEM: &str = "[]";
    pub const SLICE: &str = "[:]";
    /// Before a loop over a value.
    pub const LOOP: &str = "for?";
    /// Before a value becomes part of a namespace.
    pub const PART: &str = "set?";
    /// After a list or map was built.
    pub const BUILT: &str = "built?";
}

/// Adds all operators to `environment`.
pub(super) fn add(environment: &mut Environment<'_>, budget: &Arc<Budget>) {
    add_binary(environment, budget, names::CONCAT, concat);
    add_binary(environment, budget, names::ADD, add_values);
    add_binary(environment, budget, names::MUL, multiply);
    add_comparison(environment, budget, names::EQ, |a, b| a == b);
    add_comparison(environment, budget, names::NE, |a, b| a != b);
    add_comparison(environment, budget, names::LT, |a, b| a < b);
    add_comparison(environment, budget, names::LE, |a, b| a <= b);
    add_comparison(environment, budget, names::GT, |a, b| a > b);
    add_comparison(environment, budget, names::GE, |a, b| a >= b);
    let paid = Arc::clone(budget);
    environment.add_filter(names::IN, move |state: &mut State, item: Value, all: Value| {
        paid.inspect(&item)?;
        paid.inspect(&all)?;
        tests::is_in(state, &item, &all)
    });
    add_binary(environment, budget, names::ITEM, item);
    let paid = Arc::clone(budget);
    environment.add_filter(
        names::SLICE,
        move |value: Value, start: Value, stop: Value, step: Value| {
            paid.inspect_surface(&value)?;
            slice(&value, &start, &stop, &step)
        },
    );
    add_check(environment, budget, names::LOOP, Budget::inspect_surface);
    add_check(environment, budget, names::PART, Budget::inspect_part);
    add_check(environment, budget, names::BUILT, Budget::inspect);
}

type Binary = fn(&Value, &Value, &Budget) -> Result<Value, Error>;

fn add_binary(env: &mut Environment<'_>, budget: &Arc<Budget>, name: &'static str, op: Binary) {
    let budget = Arc::clone(budget);
    env.add_filter(name, move |a: Value, b: Value| op(&a, &b, &budget));
}

fn add_comparison(
    environment: &mut Environment<'_>,
    budget: &Arc<Budget>,
    name: &'static str,
    compare: fn(&Value, &Value) -> bool,
) {
    let budget = Arc::clone(budget);
    environment.add_filter(name, move |a: Value, b: Value| {
        budget.inspect(&a)?;
        budget.inspect(&b)?;
        Ok::<_, Error>(compare(&a, &b))
    });
}

/// A filter that pays for a value and hands it on.
fn add_check(
    environment: &mut Environment<'_>,
    budget: &Arc<Budget>,
    name: &'static str,
    check: fn(&Budget, &Value) -> Result<(), Error>,
) {
    let budget = Arc::clone(budget);
    environment.add_filter(name, move |value: Value| {
        check(&budget, &value)?;
        Ok::<_, Error>(value)
    });
}

/// `a ~ b`: both as text.
fn concat(a: &Value, b: &Value, budget: &Budget) -> Result<Value, Error> {
    let mut text = String::new();
    write_str(&mut text, a, budget)?;
    write_str(&mut text, b, budget)?;
    Ok(Value::from(text))
}

/// `a + b`: texts, lists or numbers.
fn add_values(a: &Value, b: &Value, budget: &Budget) -> Result<Value, Error> {
    if let (Some(left), Some(right)) = (a.as_str(), b.as_str()) {
        budget.spend_bytes(left.len() + right.len())?;
        return Ok(Value::from([left, right].concat()));
    }
    if is_list(a) && is_list(b) {
        budget.inspect(a)?;
        budget.inspect(b)?;
        let items = a.try_iter()?.checked().chain(b.try_iter()?.checked());
        return Ok(Value::from(items.collect::<Result<Vec<_>, _>>()?));
    }
    arithmetic(a, b, "+", i64::checked_add, |x, y| x + y)
}

/// `a * b`: numbers, or a text and how often.
fn multiply(a: &Value, b: &Value, budget: &Budget) -> Result<Value, Error> {
    let (text, count) = match (a.as_str(), b.as_str()) {
        (Some(text), None) => (text, b),
        (None, Some(text)) => (text, a),
        _ => return arithmetic(a, b, "*", i64::checked_mul, |x, y| x * y),
    };
    let count = integer(count, "a text can only be multiplied with a whole number")?.max(0);
    let num_bytes = usize::try_from(count)
        .ok()
        .and_then(|count| count.checked_mul(text.len()))
        .ok_or_else(|| limit_error("it repeats a text too often"))?;
    budget.spend_bytes(num_bytes)?;
    Ok(Value::from(text.repeat(count as usize)))
}

fn arithmetic(
    a: &Value,
    b: &Value,
    symbol: &str,
    integers: fn(i64, i64) -> Option<i64>,
    floats: fn(f64, f64) -> f64,
) -> Result<Value, Error> {
    let impossible = || invalid(format!("cannot do {} {symbol} {}", a.kind(), b.kind()));
    if !a.is_number() || !b.is_number() {
        return Err(impossible());
    }
    if a.is_integer() && b.is_integer() {
        let whole = a.as_i64().zip(b.as_i64()).and_then(|(a, b)| integers(a, b));
        return whole
            .map(Value::from)
            .ok_or_else(|| invalid(format!("{a} {symbol} {b} is out of range")));
    }
    let (a, b) = (f64::try_from(a.clone())?, f64::try_from(b.clone())?);
    Ok(Value::from(floats(a, b)))
}

/// `value[key]`.
fn item(value: &Value, key: &Value, budget: &Budget) -> Result<Value, Error> {
    budget.inspect_access(value)?;
    budget.inspect_access(key)?;
    if value.is_undefined() {
        return Err(invalid(format!("cannot look up {key} in something undefined")));
    }
    value.get_item(key)
}

/// `value[start:stop:step]`, as in Python.
fn slice(value: &Value, start: &Value, stop: &Value, step: &Value) -> Result<Value, Error> {
    let step =
        if step.is_none() { 1 } else { integer(step, "a slice's step must be a whole number")? };
    if step == 0 {
        return Err(invalid("a slice's step cannot be 0"));
    }
    if let Some(text) = value.as_str() {
        let letters: Vec<char> = text.chars().collect();
        let range = slice_range(letters.len(), start, stop, step)?;
        return Ok(Value::from(range.map(|at| letters[at]).collect::<String>()));
    }
    if !is_list(value) {
        return Err(invalid(format!("cannot take a slice of {}", value.kind())));
    }
    let items = value.try_iter()?.checked().collect::<Result<Vec<_>, _>>()?;
    let range = slice_range(items.len(), start, stop, step)?;
    Ok(Value::from(range.map(|at| items[at].clone()).collect::<Vec<_>>()))
}

/// The places that a slice takes of `len`.
fn slice_range(
    len: usize,
    start: &Value,
    stop: &Value,
    step: i64,
) -> Result<impl Iterator<Item = usize>, Error> {
    let len = len as i64;
    // Going down, the place before the first one is a border as well.
    let (low, high) = if step > 0 { (0, len) } else { (-1, len - 1) };
    let border = |value: &Value, default: i64| {
        if value.is_none() {
            return Ok(default);
        }
        let at = integer(value, "a slice's borders must be whole numbers")?;
        let at = if at < 0 { at.saturating_add(len) } else { at };
        Ok::<_, Error>(at.clamp(low, high))
    };
    let (first, end) = if step > 0 {
        (border(start, low)?, border(stop, high)?)
    } else {
        (border(start, high)?, border(stop, low)?)
    };
    let mut at = Some(first);
    Ok(std::iter::from_fn(move || {
        let here = at.filter(|&here| if step > 0 { here < end } else { here > end })?;
        at = here.checked_add(step);
        Some(here as usize)
    }))
}

fn integer(value: &Value, reason: &str) -> Result<i64, Error> {
    value.as_i64().ok_or_else(|| invalid(reason))
}

fn is_list(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}
