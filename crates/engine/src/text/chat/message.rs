//! Messages of a conversation.

use std::borrow::Cow;
use std::fmt;

use minijinja::Value;
use schemars::JsonSchema;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::json::from_json;

/// One message: who says what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Given")]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool`, or what else the template knows.
    pub role: String,
    /// What is said; nothing by an assistant who only calls tools, or did not come to an answer.
    pub content: Option<Content>,
    /// Who of that role says it, for templates that tell them apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What an assistant thought before, for templates that show it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// What an assistant called.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Which call a tool answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

/// A call of a tool, as the OpenAI API has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// What the tool's answer refers to.
    pub id: String,
    /// The only kind there is.
    #[serde(rename = "type", default)]
    pub kind: ToolKind,
    /// What is called.
    pub function: FunctionCall,
}

/// What a tool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ToolKind {
    /// A function with arguments in JSON.
    #[default]
    Function,
}

/// A function and its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FunctionCall {
    /// Its name.
    pub name: String,
    /// A JSON object, as text.
    pub arguments: String,
}

/// A message as a request has it. Clients send back what they got, with its empty fields.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Given {
    role: String,
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default, alias = "reasoning_content")]
    reasoning: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<ToolCall>>,
    #[serde(default)]
    tool_call_id: Option<String>,
    #[serde(default, rename = "refusal")]
    _refusal: Option<()>,
    #[serde(default, rename = "annotations")]
    _annotations: Option<()>,
    #[serde(default, rename = "audio")]
    _audio: Option<()>,
    #[serde(default, rename = "function_call")]
    _function_call: Option<()>,
}

impl TryFrom<Given> for Message {
    type Error = String;

    fn try_from(given: Given) -> Result<Message, String> {
        let Given { role, content, name, reasoning, tool_calls, tool_call_id, .. } = given;
        let tool_calls = tool_calls.unwrap_or_default();
        if !tool_calls.is_empty() && role != "assistant" {
            return Err(format!("tool_calls belong to a message of the assistant, not of {role}"));
        }
        if tool_call_id.is_some() && role != "tool" {
            return Err(format!("tool_call_id belongs to a message of a tool, not of {role}"));
        }
        if reasoning.is_some() && role != "assistant" {
            return Err(format!("reasoning belongs to a message of the assistant, not of {role}"));
        }
        if content.is_none() && tool_calls.is_empty() && reasoning.is_none() {
            return Err(format!("a message of {role} must have content"));
        }
        for ToolCall { function, .. } in &tool_calls {
            function.parsed_arguments()?;
        }
        Ok(Message { role, content, name, reasoning, tool_calls, tool_call_id })
    }
}

impl FunctionCall {
    /// The arguments as templates want them. vLLM, too, takes an empty text for an empty object.
    fn parsed_arguments(&self) -> Result<Map<String, Json>, String> {
        if self.arguments.trim().is_empty() {
            return Ok(Map::new());
        }
        serde_json::from_str(&self.arguments)
            .map_err(|error| format!("the arguments of {} are no JSON object: {error}", self.name))
    }
}

/// The content of a message: a text, or a list of texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Content {
    /// A text.
    Text(String),
    /// Parts, as the OpenAI API has them.
    Parts(Vec<ContentPart>),
}

/// One part of a content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum ContentPart {
    /// `{"type": "text", "text": …}`.
    Text {
        /// The text.
        text: String,
    },
}

// Written out so that an error names the part that is wrong; serde's untagged enums only say that nothing fits.
impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;

        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a text or a list of parts such as {\"type\": \"text\", \"text\": ...}")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<Content, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(parts)).map(Content::Parts)
            }
        }

        deserializer.deserialize_any(ContentVisitor)
    }
}

impl ContentPart {
    /// A part that is a text.
    pub fn text(text: impl Into<String>) -> Self {
        ContentPart::Text { text: text.into() }
    }
}

impl Message {
    /// A message that is a text.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Message {
            role: role.into(),
            content: Some(Content::Text(content.into())),
            name: None,
            reasoning: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
        }
    }

    /// What is said, as one text: parts are joined with line feeds.
    pub fn text(&self) -> Cow<'_, str> {
        match &self.content {
            None => Cow::Borrowed(""),
            Some(Content::Text(text)) => Cow::Borrowed(text),
            Some(Content::Parts(parts)) => {
                let texts: Vec<_> =
                    parts.iter().map(|ContentPart::Text { text }| text.as_str()).collect();
                Cow::Owned(texts.join("\n"))
            }
        }
    }

    /// The last text of what is said, if anything is.
    pub(super) fn last_text_mut(&mut self) -> Option<&mut String> {
        match self.content.as_mut()? {
            Content::Text(text) => Some(text),
            Content::Parts(parts) => parts.last_mut().map(|ContentPart::Text { text }| text),
        }
    }

    /// The message as a template sees it. As in vLLM, what an assistant does not say is an empty text.
    pub(super) fn to_value(&self, parts_as_list: bool) -> Value {
        let content = match &self.content {
            Some(Content::Parts(parts)) if parts_as_list => {
                Value::from(parts.iter().map(ContentPart::to_value).collect::<Vec<_>>())
            }
            _ => Value::from(self.text()),
        };
        let mut fields = vec![("role", Value::from(self.role.as_str())), ("content", content)];
        fields.extend(self.name.as_deref().map(|name| ("name", Value::from(name))));
        // Templates know it by either name, the older one from when it was new.
        for name in ["reasoning", "reasoning_content"] {
            fields.extend(self.reasoning.as_deref().map(|text| (name, Value::from(text))));
        }
        if !self.tool_calls.is_empty() {
            let calls: Vec<Value> = self.tool_calls.iter().map(ToolCall::to_value).collect();
            fields.push(("tool_calls", Value::from(calls)));
        }
        fields.extend(self.tool_call_id.as_deref().map(|id| ("tool_call_id", Value::from(id))));
        Value::from_pairs(fields)
    }
}

impl ToolCall {
    fn to_value(&self) -> Value {
        // Reading has refused other arguments; one that was made otherwise is shown as it is.
        let arguments = match self.function.parsed_arguments() {
            Ok(arguments) => from_json(&Json::Object(arguments)),
            Err(_) => Value::from(self.function.arguments.as_str()),
        };
        let name = Value::from(self.function.name.as_str());
        let function = Value::from_pairs([("name", name), ("arguments", arguments)]);
        let id = Value::from(self.id.as_str());
        Value::from_pairs([("id", id), ("type", Value::from("function")), ("function", function)])
    }
}

impl ContentPart {
    fn to_value(&self) -> Value {
        let ContentPart::Text { text } = self;
        Value::from_pairs([("type", "text"), ("text", text.as_str())])
    }
}
