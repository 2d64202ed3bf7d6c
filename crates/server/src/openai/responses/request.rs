//! What `/v1/responses` is asked.

use engine::text::{Content, ContentPart, Message};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::body::Record;
use crate::error::ApiError;
use crate::openai::sampling::{NamedSchema, ResponseFormat, SamplingFields, ServiceTier};

/// A conversation to answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct ResponseRequest {
    pub(super) model: Option<String>,
    input: Option<Input>,
    /// What the system says before the input.
    pub(super) instructions: Option<String>,
    pub(super) max_output_tokens: Option<usize>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<i32>,
    seed: Option<i64>,
    pub(super) text: Option<Text>,
    pub(super) stream: Option<bool>,
    /// Whether the answer is to be kept; it never is.
    store: Option<bool>,
    pub(super) metadata: Option<Map<String, Value>>,
    pub(super) user: Option<String>,
    safety_identifier: Option<String>,
    prompt_cache_key: Option<String>,
    service_tier: Option<ServiceTier>,
    truncation: Option<Truncation>,
    priority: Option<i32>,
    cache_salt: Option<String>,
    pub(super) request_id: Option<String>,
}

impl Record for ResponseRequest {
    const UNSUPPORTED: &'static [(&'static str, &'static str)] = &[
        ("tools", "ask /v1/chat/completions, where answers can call tools"),
        ("tool_choice", "ask /v1/chat/completions, where answers can call tools"),
        ("parallel_tool_calls", "ask /v1/chat/completions, where answers can call tools"),
        ("max_tool_calls", "ask /v1/chat/completions, where answers can call tools"),
        ("previous_response_id", "the server keeps no answers; send the conversation whole"),
        ("conversation", "the server keeps no conversations; send it whole"),
        ("background", "the server keeps no answers; wait for this one"),
        ("include", "there is nothing besides the answer"),
        ("reasoning", "the model has no setting for it"),
        ("prompt", "the server keeps no templates of prompts; send `input`"),
        ("top_logprobs", "ask /v1/chat/completions for log-probabilities"),
        ("stream_options", "a stream has the usage with its last event"),
    ];
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "`input` must be a text, or a list of messages with `role` and `content`"
)]
enum Input {
    Text(String),
    Items(Vec<Item>),
}

/// A message.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Item {
    #[serde(rename = "type", default)]
    kind: ItemKind,
    role: String,
    content: ItemContent,
    /// Answers are sent back as they were got.
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    status: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ItemKind {
    #[default]
    Message,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum ItemContent {
    Text(String),
    Parts(Vec<Part>),
}

/// A text. No enum by its tag: within one of several forms, serde takes a number for a tag as well.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Part {
    #[serde(rename = "type")]
    kind: PartKind,
    text: String,
    // Empty, as they were got.
    #[serde(default)]
    annotations: [(); 0],
    #[serde(default)]
    logprobs: [(); 0],
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum PartKind {
    InputText,
    OutputText,
}

/// What form the answer must have.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Text {
    #[serde(default)]
    format: Format,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Format {
    #[default]
    Text,
    JsonObject,
    JsonSchema {
        name: String,
        schema: Value,
        #[serde(default)]
        description: Option<String>,
        #[serde(default)]
        strict: Option<bool>,
    },
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Truncation {
    Disabled,
}

impl ResponseRequest {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        if self.store == Some(true) {
            let message = "the server keeps no answers; say `store`: false";
            return Err(ApiError::bad_field("store", message));
        }
        Ok(())
    }

    pub(super) fn sampling(&self) -> SamplingFields {
        let format = self.text.as_ref().map(|text| text.format.clone()).unwrap_or_default();
        SamplingFields {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            seed: self.seed,
            priority: self.priority,
            cache_salt: self.cache_salt.clone(),
            response_format: Some(match format {
                Format::Text => ResponseFormat::Text,
                Format::JsonObject => ResponseFormat::JsonObject,
                Format::JsonSchema { name, schema, description, strict } => {
                    let name = Some(name);
                    let json_schema = NamedSchema { name, description, schema, strict };
                    ResponseFormat::JsonSchema { json_schema }
                }
            }),
            ..SamplingFields::default()
        }
    }

    /// The conversation, the instructions first.
    pub(super) fn messages(&self) -> Result<Vec<Message>, ApiError> {
        let mut messages: Vec<Message> = Vec::new();
        messages.extend(self.instructions.as_deref().map(|text| Message::new("system", text)));
        match &self.input {
            Some(Input::Text(text)) => messages.push(Message::new("user", text)),
            Some(Input::Items(items)) if !items.is_empty() => {
                messages.extend(items.iter().map(Item::message));
            }
            _ => {
                return Err(ApiError::bad_field("input", "`input` must have at least one message"));
            }
        }
        Ok(messages)
    }
}

impl Item {
    fn message(&self) -> Message {
        // The name that OpenAI's newer models have for it.
        let role = if self.role == "developer" { "system" } else { &self.role };
        let content = match &self.content {
            ItemContent::Text(text) => Content::Text(text.clone()),
            ItemContent::Parts(parts) => {
                let text = |part: &Part| ContentPart::text(&part.text);
                Content::Parts(parts.iter().map(text).collect())
            }
        };
        Message { content: Some(content), ..Message::new(role, "") }
    }
}
