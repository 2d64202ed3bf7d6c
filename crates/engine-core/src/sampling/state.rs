//! What sampling remembers of a sequence: which tokens it has, and how often.

use alloc::vec::Vec;

use super::params::SamplingParams;
use crate::request::TokenId;

/// What sampling knows of the tokens before a position, brought up to date token by token.
///
/// It depends on the tokens alone, so it is the same however they were scheduled; a draft that was
/// accepted is a token like any other. Memory is taken once, for a bounded number of different
/// tokens: [`SamplerState::append`] allocates nothing.
#[derive(Clone, Debug)]
pub struct SamplerState {
    num_output_tokens: usize,
    /// By token; empty unless there is a penalty.
    counts: Vec<TokenCount>,
    counts_tokens: bool,
    bad_words: Vec<Vec<TokenId>>,
    /// The last tokens of the output, one fewer than the longest bad word has.
    tail: Vec<TokenId>,
    max_tail_len: usize,
}

/// A token of the prompt or the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TokenCount {
    pub(super) token_id: TokenId,
    /// How often the output has it.
    pub(super) num_in_output: u32,
}

impl SamplerState {
    /// Before the first token of the output. `bad_words` are `params.bad_words` in tokens, and the
    /// sequence will never have more than `max_num_tokens`, of a vocabulary of `vocab_size`.
    pub fn new(
        params: &SamplingParams,
        prompt_token_ids: &[TokenId],
        bad_words: Vec<Vec<TokenId>>,
        max_num_tokens: usize,
        vocab_size: usize,
    ) -> Self {
        let has_output_penalty = params.presence_penalty != 0.0 || params.frequency_penalty != 0.0;
        let counts_prompt = params.repetition_penalty != 1.0;
        let counts_tokens = counts_prompt || has_output_penalty;
        let mut counts = Vec::new();
        if counts_prompt {
            let count = |&token_id: &TokenId| TokenCount { token_id, num_in_output: 0 };
            counts.extend(prompt_token_ids.iter().map(count));
            counts.sort_unstable_by_key(|count: &TokenCount| count.token_id);
            counts.dedup();
        }
        if counts_tokens {
            let max_num_new =
                params.max_tokens.min(max_num_tokens.saturating_sub(prompt_token_ids.len()));
            let max_len = counts.len().saturating_add(max_num_new).min(vocab_size);
            counts.reserve_exact(max_len.saturating_sub(counts.len()));
        }
        let max_tail_len = bad_words.iter().map(Vec::len).max().unwrap_or(0).saturating_sub(1);
        SamplerState {
            num_output_tokens: 0,
            counts,
            counts_tokens,
            bad_words,
            tail: Vec::with_capacity(max_tail_len),
            max_tail_len,
        }
    }

    /// Takes the next token of the output.
    pub fn append(&mut self, token_id: TokenId) {
        self.num_output_tokens += 1;
        if self.counts_tokens {
            match self.counts.binary_search_by_key(&token_id, |count| count.token_id) {
                Ok(idx) => self.counts[idx].num_in_output += 1,
                Err(idx) => self.counts.insert(idx, TokenCount { token_id, num_in_output: 1 }),
            }
        }
        if self.max_tail_len > 0 {
            if self.tail.len() == self.max_tail_len {
                self.tail.remove(0);
            }
            self.tail.push(token_id);
        }
    }

    /// Tokens of the output so far.
    pub fn num_output_tokens(&self) -> usize {
        self.num_output_tokens
    }

    /// The tokens that penalties can be about.
    pub(super) fn counts(&self) -> &[TokenCount] {
        &self.counts
    }

    /// The tokens that would complete a bad word.
    pub(super) fn completes_bad_word(&self) -> impl Iterator<Item = TokenId> + '_ {
        self.bad_words.iter().filter_map(|word| {
            let (&last, before) = word.split_last()?;
            self.tail.ends_with(before).then_some(last)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::vec;
    use proptest::prelude::*;

    fn ids(ids: &[u32]) -> Vec<TokenId> {
        ids.iter().copied().map(TokenId).collect()
    }

    fn penalised() -> SamplingParams {
        SamplingParams { repetition_penalty: 1.5, max_tokens: 1000, ..SamplingParams::default() }
    }

    #[test]
    fn bad_words_are_looked_for_in_the_output_only() {
        let params = SamplingParams::default();
        let words = vec![ids(&[5, 6, 7]), ids(&[7]), ids(&[6, 8]), vec![]];
        let mut state = SamplerState::new(&params, &ids(&[5, 6]), words, 100, 100);
        let barred = |state: &SamplerState| -> Vec<u32> {
            state.completes_bad_word().map(|token_id| token_id.0).collect()
        };
        assert_eq!(barred(&state), [7]);
        state.append(TokenId(6));
        assert_eq!(barred(&state), [7, 8]);
        state.append(TokenId(5));
        assert_eq!(barred(&state), [7]);
        state.append(TokenId(6));
        assert_eq!(barred(&state), [7, 7, 8]);
    }

    #[test]
    fn without_penalties_nothing_is_counted() {
        let params = SamplingParams::default();
        let mut state = SamplerState::new(&params, &ids(&[1, 2]), vec![], 100, 100);
        state.append(TokenId(3));
        assert!(state.counts().is_empty());
        assert_eq!(state.num_output_tokens(), 1);
    }

    proptest! {
        #[test]
        fn counts_are_those_of_the_whole_sequence(
            prompt in prop::collection::vec(0u32..40, 0..60),
            output in prop::collection::vec(0u32..40, 0..60),
        ) {
            let mut state = SamplerState::new(&penalised(), &ids(&prompt), vec![], 200, 40);
            let capacity = state.counts.capacity();
            output.iter().for_each(|&token_id| state.append(TokenId(token_id)));
            prop_assert_eq!(state.counts.capacity(), capacity);
            let mut expected: BTreeMap<u32, u32> = prompt.iter().map(|&id| (id, 0)).collect();
            output.iter().for_each(|&id| *expected.entry(id).or_default() += 1);
            let got = state.counts().iter().map(|count| (count.token_id.0, count.num_in_output));
            prop_assert!(got.eq(expected));
        }
    }
}
