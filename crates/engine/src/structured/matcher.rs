//! Where an output stands in its form.

use engine_core::request::TokenId;
use llguidance::Matcher;
use llguidance::api::StopReason;

use super::error::StructuredError;
use super::vocabulary::in_one_line;

/// Follows one output through its form, token by token.
pub(crate) struct TokenMatcher {
    matcher: Matcher,
    /// Tokens that may end the output where it is complete.
    eos_token_ids: Vec<TokenId>,
    /// Ids of the vocabulary.
    num_ids: usize,
    mask: Vec<u32>,
    /// The mask is that of the next token.
    is_current: bool,
}

impl TokenMatcher {
    pub(super) fn new(
        mut matcher: Matcher,
        num_ids: usize,
        eos_token_ids: &[TokenId],
    ) -> Result<Self, StructuredError> {
        // No token, but the library then looks whether any can come.
        matcher.consume_tokens(&[]).map_err(parser_error)?;
        let num_words = num_ids
            .max(eos_token_ids.iter().map(|token_id| token_id.0 as usize + 1).max().unwrap_or(0))
            .div_ceil(u32::BITS as usize);
        let mask = vec![0; num_words];
        let eos_token_ids = eos_token_ids.to_vec();
        Ok(TokenMatcher { matcher, eos_token_ids, num_ids, mask, is_current: false })
    }

    /// Nothing but an end of sequence can come.
    pub(crate) fn is_complete(&self) -> bool {
        self.matcher.is_stopped()
    }

    /// Which tokens can come next, as bits of words of 32.
    pub(crate) fn mask(&mut self) -> Result<&[u32], StructuredError> {
        if self.is_current {
            return Ok(&self.mask);
        }
        let allowed = self.matcher.compute_mask().map_err(parser_error)?;
        self.mask.fill(0);
        for (word, &allowed) in self.mask.iter_mut().zip(allowed.as_slice()) {
            *word = allowed;
        }
        // The library's own end of sequence.
        self.allow(self.num_ids, false);
        if self.matcher.is_accepting().map_err(parser_error)? {
            for idx in 0..self.eos_token_ids.len() {
                self.allow(self.eos_token_ids[idx].0 as usize, true);
            }
        }
        self.is_current = true;
        Ok(&self.mask)
    }

    fn allow(&mut self, token_id: usize, is_allowed: bool) {
        let bit = 1 << (token_id % u32::BITS as usize);
        if let Some(word) = self.mask.get_mut(token_id / u32::BITS as usize) {
            *word = if is_allowed { *word | bit } else { *word & !bit };
        }
    }

    /// Takes a token that the mask allowed.
    pub(crate) fn append(&mut self, token_id: TokenId) -> Result<(), StructuredError> {
        if self.eos_token_ids.contains(&token_id) {
            return Ok(());
        }
        self.is_current = false;
        self.matcher.consume_token(token_id.0).map_err(parser_error)
    }
}

impl Clone for TokenMatcher {
    fn clone(&self) -> Self {
        TokenMatcher {
            // Not even caches are shared.
            matcher: self.matcher.deep_clone(),
            eos_token_ids: self.eos_token_ids.clone(),
            mask: self.mask.clone(),
            ..*self
        }
    }
}

impl std::fmt::Debug for TokenMatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenMatcher").field("is_complete", &self.is_complete()).finish()
    }
}

fn parser_error(error: impl std::fmt::Display) -> StructuredError {
    let reason = in_one_line(&error.to_string());
    // The library keeps the stop reason only as the error's text.
    match reason == StopReason::NoExtensionBias.to_string() {
        true => StructuredError::DeadEnd,
        false => StructuredError::Parser { reason },
    }
}
