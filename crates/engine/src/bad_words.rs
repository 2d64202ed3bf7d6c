//! Bad words in tokens, by vLLM's rule.

use engine_core::request::TokenId;

use crate::text::{Tokenizer, TokenizerError};

/// The token sequences that must not come: each word as it begins a text, and as it stands after
/// a space if that makes as many tokens of it and another first one. Spaces before a word are not
/// part of it.
pub(crate) fn bad_word_tokens(
    words: &[String],
    tokenizer: &Tokenizer,
) -> Result<Vec<Vec<TokenId>>, TokenizerError> {
    let encode = |text: &str| -> Result<Vec<TokenId>, TokenizerError> {
        Ok(tokenizer.encode(text, false)?.into_iter().map(TokenId).collect())
    };
    let mut sequences = Vec::with_capacity(2 * words.len());
    for word in words {
        let word = word.trim_start();
        let alone = encode(word)?;
        let spaced = encode(&format!(" {word}"))?;
        let is_another = spaced.len() == alone.len() && spaced.first() != alone.first();
        sequences.push(alone);
        if is_another {
            sequences.push(spaced);
        }
    }
    Ok(sequences)
}
