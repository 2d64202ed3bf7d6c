//! SentencePiece BPE (`tokenizer.ggml.model` = `llama`) from a GGUF vocabulary.
//!
//! SentencePiece joins, at every step, the two neighbours whose joined piece has the best score. The same
//! ids come from ordinary BPE whose merges are all the ways to split each piece in two pieces, the best
//! scored first, which is how Hugging Face converts such models.

use serde_json::json;
use tokenizers::models::bpe::{BPE, Merges, Vocab};

use super::component::component;
use super::error::TokenizerError;
use super::gguf_vocab::{GgufVocab, TokenKind, byte_of, check_size};

/// Longest piece that merges are derived for: the work grows with its square. Published ones stay below
/// 100 letters.
const MAX_PIECE_BYTES: usize = 512;
/// Most text in all pieces, for the same reason.
const MAX_PIECES_BYTES: usize = 16 << 20;
/// SentencePiece's stand-in for a space.
const SPACE: &str = "\u{2581}";

/// Builds the tokenizer, without added tokens and post-processor.
pub(super) fn build(
    gguf: &GgufVocab,
    kinds: &[TokenKind],
) -> Result<tokenizers::Tokenizer, TokenizerError> {
    let vocab = gguf.vocab_map(kinds)?;
    let merges = derive_merges(gguf, kinds, &vocab)?;
    let byte_fallback = check_byte_tokens(gguf, kinds)?;
    let mut builder =
        BPE::builder().vocab_and_merges(vocab, merges).fuse_unk(true).byte_fallback(byte_fallback);
    if let Some(id) = gguf.unk_id {
        builder = builder.unk_token(gguf.tokens[id as usize].clone());
    } else if !byte_fallback {
        return Err(TokenizerError::Missing {
            what: "tokenizer.ggml.unknown_token_id".into(),
            why: "a `llama` vocabulary without byte tokens needs it for letters it does not have"
                .into(),
        });
    }
    let bpe = builder.build().map_err(|e| TokenizerError::Parse {
        file: "the GGUF vocabulary".into(),
        reason: e.to_string(),
    })?;
    assemble(bpe, gguf.add_space_prefix.unwrap_or(true))
}

fn assemble(bpe: BPE, add_space_prefix: bool) -> Result<tokenizers::Tokenizer, TokenizerError> {
    let mut normalizers =
        vec![json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE})];
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if add_space_prefix {
        normalizers.insert(0, json!({"type": "Prepend", "prepend": SPACE}));
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    let mut tokenizer = tokenizers::Tokenizer::new(bpe);
    let normalizer: tokenizers::NormalizerWrapper =
        component("normalizer", json!({"type": "Sequence", "normalizers": normalizers}))?;
    tokenizer.with_normalizer(Some(normalizer)).map_err(|e| TokenizerError::Parse {
        file: "the normalizer".into(),
        reason: e.to_string(),
    })?;
    let decoder: tokenizers::DecoderWrapper =
        component("decoder", json!({"type": "Sequence", "decoders": decoders}))?;
    tokenizer.with_decoder(Some(decoder));
    Ok(tokenizer)
}

/// All 256 byte tokens, or none: with some of them, what becomes of a letter would depend on its bytes.
fn check_byte_tokens(gguf: &GgufVocab, kinds: &[TokenKind]) -> Result<bool, TokenizerError> {
    let mut seen = [false; 256];
    for (id, _) in kinds.iter().enumerate().filter(|(_, kind)| **kind == TokenKind::Byte) {
        let byte = byte_of(&gguf.tokens[id]).ok_or_else(|| TokenizerError::Parse {
            file: "the GGUF vocabulary".into(),
            reason: format!(
                "token {id} is marked as a byte, but its text is {:?} instead of <0x00> to <0xFF>",
                gguf.tokens[id]
            ),
        })?;
        seen[usize::from(byte)] = true;
    }
    match seen.iter().filter(|&&s| s).count() {
        0 => Ok(false),
        256 => Ok(true),
        found => Err(TokenizerError::Missing {
            what: format!("{} of the 256 byte tokens", 256 - found),
            why: "byte fallback needs all of <0x00> to <0xFF>".into(),
        }),
    }
}

/// One way to make a piece from two others.
struct Candidate<'a> {
    score: f32,
    left: &'a str,
    right: &'a str,
    /// Lengths in letters, which break ties as in Hugging Face's converter.
    num_left: usize,
    num_right: usize,
}

fn derive_merges(
    gguf: &GgufVocab,
    kinds: &[TokenKind],
    vocab: &Vocab,
) -> Result<Merges, TokenizerError> {
    let scores = gguf.scores.as_ref().ok_or_else(|| TokenizerError::Missing {
        what: "tokenizer.ggml.scores".into(),
        why: "a `llama` vocabulary orders its merges by score".into(),
    })?;
    let mergeable =
        |id: u32| matches!(kinds[id as usize], TokenKind::Normal | TokenKind::UserDefined);
    let is_piece = |text: &str| vocab.get(text).is_some_and(|&id| mergeable(id));
    let mut total = 0;
    let mut candidates = Vec::new();
    for (id, token) in gguf.tokens.iter().enumerate() {
        if !mergeable(id as u32) {
            continue;
        }
        let score = scores[id];
        if !score.is_finite() {
            return Err(TokenizerError::BadScore { id: id as u32, token: token.clone(), score });
        }
        check_size(&format!("piece {id}"), token.len(), MAX_PIECE_BYTES, "bytes")?;
        total += token.len();
        check_size("the text of all pieces", total, MAX_PIECES_BYTES, "bytes")?;
        let num_chars = token.chars().count();
        for (num_left, (at, _)) in token.char_indices().enumerate().skip(1) {
            let (left, right) = token.split_at(at);
            if is_piece(left) && is_piece(right) {
                candidates.push(Candidate {
                    score,
                    left,
                    right,
                    num_left,
                    num_right: num_chars - num_left,
                });
            }
        }
    }
    // Stable: what is equal stays in the order of ids.
    candidates.sort_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then(b.num_left.cmp(&a.num_left))
            .then(b.num_right.cmp(&a.num_right))
    });
    Ok(candidates.into_iter().map(|c| (c.left.to_owned(), c.right.to_owned())).collect())
}
