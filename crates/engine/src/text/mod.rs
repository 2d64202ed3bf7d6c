//! Text in, text out: tokenizers, chat templates, incremental decoding and stop texts.
//!
//! Token ids equal those of Hugging Face `tokenizers`, whether a vocabulary comes from a
//! `tokenizer.json` ([`Tokenizer::from_dir`]) or from a GGUF file ([`Tokenizer::from_gguf`]). Decoding is
//! done here, from a table of token bytes, so that [`Detokenizer`] costs the same for every token and
//! [`Tokenizer::decode`] can be nothing but that same detokenizer run to its end.
//!
//! Files are not trusted: sizes are checked before memory is spent, and a malformed vocabulary or a
//! hostile template is an error that names what is wrong.

mod byte_level;
mod chat;
mod component;
mod detokenizer;
mod error;
mod gguf_vocab;
mod hf_dir;
mod pieces;
mod read;
mod save;
mod sentencepiece;
mod stop_strings;
mod tokenizer;
mod tokenizer_json;

pub use chat::{
    ChatTemplate, ChatTemplateError, Content, ContentPart, FunctionCall, Message, PromptEnd,
    RenderOptions, ToolCall, ToolKind,
};
pub use detokenizer::Detokenizer;
pub use error::TokenizerError;
pub use gguf_vocab::GgufVocab;
pub use stop_strings::{StopMatch, StopStrings, StopUpdate};
pub use tokenizer::Tokenizer;
