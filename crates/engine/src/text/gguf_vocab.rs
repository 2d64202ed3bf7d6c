//! A vocabulary as GGUF files carry it, and the checks every such vocabulary passes first.

use tokenizers::AddedToken;
use tokenizers::models::bpe::Vocab;

use super::error::TokenizerError;

/// Most tokens of a vocabulary. The largest published ones have about 262,000.
pub(super) const MAX_VOCAB_SIZE: usize = 1 << 20;
/// Longest token text. Runs of spaces reach a few hundred bytes.
pub(super) const MAX_TOKEN_BYTES: usize = 4096;
/// Most text in all tokens, or all merges, together.
pub(super) const MAX_VOCAB_BYTES: usize = 64 << 20;
/// Most merges; published vocabularies have fewer than 520,000.
const MAX_MERGES: usize = 1 << 21;

/// The values of `tokenizer.ggml.token_type`.
mod token_type {
    pub const NORMAL: i32 = 1;
    pub const UNKNOWN: i32 = 2;
    pub const CONTROL: i32 = 3;
    pub const USER_DEFINED: i32 = 4;
    pub const UNUSED: i32 = 5;
    pub const BYTE: i32 = 6;
}

/// The `tokenizer.*` metadata of a GGUF file. Token ids are places in `tokens`.
#[derive(Clone, Debug, Default)]
pub struct GgufVocab {
    /// `tokenizer.ggml.model`: `gpt2` (byte-level BPE) or `llama` (SentencePiece BPE).
    pub model: String,
    /// `tokenizer.ggml.pre`: how byte-level BPE splits text. Files without it are older than the key;
    /// they are read as `default`, which is GPT-2's way.
    pub pre: Option<String>,
    /// `tokenizer.ggml.tokens`.
    pub tokens: Vec<String>,
    /// `tokenizer.ggml.scores`; needed by `llama`.
    pub scores: Option<Vec<f32>>,
    /// `tokenizer.ggml.token_type`.
    pub token_types: Option<Vec<i32>>,
    /// `tokenizer.ggml.merges`, `left right`; needed by `gpt2`.
    pub merges: Option<Vec<String>>,
    /// `tokenizer.ggml.bos_token_id`.
    pub bos_id: Option<u32>,
    /// `tokenizer.ggml.eos_token_id`.
    pub eos_id: Option<u32>,
    /// `tokenizer.ggml.unknown_token_id`.
    pub unk_id: Option<u32>,
    /// `tokenizer.ggml.padding_token_id`.
    pub pad_id: Option<u32>,
    /// `tokenizer.ggml.add_bos_token`; by default what the model's family does.
    pub add_bos_token: Option<bool>,
    /// `tokenizer.ggml.add_eos_token`; false by default.
    pub add_eos_token: Option<bool>,
    /// `tokenizer.ggml.add_space_prefix`; true by default, of use to `llama` only.
    pub add_space_prefix: Option<bool>,
    /// `tokenizer.chat_template`.
    pub chat_template: Option<String>,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Normal,
    /// Found in a text before anything else is; left out of decoded text when special tokens are.
    Special,
    /// Found in a text before anything else is.
    UserDefined,
    /// One byte, for what the vocabulary has no letters for.
    Byte,
    /// Fills a hole between ids; no text ever becomes it.
    Placeholder,
}

impl GgufVocab {
    /// Checks sizes, lengths and ids. Nothing is built before this has passed.
    pub(super) fn check(&self) -> Result<(), TokenizerError> {
        check_size("the vocabulary", self.tokens.len(), MAX_VOCAB_SIZE, "tokens")?;
        if self.tokens.is_empty() {
            return Err(TokenizerError::Missing {
                what: "tokenizer.ggml.tokens".into(),
                why: "without tokens there is no vocabulary".into(),
            });
        }
        let mut total = 0;
        for (id, token) in self.tokens.iter().enumerate() {
            check_size(&format!("token {id}"), token.len(), MAX_TOKEN_BYTES, "bytes")?;
            total += token.len();
        }
        check_size("the text of all tokens", total, MAX_VOCAB_BYTES, "bytes")?;
        if let Some(merges) = &self.merges {
            check_size("the list of merges", merges.len(), MAX_MERGES, "merges")?;
        }
        self.check_length("tokenizer.ggml.scores", self.scores.as_ref().map(Vec::len))?;
        self.check_length("tokenizer.ggml.token_type", self.token_types.as_ref().map(Vec::len))?;
        for (what, id) in [
            ("tokenizer.ggml.bos_token_id", self.bos_id),
            ("tokenizer.ggml.eos_token_id", self.eos_id),
            ("tokenizer.ggml.unknown_token_id", self.unk_id),
            ("tokenizer.ggml.padding_token_id", self.pad_id),
        ] {
            if let Some(id) = id.filter(|&id| id as usize >= self.tokens.len()) {
                return Err(TokenizerError::IdOutOfRange {
                    what: what.into(),
                    id: id.into(),
                    vocab_size: self.tokens.len(),
                });
            }
        }
        Ok(())
    }

