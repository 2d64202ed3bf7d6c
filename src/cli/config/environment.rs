//! Variables of the environment: `KVASIR_` and a flag's name.

use clap::{Arg, Command};
use serde_json::Value;

use super::layers::{Setting, Shape, Source, flag, is_list, settable, shape};
use crate::cli::error::CliError;
use crate::cli::log;

/// The variable of an option.
fn variable(name: &str) -> String {
    if name == "log-level" {
        // As short as those of other programs.
        return log::VARIABLE.to_owned();
    }
    format!("KVASIR_{}", name.to_uppercase().replace('-', "_"))
}

/// What the variables say of `options`.
pub(super) fn settings(options: &Command) -> Result<Vec<(&Arg, Setting)>, CliError> {
    let mut settings = Vec::new();
    for (name, arg) in settable(options) {
        let variable = variable(name);
        let Some(value) = std::env::var_os(&variable).filter(|value| !value.is_empty()) else {
            continue;
        };
        let value =
            value.into_string().map_err(|_| CliError::usage(format!("{variable} is not UTF-8")))?;
        let (arg, values) = match shape(arg) {
            Shape::Flag => {
                let is_on = truth(&value).ok_or_else(|| {
                    CliError::usage(format!("{variable} is {value:?}"))
                        .with_hint("give true or false")
                })?;
                let (arg, is_on) = flag(options, name, arg, is_on);
                (arg, vec![is_on.to_string()])
            }
            _ if is_list(arg) => (arg, list(&value).map_err(|error| error.at(&variable))?),
            _ => (arg, vec![value]),
        };
        settings.push((arg, Setting { values, source: Source::Environment(variable) }));
    }
    Ok(settings)
}

fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// The values of a repeatable option: a JSON list, for values with commas or spaces at their ends, or else what
/// commas separate. An error names no value: it may be a key.
fn list(text: &str) -> Result<Vec<String>, CliError> {
    let values = if text.trim_start().starts_with('[') {
        json_list(text).ok_or_else(|| {
            CliError::usage("no JSON list of texts or numbers, as which it begins")
                .with_hint(r#"write ["one", "two"]"#)
        })?
    } else {
        text.split(',').map(|value| value.trim().to_owned()).collect()
    };
    match values.iter().position(String::is_empty) {
        Some(at) => Err(CliError::usage(format!("value {} of {} is empty", at + 1, values.len()))
            .with_hint(r#"take it out; values that have commas are written ["a,b", "c"]"#)),
        None => Ok(values),
    }
}

fn json_list(text: &str) -> Option<Vec<String>> {
    let items: Vec<Value> = serde_json::from_str(text).ok()?;
    let word = |item| match item {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    items.into_iter().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_separate_and_json_keeps_them() {
        for (text, values) in [
            ("a", &["a"][..]),
            (" a, b ", &["a", "b"]),
            (r#"["a, b", "\n", "[INST]"]"#, &["a, b", "\n", "[INST]"]),
            ("[1, -2]", &["1", "-2"]),
            ("[]", &[]),
        ] {
            assert_eq!(list(text).unwrap(), values, "{text}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused_without_its_values() {
        for (text, words) in [
            ("key,,other", "value 2 of 3 is empty"),
            (",", "value 1 of 2 is empty"),
            (r#"["key", ""]"#, "value 2 of 2 is empty"),
            ("[key]", "no JSON list"),
            (r#"["key""#, "no JSON list"),
            (r#"["key", ["key"]]"#, "no JSON list"),
        ] {
            let error = list(text).unwrap_err();
            let message = error.message();
            assert!(message.contains(words) && !message.contains("key"), "{text}: {message}");
        }
    }
}
