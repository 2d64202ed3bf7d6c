//! The forms of answers that call tools.

use engine::StructuredOutputs;
use serde_json::{Map, Value, json};
use tool_calls::ToolCallParser;

use super::request::Tool;
use crate::error::ApiError;

/// The arguments of a call of `tool`, and nothing else.
pub(super) fn arguments(tool: &Tool) -> StructuredOutputs {
    StructuredOutputs::Json(parameters(tool).to_string())
}

/// A list of calls: one or more, or just one.
pub(super) fn list(tools: &[Tool], is_parallel: bool) -> Result<StructuredOutputs, ApiError> {
    let (call, mut list) = calls(tools, "parameters", parameters)?;
    list.insert("type".to_owned(), "array".into());
    list.insert("items".to_owned(), call);
    list.insert("minItems".to_owned(), 1.into());
    if !is_parallel {
        list.insert("maxItems".to_owned(), 1.into());
    }
    Ok(StructuredOutputs::Json(Value::from(list).to_string()))
}

/// Text, and calls as `parser` reads them, where some of the tools are strict: what begins like a call is one, and those
/// of strict tools keep to their parameters.
pub(super) fn of_own_accord(
    parser: ToolCallParser,
    tools: &[Tool],
) -> Result<Option<StructuredOutputs>, ApiError> {
    let Some(index) = tools.iter().position(Tool::is_strict) else { return Ok(None) };
    let (key, text_and_calls) = match parser {
        ToolCallParser::Hermes => ("arguments", HERMES),
        ToolCallParser::Llama3Json => ("parameters", LLAMA3_JSON),
        _ => {
            let message = format!(
                "tools[{index}].function.strict: the tags of this model's calls are no text that a grammar could hold; choose \
                 the tool with `tool_choice`: \"required\" or a function's name"
            );
            return Err(ApiError::bad_field("tools", message));
        }
    };
    let of_tool = |tool: &Tool| match tool.is_strict() {
        true => parameters(tool),
        false => json!({ "type": "object" }),
    };
    let (call, mut schema) = calls(tools, key, of_tool)?;
    // References begin at the root, so that the choice stands beside the definitions.
    schema.extend(call.as_object().cloned().unwrap_or_default());
    let call = Value::from(schema);
    Ok(Some(StructuredOutputs::Grammar(format!("{text_and_calls}call: %json {call}\n"))))
}

/// In Lark's notation. A text ends, lazily, with the first tag in it, and behind a tag there is a call.
const HERMES: &str = r#"
start: (text_and_tag SPACE? call SPACE? "</tool_call>")* TEXT
text_and_tag[lazy]: /(.|\n)*<tool_call>/
TEXT: /(.|\n)*/
SPACE: /[ \n]{1,4}/
"#;

/// A bracket, or the tag that may stand before it, begins calls and no text.
const LLAMA3_JSON: &str = r#"
start: SPACE? (TEXT | calls)
calls: call (SEPARATOR call)*
TEXT: /([^{<\s]|<[^|])(.|\n)*/
SEPARATOR: /\s{0,4};\s{0,4}/
SPACE: /[ \n]{1,4}/
"#;

/// What a call's arguments must be.
fn parameters(tool: &Tool) -> Value {
    match &tool.function.parameters {
        Some(parameters) => Value::Object(parameters.clone()),
        None => json!({ "type": "object", "properties": {}, "additionalProperties": false }),
    }
}

/// A call of any of the tools, with its arguments below `key`, and what belongs at the schema's root for it: references of
/// a schema begin there, so what they refer to moves there.
fn calls(
    tools: &[Tool],
    key: &str,
    parameters: impl Fn(&Tool) -> Value,
) -> Result<(Value, Map<String, Value>), ApiError> {
    let mut root = Map::new();
    let mut calls = Vec::with_capacity(tools.len());
    for tool in tools {
        let mut parameters = parameters(tool);
        for place in ["$defs", "definitions"] {
            let moved = parameters.as_object_mut().and_then(|fields| fields.shift_remove(place));
            let Some(Value::Object(moved)) = moved else { continue };
            for (name, definition) in moved {
                let found = root.entry(place).or_insert_with(|| json!({}));
                let found = &mut found[&name];
                if !found.is_null() && *found != definition {
                    let message = format!(
                        "two of the `tools` have a {place}/{name} that differ; give them other names"
                    );
                    return Err(ApiError::bad_field("tools", message));
                }
                *found = definition;
            }
        }
        calls.push(json!({
            "type": "object",
            "properties": { "name": { "const": tool.function.name }, key: parameters },
            "required": ["name", key],
            "additionalProperties": false,
        }));
    }
    Ok((json!({ "anyOf": calls }), root))
}
