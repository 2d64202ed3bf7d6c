//! Fields on how the chat template writes a conversation.

use engine::Conversation;
use engine::text::{Message, PromptEnd};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::body::Record;
use crate::error::ApiError;

/// vLLM's fields; none of them must be given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct TemplateFields {
    /// Variables of the template's own.
    chat_template_kwargs: Option<Map<String, Value>>,
    /// One of them, by OpenAI's name.
    reasoning_effort: Option<String>,
    /// Texts that the answer may draw on.
    documents: Option<Vec<Map<String, Value>>>,
    /// Whether the prompt ends with the header of the assistant's answer; it does unless the last message is continued.
    add_generation_prompt: Option<bool>,
    /// Whether the answer goes on with the text of the last message.
    continue_final_message: Option<bool>,
}

impl Record for TemplateFields {
    const UNSUPPORTED: &'static [(&'static str, &'static str)] =
        &[("chat_template", "a template from a request is never run; the model's own is")];
}

impl TemplateFields {
    /// What the template is to make of `messages`; it looks itself whether it has a place for all that.
    pub(crate) fn conversation(
        self,
        messages: Vec<Message>,
        tools: Vec<Value>,
        add_special_tokens: bool,
    ) -> Result<Conversation, ApiError> {
        let end = self.end()?;
        let mut template_args = self.chat_template_kwargs.unwrap_or_default();
        if let Some(effort) = self.reasoning_effort {
            if template_args.contains_key("reasoning_effort") {
                let message =
                    "`reasoning_effort` is in `chat_template_kwargs` already; give it once";
                return Err(ApiError::bad_field("reasoning_effort", message));
            }
            template_args.insert("reasoning_effort".to_owned(), Value::from(effort));
        }
        let documents = self.documents.unwrap_or_default().into_iter().map(Value::Object).collect();
        Ok(Conversation { messages, tools, documents, template_args, end, add_special_tokens })
    }

    fn end(&self) -> Result<PromptEnd, ApiError> {
        match (self.add_generation_prompt, self.continue_final_message.unwrap_or(false)) {
            (Some(true), true) => Err(ApiError::bad_field(
                "continue_final_message",
                "an answer that goes on with the last message has no header of its own; leave \
                 `add_generation_prompt` out",
            )),
            (_, true) => Ok(PromptEnd::InLastMessage),
            (Some(false), false) => Ok(PromptEnd::AfterLastMessage),
            (_, false) => Ok(PromptEnd::BeforeAnswer),
        }
    }
}
