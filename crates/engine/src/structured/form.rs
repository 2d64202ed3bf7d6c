//! From what a request says to a grammar, within limits on its text.

use engine_core::request::StructuredOutputs;
use llguidance::api::TopLevelGrammar;
use serde_json::{Value, json};

use super::error::StructuredError;

/// Longest text of a form.
const MAX_BYTES: usize = 1 << 20;
/// Deepest brackets of a form: compilers and parsers recurse on them.
const MAX_DEPTH: usize = 64;

/// The field's name in vLLM's `StructuredOutputsParams`.
pub(super) const fn kind(form: &StructuredOutputs) -> &'static str {
    match form {
        StructuredOutputs::Json(_) => "json",
        StructuredOutputs::Regex(_) => "regex",
        StructuredOutputs::Choice(_) => "choice",
        StructuredOutputs::Grammar(_) => "grammar",
        StructuredOutputs::JsonObject => "json_object",
        _ => "form",
    }
}

/// The grammar of a form.
pub(super) fn grammar(form: &StructuredOutputs) -> Result<TopLevelGrammar, StructuredError> {
    let kind = kind(form);
    check_size(form, kind)?;
    let invalid = |reason: String| StructuredError::Invalid { kind, reason };
    match form {
        StructuredOutputs::Json(schema) => {
            let schema: Value =
                serde_json::from_str(schema).map_err(|error| invalid(error.to_string()))?;
            check_schema(&schema).map_err(invalid)?;
            Ok(TopLevelGrammar::from_json_schema(schema))
        }
        StructuredOutputs::Regex(regex) => {
            check_regex(regex).map_err(invalid)?;
            Ok(TopLevelGrammar::from_regex(unanchored(regex)))
        }
        StructuredOutputs::Choice(texts) => {
            let texts: Vec<String> = texts.iter().map(|text| escaped(text)).collect();
            Ok(TopLevelGrammar::from_regex(&texts.join("|")))
        }
        StructuredOutputs::Grammar(lark) => {
            schemas_within(lark).try_for_each(|schema| check_schema(&schema)).map_err(invalid)?;
            Ok(TopLevelGrammar::from_lark(lark.clone()))
        }
        StructuredOutputs::JsonObject => {
            Ok(TopLevelGrammar::from_json_schema(json!({"type": "object"})))
        }
        _ => Err(invalid("this kind of form is not known".to_owned())),
    }
}

fn check_size(form: &StructuredOutputs, kind: &'static str) -> Result<(), StructuredError> {
    let (num_bytes, depth) = match form {
        StructuredOutputs::Json(text)
        | StructuredOutputs::Regex(text)
        | StructuredOutputs::Grammar(text) => (text.len(), bracket_depth(text)),
        StructuredOutputs::Choice(texts) => (texts.iter().map(|text| text.len() + 4).sum(), 0),
        _ => (0, 0),
    };
    if num_bytes > MAX_BYTES {
        return Err(StructuredError::TooLong { kind, num_bytes, max_bytes: MAX_BYTES });
    }
    if depth > MAX_DEPTH {
        return Err(StructuredError::TooDeep { kind, depth, max_depth: MAX_DEPTH });
    }
    Ok(())
}

/// How deep brackets nest, at most; those in texts count too, which only makes it stricter.
fn bracket_depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The schemas that a grammar has in it. What is none the compiler refuses.
fn schemas_within(lark: &str) -> impl Iterator<Item = Value> {
    let schema = |text| serde_json::Deserializer::from_str(text).into_iter().next()?.ok();
    lark.split("%json").skip(1).filter_map(schema)
}

/// The automaton of multiples of a number has as many states as the number.
const MAX_DIVISOR_DIGITS: usize = 5;

/// Refuses what the compiler would take too long for, or cannot know.
fn check_schema(schema: &Value) -> Result<(), String> {
    match schema {
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            match (name.as_str(), value) {
                ("multipleOf", Value::Number(number)) => check_divisor(&number.to_string())?,
                ("pattern", Value::String(regex)) => check_regex(regex)?,
                ("patternProperties", Value::Object(properties)) => {
                    properties.keys().try_for_each(|regex| check_regex(regex))?;
                }
                _ => {}
            }
            check_schema(value)
        }),
        Value::Array(items) => items.iter().try_for_each(check_schema),
        _ => Ok(()),
    }
}

fn check_divisor(number: &str) -> Result<(), String> {
    let digits = number.split(['e', 'E']).next().unwrap_or_default();
    if digits.bytes().filter(u8::is_ascii_digit).count() > MAX_DIVISOR_DIGITS {
        return Err(format!(
            "multipleOf is {number}, but at most {MAX_DIVISOR_DIGITS} digits are compiled"
        ));
    }
    Ok(())
}

/// Refuses a reference to a group, in our words: no automaton follows one.
fn check_regex(regex: &str) -> Result<(), String> {
    let mut chars = regex.chars();
    while let Some(c) = chars.next() {
        if c == '\\'
            && let Some(escaped) = chars.next()
            && escaped.is_ascii_digit()
        {
            return Err(format!(
                "\\{escaped} is a backreference, or an octal code; neither is supported"
            ));
        }
    }
    Ok(())
}

/// A regular expression that matches the text alone.
fn escaped(text: &str) -> String {
    let mut regex = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(c) {
            regex.push('\\');
        }
        regex.push(c);
    }
    regex
}

/// The whole output must match, so anchors at the ends say nothing more.
fn unanchored(regex: &str) -> &str {
    let regex = regex.strip_prefix('^').unwrap_or(regex);
    match regex.strip_suffix('$') {
        Some(rest) if rest.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 0 => rest,
        _ => regex,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_at_the_ends_are_dropped() {
        for (regex, expected) in
            [("^a$", "a"), ("a", "a"), (r"a\$", r"a\$"), (r"a\\$", r"a\\"), ("^", ""), ("$^", "$^")]
        {
            assert_eq!(unanchored(regex), expected, "{regex}");
        }
    }

    #[test]
    fn a_schema_within_a_grammar_is_looked_at_like_any_other() {
        let divisor = |digits: &str| {
            let schema = format!("{{\"type\": \"integer\", \"multipleOf\": {digits}}}");
            let lark = format!("start: a | b\na: %json {{\"const\": 1}}\nb: %json {schema}\n");
            grammar(&StructuredOutputs::Grammar(lark))
        };
        assert!(divisor("99999").is_ok());
        let error = divisor("100003").unwrap_err().to_string();
        assert!(error.contains("at most 5 digits are compiled"), "{error}");
    }

    #[test]
    fn depth_is_that_of_the_deepest_bracket() {
        for (text, expected) in [("", 0), ("())(", 1), ("([{}])()", 3), ("]]](", 1)] {
            assert_eq!(bracket_depth(text), expected, "{text}");
        }
    }
}
