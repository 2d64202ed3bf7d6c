//! Parts of a tokenizer, written in the notation of `tokenizer.json`.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokenizers::PostProcessorWrapper;

use super::error::TokenizerError;

/// Makes a normalizer, pre-tokenizer, decoder or post-processor from its JSON.
pub(super) fn component<T: DeserializeOwned>(
    part: &'static str,
    description: Value,
) -> Result<T, TokenizerError> {
    serde_json::from_value(description)
        .map_err(|e| TokenizerError::Parse { file: part.into(), reason: e.to_string() })
}

/// A post-processor that puts `bos` before a text and `eos` after it; `None` where neither is wanted.
pub(super) fn bos_eos_template(
    bos: Option<(&str, u32)>,
    eos: Option<(&str, u32)>,
) -> Result<Option<PostProcessorWrapper>, TokenizerError> {
    if bos.is_none() && eos.is_none() {
        return Ok(None);
    }
    let special = |token: &(&str, u32), type_id: u32| json!({"SpecialToken": {"id": token.0, "type_id": type_id}});
    let around = |sequence: &str, type_id: u32| {
        bos.iter()
            .map(|token| special(token, type_id))
            .chain([json!({"Sequence": {"id": sequence, "type_id": type_id}})])
            .chain(eos.iter().map(|token| special(token, type_id)))
            .collect::<Vec<_>>()
    };
    let mut tokens = Map::new();
    for (text, id) in bos.iter().chain(&eos) {
        tokens.insert((*text).to_owned(), json!({"id": text, "ids": [id], "tokens": [text]}));
    }
    let mut pair = around("A", 0);
    pair.extend(around("B", 1));
    component(
        "post-processor",
        json!({
            "type": "TemplateProcessing",
            "single": around("A", 0),
            "pair": pair,
            "special_tokens": tokens,
        }),
    )
    .map(Some)
}
