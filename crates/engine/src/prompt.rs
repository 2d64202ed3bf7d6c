//! What a request starts from.

use crate::text::Message;

/// A prompt in one of the forms that a user may have it in.
#[derive(Clone, Debug, PartialEq)]
pub enum Prompt {
    /// Plain text, continued as it is.
    Text(String),
    /// Tokens, used as they are.
    TokenIds(Vec<u32>),
    /// A conversation, put into words by the model's chat template.
    Messages(Vec<Message>),
    /// The same, where the answer may call tools.
    MessagesWithTools {
        /// The conversation.
        messages: Vec<Message>,
        /// The tools, as the OpenAI API has them.
        tools: Vec<serde_json::Value>,
    },
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
        Prompt::Messages(messages)
    }
}
