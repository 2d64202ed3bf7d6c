//! The tokenizer.

use std::sync::Arc;

use super::byte_level;
use super::component::bos_eos_template;
use super::detokenizer::Detokenizer;
use super::error::TokenizerError;
use super::gguf_vocab::{GgufVocab, TokenKind};
use super::pieces::PieceTable;
use super::read::guard;
use super::sentencepiece;

/// Turns text into token ids and back, exactly as Hugging Face's tokenizer of the same model.
#[derive(Debug)]
pub struct Tokenizer {
    pub(super) inner: tokenizers::Tokenizer,
    pub(super) table: Arc<PieceTable>,
    pub(super) special: SpecialTokens,
    pub(super) chat_template: Option<String>,
}

/// The tokens with a part to play.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SpecialTokens {
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub unk: Option<u32>,
    pub pad: Option<u32>,
}

impl Tokenizer {
    /// Builds the tokenizer of a GGUF file.
    ///
    /// # Errors
    /// If the vocabulary is too large, malformed, or of a kind that is not known.
    pub fn from_gguf(gguf: &GgufVocab) -> Result<Self, TokenizerError> {
        gguf.check()?;
        let kinds = gguf.kinds()?;
        let (mut inner, family_adds_bos) = match gguf.model.as_str() {
            "gpt2" => byte_level::build(gguf, &kinds)?,
            "llama" => (sentencepiece::build(gguf, &kinds)?, gguf.bos_id.is_some()),
            other => {
                return Err(TokenizerError::Unsupported {
                    part: "tokenizer model (tokenizer.ggml.model)",
                    found: other.into(),
                    supported: "gpt2, llama".into(),
                });
            }
        };
        add_tokens(&mut inner, gguf, &kinds)?;
        let token = |wanted: bool, id: Option<u32>, what: &str, key: &str| match (wanted, id) {
            (false, _) => Ok(None),
            (true, Some(id)) => Ok(Some((gguf.tokens[id as usize].as_str(), id))),
            (true, None) => Err(TokenizerError::Missing {
                what: what.into(),
                why: format!("{key} asks for it before or after every text"),
            }),
        };
        let bos = token(
            gguf.add_bos_token.unwrap_or(family_adds_bos),
            gguf.bos_id,
            "tokenizer.ggml.bos_token_id",
            "tokenizer.ggml.add_bos_token",
        )?;
        let eos = token(
            gguf.add_eos_token.unwrap_or(false),
            gguf.eos_id,
            "tokenizer.ggml.eos_token_id",
            "tokenizer.ggml.add_eos_token",
        )?;
        inner.with_post_processor(bos_eos_template(bos, eos)?);
        let special = SpecialTokens {
            bos: gguf.bos_id,
            eos: gguf.eos_id,
            unk: gguf.unk_id,
            pad: gguf.pad_id,
        };
        Self::assemble(inner, gguf.tokens.len(), special, gguf.chat_template.clone())
    }

    /// `num_ids` bounds the ids of `inner`.
    pub(super) fn assemble(
        inner: tokenizers::Tokenizer,
        num_ids: usize,
        special: SpecialTokens,
        chat_template: Option<String>,
    ) -> Result<Self, TokenizerError> {
        let table = Arc::new(PieceTable::new(&inner, num_ids)?);
        Ok(Tokenizer { inner, table, special, chat_template })
    }

    /// The ids of `text`. Special tokens written out in it become their ids. With `add_special_tokens`, BOS
    /// and EOS go around it where the model wants them; a rendered chat template has them already.
    ///
    /// # Errors
    /// If the vocabulary's rules fail on this text; not for vocabularies from GGUF files.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, TokenizerError> {
        guard(|| self.inner.encode_fast(text, add_special_tokens))
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|reason| TokenizerError::Encode { reason })
    }

    /// The text of `ids`. Ids that are not in the vocabulary have none.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> String {
        let mut out = String::new();
        let mut detokenizer = self.detokenizer(skip_special_tokens);
        for &id in ids {
            detokenizer.push_to(id, &mut out);
        }
        detokenizer.finish_to(&mut out);
        out
    }

    /// Starts decoding a sequence that is still growing.
    pub fn detokenizer(&self, skip_special_tokens: bool) -> Detokenizer {
        Detokenizer::new(Arc::clone(&self.table), skip_special_tokens)
    }

    /// Starts decoding what follows on another text: a space at its beginning is its own.
    pub fn detokenizer_within(&self, skip_special_tokens: bool) -> Detokenizer {
        Detokenizer::within(Arc::clone(&self.table), skip_special_tokens)
    }

    /// The bytes of each token within a text; none for special tokens and holes. `None` if they
    /// depend on the tokens around.
    pub(crate) fn token_bytes(&self) -> Option<Vec<Vec<u8>>> {
        (0..self.table.len() as u32).map(|id| self.table.bytes_within(id)).collect()
    }

    /// The text of one token alone, special or not; `None` if it is not in the vocabulary. Half a letter
    /// is U+FFFD.
    pub fn token_text(&self, id: u32) -> Option<String> {
        self.table.get(id, false)?;
        Some(self.decode(&[id], false))
    }

    /// Whether a token is left out of a text without special tokens.
    pub fn is_special(&self, id: u32) -> bool {
        self.table.is_special(id)
    }

    /// The id of the token that is written `token` in the vocabulary, such as `<|im_end|>`.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token as it is written in the vocabulary.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Number of ids, holes between them included.
    pub fn vocab_size(&self) -> usize {
        self.table.len()
    }

    /// The token that begins a text.
    pub fn bos_id(&self) -> Option<u32> {
        self.special.bos
    }

    /// The token that ends a text.
    pub fn eos_id(&self) -> Option<u32> {
        self.special.eos
    }

    /// BOS as it is written in the vocabulary; chat templates ask for it.
    pub fn bos_token(&self) -> Option<String> {
        self.special.bos.and_then(|id| self.id_to_token(id))
    }

    /// EOS as it is written in the vocabulary; chat templates ask for it.
    pub fn eos_token(&self) -> Option<String> {
        self.special.eos.and_then(|id| self.id_to_token(id))
    }

    /// The chat template that came with the vocabulary.
    pub fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }
}

/// Adds special and user-defined tokens. They are in the vocabulary, so they keep their ids.
fn add_tokens(
    inner: &mut tokenizers::Tokenizer,
    gguf: &GgufVocab,
    kinds: &[TokenKind],
) -> Result<(), TokenizerError> {
    guard(|| inner.add_tokens(gguf.added_tokens(kinds))).map(drop).map_err(|reason| {
        TokenizerError::Parse { file: "the special tokens of the GGUF vocabulary".into(), reason }
    })
}
