//! What a request says of tools.

use engine::text::ToolKind;
use engine::{SamplingParams, StructuredOutputs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tool_calls::{Syntax, ToolCallParser};

use super::form;
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
pub(super) struct Tool {
    #[serde(rename = "type")]
    kind: ToolKind,
    pub(super) function: Function,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Function {
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) parameters: Option<Map<String, Value>>,
    /// Whether calls keep to the parameters where the model decides whether it calls.
    #[serde(default, skip_serializing)]
    strict: Option<bool>,
}

impl Tool {
    pub(super) fn is_strict(&self) -> bool {
        self.function.strict == Some(true)
    }
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
    /// Whether it is nothing but calls.
    is_certain: bool,
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
            ToolChoice::Mode(Mode::Auto) => {
                let parser = auto(model)?;
                (Some(parser.syntax()), form::of_own_accord(parser, tools)?)
            }
            ToolChoice::Mode(Mode::Required) => {
                (Some(Syntax::List), Some(form::list(tools, is_parallel)?))
            }
            ToolChoice::Named(named) => {
                let name = &named.function.name;
                let tool = tools.iter().find(|tool| tool.function.name == *name);
                let tool = tool.ok_or_else(|| {
                    let message = format!("`tool_choice` names {name}, which is not in `tools`");
                    ApiError::bad_field("tool_choice", message)
                })?;
                (Some(Syntax::Arguments(name.clone())), Some(form::arguments(tool)))
            }
        };
        let has_short_ids = model.tool_call_parser == Some(ToolCallParser::Mistral);
        let is_certain = matches!(syntax, Some(Syntax::List | Syntax::Arguments(_)));
        let tools = self.into_tools()?;
        Ok(ToolUse { syntax, form, is_certain, is_parallel, has_short_ids, tools })
    }
}

impl ToolUse {
    /// Has the answer written so that its calls can be read.
    pub(crate) fn apply(&self, params: &mut SamplingParams) -> Result<(), ApiError> {
        if !self.is_certain {
            // The tags of calls are special tokens of some models.
            params.skip_special_tokens &= self.syntax.is_none();
        }
        let Some(form) = &self.form else { return Ok(()) };
        if params.structured_outputs.is_some() {
            let message = "`tool_choice` gives the answer its form; leave `response_format` and `structured_outputs` out";
            return Err(ApiError::bad_field("tool_choice", message));
        }
        params.structured_outputs = Some(form.clone());
        Ok(())
    }

    /// Whether the answer is nothing but calls.
    pub(crate) fn is_certain(&self) -> bool {
        self.is_certain
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
fn auto(model: &ServedModel) -> Result<ToolCallParser, ApiError> {
    match model.tool_call_parser {
        Some(parser) if model.enable_auto_tool_choice => Ok(parser),
        _ => Err(ApiError::bad_field(
            "tool_choice",
            "\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set; `tool_choice` may be \"none\", \"required\" or a function's name",
        )),
    }
}
