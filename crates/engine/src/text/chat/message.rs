//! Messages of a conversation.

use std::fmt;

use minijinja::Value;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// One message: who says what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    /// What is said.
    pub content: Content,
}

/// The content of a message: a text, or a list of texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Content {
    /// A text.
    Text(String),
    /// Parts, as the OpenAI API has them.
    Parts(Vec<ContentPart>),
}

/// One part of a content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
        Message { role: role.into(), content: Content::Text(content.into()) }
    }

    /// The message as a template sees it.
    pub(super) fn to_value(&self, parts_as_list: bool) -> Value {
        let content = match &self.content {
            Content::Text(text) => Value::from(text.as_str()),
            Content::Parts(parts) if parts_as_list => {
                Value::from(parts.iter().map(ContentPart::to_value).collect::<Vec<_>>())
            }
            Content::Parts(parts) => {
                let texts: Vec<_> =
                    parts.iter().map(|ContentPart::Text { text }| text.as_str()).collect();
                Value::from(texts.join("\n"))
            }
        };
        Value::from_pairs([("role", Value::from(self.role.as_str())), ("content", content)])
    }
}

impl ContentPart {
    fn to_value(&self) -> Value {
        let ContentPart::Text { text } = self;
        Value::from_pairs([("type", "text"), ("text", text.as_str())])
    }
}
