//! The filters, tests and functions of templates.

use std::sync::Arc;

use minijinja::value::{Kwargs, Rest, ValueOrKwargs, from_args};
use minijinja::{Environment, Error, State, Value, filters, functions, tests};

use super::budget::Budget;
use super::error::{Raised, invalid};
use super::json::tojson;
use super::python::{strip, to_str};
use super::strftime::strftime;

/// Widest indentation of the `indent` filter.
const MAX_INDENT: usize = 256;

/// How the values that go into a function and come out of it are paid for.
type Price = fn(&Budget, &Value) -> Result<(), Error>;

/// Adds all filters, tests and functions.
pub(super) fn add(
    environment: &mut Environment<'_>,
    budget: &Arc<Budget>,
    now_unix_s: Option<i64>,
) {
    add_minijinja_filters(environment, budget);
    add_own_filters(environment, budget);
    add_tests(environment, budget);
    add_functions(environment, budget, now_unix_s);
}

/// minijinja's filters whose result is at most a few times as large as what they are given.
fn add_minijinja_filters(environment: &mut Environment<'_>, budget: &Arc<Budget>) {
    // These hand on values that are paid for already.
    let access = [
        ("count", Value::from_function(filters::length)),
        ("d", Value::from_function(filters::default)),
        ("default", Value::from_function(filters::default)),
        ("first", Value::from_function(filters::first)),
        ("last", Value::from_function(filters::last)),
        ("length", Value::from_function(filters::length)),
    ];
    // These walk over a value's items, but not into them.
    let walk = [
        ("items", Value::from_function(filters::items)),
        ("list", Value::from_function(filters::list)),
        ("reverse", Value::from_function(filters::reverse)),
    ];
    // These read all of a value.
    let read = [
        ("abs", Value::from_function(filters::abs)),
        ("capitalize", Value::from_function(filters::capitalize)),
        ("dictsort", Value::from_function(filters::dictsort)),
        ("e", Value::from_function(filters::escape)),
        ("escape", Value::from_function(filters::escape)),
        ("float", Value::from_function(filters::float)),
        ("groupby", Value::from_function(filters::groupby)),
        ("int", Value::from_function(filters::int)),
        ("lower", Value::from_function(filters::lower)),
        ("map", Value::from_function(filters::map)),
        ("max", Value::from_function(filters::max)),
        ("min", Value::from_function(filters::min)),
        ("reject", Value::from_function(filters::reject)),
        ("rejectattr", Value::from_function(filters::rejectattr)),
        ("round", Value::from_function(filters::round)),
        ("safe", Value::from_function(filters::safe)),
        ("select", Value::from_function(filters::select)),
        ("selectattr", Value::from_function(filters::selectattr)),
        ("sort", Value::from_function(filters::sort)),
        ("sum", Value::from_function(filters::sum)),
        ("title", Value::from_function(filters::title)),
        ("unique", Value::from_function(filters::unique)),
        ("upper", Value::from_function(filters::upper)),
    ];
    for (name, filter) in access {
        environment.add_filter(name, paid(filter, Budget::inspect_access, budget));
    }
    for (name, filter) in walk {
        environment.add_filter(name, paid(filter, Budget::inspect_surface, budget));
    }
    for (name, filter) in read {
        environment.add_filter(name, paid(filter, Budget::inspect, budget));
    }
}

/// Wraps a function so that all of its arguments and its result are paid for.
fn paid(
    function: Value,
    price: Price,
    budget: &Arc<Budget>,
) -> impl Fn(&mut State, Rest<ValueOrKwargs>) -> Result<Value, Error> + Send + Sync + 'static {
    let budget = Arc::clone(budget);
    move |state, arguments| {
        let arguments: Vec<Value> = arguments.0.into_iter().map(Value::from).collect();
        for argument in arguments.iter() {
            price(&budget, argument)?;
        }
        let result = function.call(state, &arguments)?;
        price(&budget, &result)?;
        Ok(result)
    }
}

