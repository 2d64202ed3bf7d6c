//! `logit_bias` and `structured_outputs`: vLLM's JSON for them, in requests and on the command line.

use std::collections::BTreeMap;

use engine_core::request::{StructuredOutputs, TokenId};
use serde_json::Value;

const KINDS: [&str; 5] = ["json", "regex", "choice", "grammar", "json_object"];

/// `{"ID": BIAS, …}`.
///
/// # Errors
/// Says what is wrong with it.
pub fn logit_bias(value: &Value) -> Result<BTreeMap<TokenId, f32>, String> {
    let what = "logit_bias must be an object of token ids and biases, such as {\"15\": -2.5}";
    let entries = value.as_object().ok_or(what)?;
    let entry = |(id, bias): (&String, &Value)| {
        let id = id.parse().map_err(|_| format!("{what}; {id:?} is no token id"))?;
        let bias = bias.as_f64().ok_or_else(|| format!("{what}; {bias} is no number"))?;
        Ok((TokenId(id), bias as f32))
    };
    entries.iter().map(entry).collect()
}

/// An object with exactly one of json, regex, choice, grammar, json_object.
///
/// # Errors
/// Says what is wrong with it.
pub fn structured_outputs(value: &Value) -> Result<StructuredOutputs, String> {
    let one_of = || format!("one of {}", KINDS.join(", "));
    let fields = value
        .as_object()
        .ok_or_else(|| format!("structured_outputs must be an object with {}", one_of()))?;
    if let Some(name) = fields.keys().find(|name| !KINDS.contains(&name.as_str())) {
        return Err(format!("unknown field structured_outputs.{name}; give {}", one_of()));
    }
    let mut given = fields.iter().filter(|(_, value)| !value.is_null());
    let (Some((kind, value)), None) = (given.next(), given.next()) else {
        return Err(format!("structured_outputs must have exactly {}", one_of()));
    };
    let wrong = |must_be: &str| format!("structured_outputs.{kind} must be {must_be}");
    let text = || value.as_str().map(str::to_owned).ok_or_else(|| wrong("a text"));
    Ok(match kind.as_str() {
        "json" => StructuredOutputs::Json(match value {
            Value::String(schema) => schema.clone(),
            schema => schema.to_string(),
        }),
        "regex" => StructuredOutputs::Regex(text()?),
        "grammar" => StructuredOutputs::Grammar(text()?),
        "json_object" if value == &Value::Bool(true) => StructuredOutputs::JsonObject,
        "json_object" => return Err(wrong("true, or left out")),
        _ => {
            let choice = |item: &Value| item.as_str().map(str::to_owned);
            let choices = value.as_array().and_then(|items| items.iter().map(choice).collect());
            StructuredOutputs::Choice(choices.ok_or_else(|| wrong("a list of texts"))?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed<T>(read: fn(&Value) -> Result<T, String>, text: &str) -> Result<T, String> {
        read(&serde_json::from_str(text).map_err(|error| error.to_string())?)
    }

    #[test]
    fn a_bias_is_read_by_token() {
        let expected = [(TokenId(3), -2.5), (TokenId(40), 100.0)].into();
        assert_eq!(parsed(logit_bias, r#"{"40": 100, "3": -2.5}"#), Ok(expected));
        for bad in ["{", "[1]", r#"{"x": 1}"#, r#"{"-1": 1}"#, r#"{"1": "2"}"#] {
            assert!(parsed(logit_bias, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_kind_of_form_is_read() {
        let schema = StructuredOutputs::Json(r#"{"type":"null"}"#.to_owned());
        for (text, expected) in [
            (r#"{"json": {"type": "null"}}"#, schema.clone()),
            (r#"{"json": "{\"type\":\"null\"}", "regex": null}"#, schema),
            (r#"{"regex": "a+"}"#, StructuredOutputs::Regex("a+".to_owned())),
            (r#"{"choice": ["a", "b"]}"#, StructuredOutputs::Choice(vec!["a".into(), "b".into()])),
            (r#"{"grammar": "start: \"x\""}"#, StructuredOutputs::Grammar("start: \"x\"".into())),
            (r#"{"json_object": true}"#, StructuredOutputs::JsonObject),
        ] {
            assert_eq!(parsed(structured_outputs, text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_form_that_is_not_one_is_refused_by_name() {
        for (text, expected) in [
            ("5", "must be an object"),
            ("{}", "exactly one of json, regex"),
            (r#"{"regex": "a", "choice": ["b"]}"#, "exactly one of"),
            (r#"{"structural_tag": {}}"#, "unknown field structured_outputs.structural_tag"),
            (r#"{"regex": 5}"#, "structured_outputs.regex must be a text"),
            (r#"{"choice": [5]}"#, "structured_outputs.choice must be a list of texts"),
            (r#"{"json_object": false}"#, "structured_outputs.json_object must be true"),
        ] {
            let error = parsed(structured_outputs, text).unwrap_err();
            assert!(error.contains(expected), "{text} gave {error}");
        }
    }
}
