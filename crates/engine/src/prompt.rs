//! What a request starts from.

use serde_json::{Map, Value};

use crate::text::{Message, PromptEnd};

/// A prompt in one of the forms that a user may have it in.
#[derive(Clone, Debug, PartialEq)]
pub enum Prompt {
    /// Plain text, continued as it is.
    Text(String),
    /// The same, without the tokens that the tokenizer puts around a text.
    BareText(String),
    /// Tokens, used as they are.
    TokenIds(Vec<u32>),
    /// A conversation, put into words by the model's chat template.
    Chat(Conversation),
}

/// A conversation, and what its chat template is to make of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversation {
    /// Who said what.
    pub messages: Vec<Message>,
    /// What the answer may call, as the OpenAI API has it.
    pub tools: Vec<Value>,
    /// Texts that the answer may draw on, for templates that have a place for them.
    pub documents: Vec<Value>,
    /// Variables of the template's own, such as Qwen 3's `enable_thinking`.
    pub template_args: Map<String, Value>,
    /// Where the prompt ends.
    pub end: PromptEnd,
    /// Whether the tokenizer puts its tokens around what the template wrote; templates write them themselves.
    pub add_special_tokens: bool,
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Prompt::Text(text.to_owned())
    }
}

impl From<String> for Prompt {
    fn from(text: String) -> Self {
        Prompt::Text(text)
    }
}

impl From<Vec<u32>> for Prompt {
    fn from(token_ids: Vec<u32>) -> Self {
        Prompt::TokenIds(token_ids)
    }
}

impl From<Vec<Message>> for Prompt {
    fn from(messages: Vec<Message>) -> Self {
        Prompt::Chat(Conversation { messages, ..Conversation::default() })
    }
}