    fn check_length(&self, what: &'static str, found: Option<usize>) -> Result<(), TokenizerError> {
        match found {
            Some(found) if found != self.tokens.len() => {
                Err(TokenizerError::WrongLength { what, found, expected: self.tokens.len() })
            }
            _ => Ok(()),
        }
    }

    /// The kind of each token, from its type and from the special ids.
    pub(super) fn kinds(&self) -> Result<Vec<TokenKind>, TokenizerError> {
        let mut kinds = Vec::with_capacity(self.tokens.len());
        for (id, token) in self.tokens.iter().enumerate() {
            let stated = self.token_types.as_ref().map(|types| types[id]);
            kinds.push(match stated {
                None if byte_of(token).is_some() && self.model == "llama" => TokenKind::Byte,
                None | Some(token_type::NORMAL) => TokenKind::Normal,
                Some(token_type::UNKNOWN | token_type::CONTROL) => TokenKind::Special,
                Some(token_type::USER_DEFINED) => TokenKind::UserDefined,
                Some(token_type::UNUSED) if *token == format!("[PAD{id}]") => {
                    TokenKind::Placeholder
                }
                Some(token_type::UNUSED) => TokenKind::Normal,
                Some(token_type::BYTE) => TokenKind::Byte,
                Some(other) => {
                    return Err(TokenizerError::Unsupported {
                        part: "token type",
                        found: format!("{other} of token {id}"),
                        supported: "1 to 6".into(),
                    });
                }
            });
        }
        if self.token_types.is_none() {
            for id in [self.bos_id, self.eos_id, self.unk_id].into_iter().flatten() {
                kinds[id as usize] = TokenKind::Special;
            }
        }
        Ok(kinds)
    }

    /// Text to id, without placeholders.
    pub(super) fn vocab_map(&self, kinds: &[TokenKind]) -> Result<Vocab, TokenizerError> {
        let mut vocab = Vocab::with_capacity(self.tokens.len());
        for (id, token) in self.tokens.iter().enumerate() {
            if kinds[id] == TokenKind::Placeholder {
                continue;
            }
            if let Some(first) = vocab.insert(token.clone(), id as u32) {
                return Err(TokenizerError::DuplicateToken {
                    token: token.clone(),
                    first,
                    second: id as u32,
                });
            }
        }
        Ok(vocab)
    }

    /// The tokens to look for in a text before it is split.
    pub(super) fn added_tokens(&self, kinds: &[TokenKind]) -> Vec<AddedToken> {
        self.tokens
            .iter()
            .zip(kinds)
            .filter(|(token, _)| !token.is_empty())
            .filter_map(|(token, kind)| {
                match kind {
                    TokenKind::Special => Some(true),
                    TokenKind::UserDefined => Some(false),
                    _ => None,
                }
                .map(|special| AddedToken::from(token.clone(), special).normalized(false))
            })
            .collect()
    }
}

/// The byte that a token such as `<0x0A>` stands for.
///
/// The rule is the one of Hugging Face's `ByteFallback` decoder.
pub(super) fn byte_of(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() != 2 {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

/// An error where `found` is more than `limit`.
pub(super) fn check_size(
    what: &str,
    found: usize,
    limit: usize,
    unit: &'static str,
) -> Result<(), TokenizerError> {
    if found <= limit {
        return Ok(());
    }
    Err(TokenizerError::TooLarge {
        what: what.into(),
        found: found as u64,
        limit: limit as u64,
        unit,
    })
}