/// Filters whose result can be much larger than what they are given, or that Python's way of writing
/// values matters to.
fn add_own_filters(environment: &mut Environment<'_>, budget: &Arc<Budget>) {
    let b = Arc::clone(budget);
    environment.add_filter("string", move |value: Value| to_str(&value, &b));
    let b = Arc::clone(budget);
    environment.add_filter("trim", move |value: Value, chars: Option<String>| {
        check_strip_chars(chars.as_deref())?;
        let text = to_str(&value, &b)?;
        Ok::<_, Error>(strip(&text, chars.as_deref(), true, true).to_owned())
    });
    let b = Arc::clone(budget);
    environment.add_filter("tojson", move |arguments: Rest<ValueOrKwargs>| {
        let arguments: Vec<Value> = arguments.0.into_iter().map(Value::from).collect();
        let (value, positional, kwargs): (Value, Rest<Value>, Kwargs) = from_args(&arguments)?;
        tojson(&value, &positional, &kwargs, &b)
    });
    let b = Arc::clone(budget);
    environment.add_filter(
        "join",
        move |values: Value, separator: Option<String>, kwargs: Kwargs| {
            let separator = match kwargs.get::<Option<String>>("d")? {
                Some(separator) => separator,
                None => separator.unwrap_or_default(),
            };
            let attribute = kwargs.get::<Option<String>>("attribute")?;
            kwargs.assert_all_used()?;
            join(&values, &separator, attribute.as_deref(), &b)
        },
    );
    let b = Arc::clone(budget);
    environment.add_filter(
        "replace",
        move |text: Value, old: String, new: String, count: Option<usize>| {
            let text = to_str(&text, &b)?;
            replace(&text, &old, &new, count, &b)
        },
    );
    let b = Arc::clone(budget);
    environment.add_filter(
        "indent",
        move |text: String, width: Option<usize>, first: Option<bool>, kwargs: Kwargs| {
            let width = kwargs.get::<Option<usize>>("width")?.or(width).unwrap_or(4);
            let first = kwargs.get::<Option<bool>>("first")?.or(first) == Some(true);
            let blank = kwargs.get::<Option<bool>>("blank")? == Some(true);
            kwargs.assert_all_used()?;
            indent(&text, width, first, blank, &b)
        },
    );
}

/// Long lists of letters to strip would make stripping quadratic.
pub(super) fn check_strip_chars(chars: Option<&str>) -> Result<(), Error> {
    match chars {
        Some(chars) if chars.len() > 256 => Err(invalid("too many letters to strip")),
        _ => Ok(()),
    }
}

/// The items of `values` as text, with `separator` between.
pub(super) fn join(
    values: &Value,
    separator: &str,
    attribute: Option<&str>,
    budget: &Budget,
) -> Result<String, Error> {
    budget.inspect(values)?;
    let mut out = String::new();
    for (index, value) in values.try_iter()?.checked().enumerate() {
        if index > 0 {
            budget.spend_bytes(separator.len())?;
            out.push_str(separator);
        }
        let value = match attribute {
            Some(attribute) => value?.get_attr(attribute)?,
            None => value?,
        };
        out.push_str(&to_str(&value, budget)?);
    }
    Ok(out)
}

/// `text` with `new` in place of the first `count` occurrences of `old`, or of all.
pub(super) fn replace(
    text: &str,
    old: &str,
    new: &str,
    count: Option<usize>,
    budget: &Budget,
) -> Result<String, Error> {
    budget.spend_bytes(text.len() + old.len() + new.len())?;
    let count = count.unwrap_or(usize::MAX);
    let num_found = text.matches(old).take(count).count();
    budget.spend_bytes(num_found.saturating_mul(new.len()))?;
    Ok(text.replacen(old, new, num_found))
}

