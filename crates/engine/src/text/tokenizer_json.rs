//! Checks of a `tokenizer.json` before the `tokenizers` crate reads it.
//!
//! That crate trusts merges, and would assign new ids to added tokens whose stated ids it does not expect;
//! both are looked at here first, with nothing built but the vocabulary's index.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use tokenizers::models::bpe::Vocab;

use super::byte_level::check_merge;
use super::error::TokenizerError;
use super::gguf_vocab::{MAX_TOKEN_BYTES, MAX_VOCAB_SIZE, check_size};

/// Largest `tokenizer.json`. The largest published ones are about 35 MB.
pub(super) const MAX_TOKENIZER_JSON_BYTES: u64 = 128 << 20;

const MODELS: &str = "BPE, Unigram, WordLevel";

#[derive(Deserialize)]
struct TokenizerFile {
    #[serde(default)]
    added_tokens: Vec<AddedTokenEntry>,
    model: ModelEntry,
}

/// An entry of `added_tokens`.
#[derive(Deserialize)]
pub(super) struct AddedTokenEntry {
    pub id: u32,
    pub content: String,
}

#[derive(Deserialize)]
struct ModelEntry {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: VocabEntry,
    #[serde(default)]
    merges: Merges,
    dropout: Option<f32>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
}

/// A map from text to id, or Unigram's list of texts and scores.
#[derive(Default)]
struct VocabEntry {
    by_text: Vocab,
    /// A text or an id that is there twice: the token, its first and its second id.
    duplicate: Option<(String, u32, u32)>,
}

#[derive(Default)]
struct Merges(Vec<(String, String)>);

/// What the checks found out.
pub(super) struct Checked {
    /// One more than the largest id.
    pub num_ids: usize,
    pub added_tokens: Vec<AddedTokenEntry>,
}

/// Checks the bytes of the `tokenizer.json` that is called `file` in messages.
pub(super) fn check(bytes: &[u8], file: &str) -> Result<Checked, TokenizerError> {
    let parsed: TokenizerFile = serde_json::from_slice(bytes)
        .map_err(|e| TokenizerError::Parse { file: file.into(), reason: e.to_string() })?;
    let TokenizerFile { added_tokens, model } = parsed;
    check_model(&model)?;
    let vocab = &model.vocab.by_text;
    check_size("the vocabulary", vocab.len() + added_tokens.len(), MAX_VOCAB_SIZE, "tokens")?;
    let texts = vocab.keys().map(String::as_str);
    for text in texts.chain(added_tokens.iter().map(|added| added.content.as_str())) {
        check_size("a token", text.len(), MAX_TOKEN_BYTES, "bytes")?;
    }
    let ids = vocab.values().copied();
    let largest = ids.chain(added_tokens.iter().map(|added| added.id)).max();
    let num_ids = largest.map_or(0, |id| id as usize + 1);
    check_size("the largest token id", num_ids, MAX_VOCAB_SIZE, "ids")?;
    for (index, (left, right)) in model.merges.0.iter().enumerate() {
        check_merge(vocab, left, right).map_err(|reason| TokenizerError::BadMerge {
            index,
            merge: format!("{left} {right}").chars().take(200).collect(),
            reason,
        })?;
    }
    Ok(Checked { num_ids, added_tokens })
}

fn check_model(model: &ModelEntry) -> Result<(), TokenizerError> {
    let unsupported = |part, found: String, supported: &str| TokenizerError::Unsupported {
        part,
        found,
        supported: supported.into(),
    };
    if let Some(kind) = &model.kind
        && !MODELS.split(", ").any(|known| known == kind)
    {
        return Err(unsupported("tokenizer model", kind.clone(), MODELS));
    }
    if let Some(dropout) = model.dropout.filter(|&p| p != 0.0) {
        return Err(unsupported("BPE dropout", dropout.to_string(), "none: it makes ids random"));
    }
    for affix in [&model.continuing_subword_prefix, &model.end_of_word_suffix] {
        if let Some(affix) = affix.as_ref().filter(|affix| !affix.is_empty()) {
            return Err(unsupported("subword prefix or suffix", affix.clone(), "none"));
        }
    }
    if let Some((token, first, second)) = model.vocab.duplicate.clone() {
        return Err(TokenizerError::DuplicateToken { token, first, second });
    }
    Ok(())
}

impl VocabEntry {
    fn insert(&mut self, token: String, id: u32) {
        if let Some(first) = self.by_text.insert(token.clone(), id) {
            self.duplicate.get_or_insert((token, first, id));
        }
    }
}

impl<'de> Deserialize<'de> for VocabEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VocabVisitor;

        impl<'de> Visitor<'de> for VocabVisitor {
            type Value = VocabEntry;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a vocabulary: a map of ids, or a list of tokens with scores")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<VocabEntry, A::Error> {
                let mut vocab = VocabEntry::default();
                while let Some((token, id)) = map.next_entry::<String, u32>()? {
                    vocab.insert(token, id);
                }
                Ok(vocab)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<VocabEntry, A::Error> {
                let mut vocab = VocabEntry::default();
                let mut id = 0;
                while let Some((token, _)) = seq.next_element::<(String, IgnoredAny)>()? {
                    vocab.insert(token, id);
                    id += 1;
                }
                Ok(vocab)
            }
        }

        deserializer.deserialize_any(VocabVisitor)
    }
}

impl<'de> Deserialize<'de> for Merges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Merge {
            Pair(String, String),
            Line(String),
        }

        let merges = Option::<Vec<Merge>>::deserialize(deserializer)?.unwrap_or_default();
        merges
            .into_iter()
            .map(|merge| match merge {
                Merge::Pair(left, right) => Ok((left, right)),
                Merge::Line(line) => line
                    .split_once(' ')
                    .map(|(left, right)| (left.to_owned(), right.to_owned()))
                    .ok_or_else(|| {
                        serde::de::Error::custom(format!("the merge {line:?} has no space"))
                    }),
            })
            .collect::<Result<_, _>>()
            .map(Merges)
    }
}
