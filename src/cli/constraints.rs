//! `logit_bias`, `structured_outputs` and `chat_template_kwargs` as flags: JSON, as in a request.

use std::collections::BTreeMap;

use engine::{StructuredOutputs, TokenId, request_json};
use serde_json::{Map, Value};

/// A flag's `{"ID": BIAS, …}`.
pub(crate) fn logit_bias_flag(text: &str) -> Result<BTreeMap<TokenId, f32>, String> {
    request_json::logit_bias(&parse(text)?)
}

/// A flag's object with one kind of form.
pub(crate) fn structured_outputs_flag(text: &str) -> Result<StructuredOutputs, String> {
    request_json::structured_outputs(&parse(text)?)
}

/// A flag's `{"NAME": VALUE, …}`.
pub(crate) fn template_args_flag(text: &str) -> Result<Map<String, Value>, String> {
    match parse(text)? {
        Value::Object(args) => Ok(args),
        _ => Err("it must be an object".to_owned()),
    }
}

fn parse(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("not valid JSON: {error}"))
}