/// Jinja2's `indent`: spaces before every line, the first and empty ones only if asked for.
fn indent(
    text: &str,
    width: usize,
    first: bool,
    blank: bool,
    budget: &Budget,
) -> Result<String, Error> {
    if width > MAX_INDENT {
        return Err(invalid(format!("indent's width must be at most {MAX_INDENT}")));
    }
    budget.spend_bytes(text.len())?;
    let mut out = String::new();
    for (index, line) in text.split('\n').enumerate() {
        budget.spend_bytes(line.len() + width)?;
        if index > 0 {
            out.push('\n');
        }
        let wanted = if index == 0 { first } else { blank || !line.is_empty() };
        if wanted {
            out.extend(std::iter::repeat_n(' ', width));
        }
        out.push_str(line);
    }
    Ok(out)
}

fn add_tests(environment: &mut Environment<'_>, budget: &Arc<Budget>) {
    environment.add_test("defined", tests::is_defined);
    environment.add_test("undefined", tests::is_undefined);
    environment.add_test("none", tests::is_none);
    environment.add_test("boolean", tests::is_boolean);
    environment.add_test("true", tests::is_true);
    environment.add_test("false", tests::is_false);
    environment.add_test("number", tests::is_number);
    environment.add_test("integer", tests::is_integer);
    environment.add_test("float", tests::is_float);
    environment.add_test("odd", tests::is_odd);
    environment.add_test("even", tests::is_even);
    environment.add_test("divisibleby", tests::is_divisibleby);
    environment.add_test("string", tests::is_string);
    environment.add_test("mapping", tests::is_mapping);
    // Python's texts and maps are sequences and iterable as well.
    environment.add_test("sequence", |value: &Value| is_iterable(value));
    environment.add_test("iterable", |value: &Value| is_iterable(value));
    type Compare = fn(&Value, &Value) -> bool;
    let comparisons: [(&str, Compare); 12] = [
        ("eq", |a, b| a == b),
        ("equalto", |a, b| a == b),
        ("==", |a, b| a == b),
        ("ne", |a, b| a != b),
        ("!=", |a, b| a != b),
        ("lt", |a, b| a < b),
        ("lessthan", |a, b| a < b),
        ("le", |a, b| a <= b),
        ("gt", |a, b| a > b),
        ("greaterthan", |a, b| a > b),
        ("ge", |a, b| a >= b),
        ("sameas", |a, b| a == b && a.kind() == b.kind()),
    ];
    for (name, compare) in comparisons {
        let budget = Arc::clone(budget);
        environment.add_test(name, move |a: Value, b: Value| {
            budget.inspect(&a)?;
            budget.inspect(&b)?;
            Ok::<_, Error>(compare(&a, &b))
        });
    }
    let budget = Arc::clone(budget);
    environment.add_test("in", move |state: &mut State, item: Value, all: Value| {
        budget.inspect(&item)?;
        budget.inspect(&all)?;
        tests::is_in(state, &item, &all)
    });
}

fn is_iterable(value: &Value) -> bool {
    value.as_str().is_some() || (!value.is_undefined() && value.try_iter().is_ok())
}

fn add_functions(environment: &mut Environment<'_>, budget: &Arc<Budget>, now: Option<i64>) {
    // A range is not a list before something walks over it, and what walks over it pays.
    environment.add_global("range", Value::from_function(functions::range));
    for (name, function) in [
        ("namespace", Value::from_function(functions::namespace)),
        ("dict", Value::from_function(functions::dict)),
    ] {
        environment.add_function(name, paid(function, Budget::inspect, budget));
    }
    environment.add_function("raise_exception", |message: String| {
        Err::<Value, _>(invalid("raised").with_source(Raised(message)))
    });
    environment.add_function("strftime_now", move |format: String| match now {
        Some(now) => strftime(&format, now),
        None => Err(invalid("it asks for today's date (strftime_now), and no date was given")),
    });
}
