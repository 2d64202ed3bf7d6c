//! `logit_bias` and `structured_outputs` as flags: JSON, as in a request.

use std::collections::BTreeMap;

use engine::{StructuredOutputs, TokenId, request_json};
use serde_json::Value;

/// A flag's `{"ID": BIAS, …}`.
pub(crate) fn logit_bias_flag(text: &str) -> Result<BTreeMap<TokenId, f32>, String> {
    request_json::logit_bias(&parse(text)?)
}

/// A flag's object with one kind of form.
pub(crate) fn structured_outputs_flag(text: &str) -> Result<StructuredOutputs, String> {
    request_json::structured_outputs(&parse(text)?)
}

fn parse(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("not valid JSON: {error}"))
}
