//! Finds the tokenizer and the chat template that belong to a model.

use crate::error::LlmError;
use crate::text::{ChatTemplate, GgufVocab, Tokenizer};
use crate::weights::Model;
use crate::weights::gguf::{Metadata, MetadataError, OptionalKey};

/// The model's tokenizer; `None` for a model without one.
///
/// # Errors
/// What is wrong with the tokenizer.
pub fn tokenizer(model: &Model) -> Result<Option<Tokenizer>, LlmError> {
    if let Some(metadata) = model.gguf_metadata() {
        return match metadata.str("tokenizer.ggml.model").optional()? {
            None | Some("none" | "no_vocab") => Ok(None),
            Some(_) => Ok(Some(Tokenizer::from_gguf(&gguf_vocab(metadata)?)?)),
        };
    }
    match model.directory() {
        Some(directory) => Ok(Tokenizer::from_dir(directory)?),
        None => Ok(None),
    }
}

/// The model's chat template; `None` if it has none.
pub(crate) fn chat_template(
    model: &Model,
    tokenizer: Option<&Tokenizer>,
) -> Result<Option<ChatTemplate>, LlmError> {
    if let Some(directory) = model.directory() {
        return Ok(ChatTemplate::from_dir(directory)?);
    }
    let source = tokenizer.and_then(Tokenizer::chat_template);
    Ok(source.map(ChatTemplate::new).transpose()?)
}

/// The tokens of `text`, with those that the model wants before and after a text.
///
/// # Errors
/// [`LlmError::NoTokenizer`], or what is wrong with the tokenizer.
pub fn encode(model: &Model, text: &str) -> Result<Vec<u32>, LlmError> {
    let tokenizer = tokenizer(model)?.ok_or(LlmError::NoTokenizer { what: "a text" })?;
    Ok(tokenizer.encode(text, true)?)
}

/// The vocabulary in a GGUF file's metadata.
fn gguf_vocab(metadata: &Metadata) -> Result<GgufVocab, MetadataError> {
    let text = |key: &str| Ok(metadata.str(key).optional()?.map(str::to_owned));
    let id = |name: &str| metadata.u32(&format!("tokenizer.ggml.{name}_token_id")).optional();
    let flag = |name: &str| metadata.bool(&format!("tokenizer.ggml.{name}")).optional();
    Ok(GgufVocab {
        model: metadata.str("tokenizer.ggml.model")?.to_owned(),
        pre: text("tokenizer.ggml.pre")?,
        tokens: metadata.str_array("tokenizer.ggml.tokens")?.to_vec(),
        scores: metadata.f32_array("tokenizer.ggml.scores").optional()?.map(<[f32]>::to_vec),
        token_types: metadata.i32_array("tokenizer.ggml.token_type").optional()?,
        merges: metadata.str_array("tokenizer.ggml.merges").optional()?.map(<[String]>::to_vec),
        bos_id: id("bos")?,
        eos_id: id("eos")?,
        unk_id: id("unknown")?,
        pad_id: id("padding")?,
        add_bos_token: flag("add_bos_token")?,
        add_eos_token: flag("add_eos_token")?,
        add_space_prefix: flag("add_space_prefix")?,
        chat_template: text("tokenizer.chat_template")?,
    })
}
