//! What a request says of tools.

use engine::text::ToolKind;
use engine::{SamplingParams, StructuredOutputs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tool_calls::{Syntax, ToolCallParser};

use super::reader::Reader;
use crate::body::Record;
use crate::error::ApiError;
use crate::served_model::ServedModel;

/// Most tools of a request, as in OpenAI's API.
const MAX_NUM_TOOLS: usize = 128;

/// OpenAI's fields; none of them must be given.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct ToolFields {
    tools: Option<Vec<Tool>>,
    tool_choice: Option<ToolChoice>,
    /// Whether an answer may call more than one.
    parallel_tool_calls: Option<bool>,
}

impl Record for ToolFields {
    const UNSUPPORTED: &'static [(&'static str, &'static str)] = &[
        ("functions", "it is the old name of `tools`"),
        ("function_call", "it is the old name of `tool_choice`"),
    ];
}

/// A tool. What is written of it is what chat templates get.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Tool {
    #[serde(rename = "type")]
    kind: ToolKind,
    function: Function,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Function {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parameters: Option<Map<String, Value>>,
    #[serde(default, skip_serializing)]
    strict: Option<bool>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "it must be \"none\", \"auto\", \"required\", or {\"type\": \"function\", \"function\": {\"name\": NAME}}"
)]
enum ToolChoice {
    Mode(Mode),
    Named(Named),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Mode {
    None,
    Auto,
    Required,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Named {
    #[serde(rename = "type")]
    kind: ToolKind,
    function: FunctionName,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FunctionName {
    name: String,
}

/// What a request's tools mean for its answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct ToolUse {
    /// What the chat template gets.
    pub(crate) tools: Vec<Value>,
    /// How the answer says calls, if it may have any.
    syntax: Option<Syntax>,
    /// What form the answer must have.
    form: Option<StructuredOutputs>,
    is_parallel: bool,
    /// Whether calls have ids of nine letters, which Mistral's templates want.
    has_short_ids: bool,
}

impl ToolFields {
    /// The tools alone, for a prompt that is not answered.
    pub(crate) fn into_tools(self) -> Result<Vec<Value>, ApiError> {
        let tools = self.tools.unwrap_or_default();
        check(&tools)?;
        tools.into_iter().map(|tool| serde_json::to_value(tool).map_err(unwritten)).collect()
    }

    pub(crate) fn into_use(self, model: &ServedModel) -> Result<ToolUse, ApiError> {
        let tools = self.tools.as_deref().unwrap_or_default();
        check(tools)?;
        let default = if tools.is_empty() { Mode::None } else { Mode::Auto };
        let choice = self.tool_choice.clone().unwrap_or(ToolChoice::Mode(default));
        if tools.is_empty() && !matches!(choice, ToolChoice::Mode(Mode::None)) {
            let message = "`tool_choice` needs `tools` to choose from";
            return Err(ApiError::bad_field("tool_choice", message));
        }
        let is_parallel = self.parallel_tool_calls.unwrap_or(true);
        let (syntax, form) = match &choice {
            ToolChoice::Mode(Mode::None) => (None, None),
            ToolChoice::Mode(Mode::Auto) => (Some(auto(model, tools)?.syntax()), None),
            ToolChoice::Mode(Mode::Required) => {
                (Some(Syntax::List), Some(schema(list_schema(tools, is_parallel)?)))
            }
            ToolChoice::Named(named) => {
                let name = &named.function.name;
                let tool = tools.iter().find(|tool| tool.function.name == *name);
                let tool = tool.ok_or_else(|| {
                    let message = format!("`tool_choice` names {name}, which is not in `tools`");
                    ApiError::bad_field("tool_choice", message)
                })?;
                (Some(Syntax::Arguments(name.clone())), Some(schema(parameters(tool))))
            }
        };
        let has_short_ids = model.tool_call_parser == Some(ToolCallParser::Mistral);
        Ok(ToolUse { syntax, form, is_parallel, has_short_ids, tools: self.into_tools()? })
    }
}

impl ToolUse {
    /// Has the answer written so that its calls can be read.
    pub(crate) fn apply(&self, params: &mut SamplingParams) -> Result<(), ApiError> {
        let Some(form) = &self.form else {
            // The tags of calls are special tokens of some models.
            params.skip_special_tokens &= self.syntax.is_none();
            return Ok(());
        };
        if params.structured_outputs.is_some() {
            let message = "`tool_choice` gives the answer its form; leave `response_format` and `structured_outputs` out";
            return Err(ApiError::bad_field("tool_choice", message));
        }
        params.structured_outputs = Some(form.clone());
        Ok(())
    }

    /// Whether the answer is nothing but calls.
    pub(crate) fn is_certain(&self) -> bool {
        self.form.is_some()
    }

    /// Reads one of the answers.
    pub(crate) fn reader(&self) -> Reader {
        Reader::new(self.syntax.clone(), self.is_parallel, self.has_short_ids)
    }
}

fn unwritten(error: serde_json::Error) -> ApiError {
    ApiError::internal(error.to_string())
}

fn check(tools: &[Tool]) -> Result<(), ApiError> {
    let wrong = |message: String| Err(ApiError::bad_field("tools", message));
    if tools.len() > MAX_NUM_TOOLS {
        return wrong(format!("`tools` has {} tools; {MAX_NUM_TOOLS} is the most", tools.len()));
    }
    for (index, tool) in tools.iter().enumerate() {
        let name = &tool.function.name;
        if name.is_empty() {
            return wrong(format!("tools[{index}].function.name is empty"));
        }
        if tools[..index].iter().any(|before| before.function.name == *name) {
            return wrong(format!("tools[{index}].function.name: {name} is there already"));
        }
    }
    Ok(())
}

/// How calls are read that the model makes of its own accord.
fn auto(model: &ServedModel, tools: &[Tool]) -> Result<ToolCallParser, ApiError> {
    let refused = |message| Err(ApiError::bad_field("tool_choice", message));
    let strict = tools.iter().position(|tool| tool.function.strict == Some(true));
    if let Some(index) = strict {
        let message = format!(
            "tools[{index}].function.strict: arguments keep to their schema only where a call is certain, with `tool_choice`: \"required\" or a function's name"
        );
        return Err(ApiError::bad_field("tools", message));
    }
    match model.tool_call_parser {
        Some(parser) if model.enable_auto_tool_choice => Ok(parser),
        _ => refused(
            "\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set; `tool_choice` may be \"none\", \"required\" or a function's name",
        ),
    }
}

fn schema(schema: Value) -> StructuredOutputs {
    StructuredOutputs::Json(schema.to_string())
}

/// What a call's arguments must be.
fn parameters(tool: &Tool) -> Value {
    match &tool.function.parameters {
        Some(parameters) => Value::Object(parameters.clone()),
        None => json!({ "type": "object", "properties": {}, "additionalProperties": false }),
    }
}

/// One call or more. References of a schema begin at its root, so what they refer to moves there.
fn list_schema(tools: &[Tool], is_parallel: bool) -> Result<Value, ApiError> {
    let mut list = json!({ "type": "array", "minItems": 1 });
    if !is_parallel {
        list["maxItems"] = Value::from(1);
    }
    let mut calls = Vec::with_capacity(tools.len());
    for tool in tools {
        let mut parameters = parameters(tool);
        for place in ["$defs", "definitions"] {
            let moved = parameters.as_object_mut().and_then(|fields| fields.shift_remove(place));
            let Some(Value::Object(moved)) = moved else { continue };
            for (name, definition) in moved {
                let found = &mut list[place][&name];
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
            "properties": { "name": { "const": tool.function.name }, "parameters": parameters },
            "required": ["name", "parameters"],
            "additionalProperties": false,
        }));
    }
    list["items"] = json!({ "anyOf": calls });
    Ok(list)
}
