//! Guessing the next tokens from the text itself: what followed the last words where they stood
//! before (prompt lookup, vLLM's `ngram`). A guess costs a row and never changes an output.

use crate::limits::MAX_NUM_SPECULATIVE_TOKENS;
use crate::request::TokenId;

/// How to guess. vLLM's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NgramConfig {
    /// Most tokens to guess at once.
    pub num_speculative_tokens: usize,
    /// Fewest last tokens that must have stood together before.
    pub prompt_lookup_min: usize,
    /// Most last tokens that are looked for; the longest found counts.
    pub prompt_lookup_max: usize,
}

impl NgramConfig {
    /// The first number out of range, its name, and its range.
    pub(crate) fn out_of_range(&self) -> Option<(&'static str, usize, usize, usize)> {
        [
            ("num_speculative_tokens", self.num_speculative_tokens, 1, MAX_NUM_SPECULATIVE_TOKENS),
            ("prompt_lookup_max", self.prompt_lookup_max, 1, MAX_NUM_SPECULATIVE_TOKENS),
            ("prompt_lookup_min", self.prompt_lookup_min, 1, self.prompt_lookup_max),
        ]
        .into_iter()
        .find(|&(_, value, min, max)| !(min..=max).contains(&value))
    }
}

/// At most `max_num_tokens` tokens that may follow `token_ids`: those after the first place where
/// the longest possible run of the last tokens stood before. Empty if none of `prompt_lookup_min`
/// tokens did.
pub fn propose<'a>(
    token_ids: &'a [TokenId],
    config: &NgramConfig,
    max_num_tokens: usize,
) -> &'a [TokenId] {
    let NgramConfig { num_speculative_tokens, prompt_lookup_min, prompt_lookup_max } = *config;
    let (mut longest, mut start) = (0, token_ids.len());
    // `end` is where the earlier run ends and the guess begins.
    for end in prompt_lookup_min..token_ids.len() {
        let pairs = token_ids[..end].iter().rev().zip(token_ids.iter().rev());
        let len = pairs.take(prompt_lookup_max).take_while(|(a, b)| a == b).count();
        if len > longest {
            (longest, start) = (len, end);
            if len == prompt_lookup_max {
                break;
            }
        }
    }
    if longest < prompt_lookup_min {
        return &[];
    }
    let num_tokens = num_speculative_tokens.min(max_num_tokens).min(token_ids.len() - start);
    &token_ids[start..start + num_tokens]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const CONFIG: NgramConfig =
        NgramConfig { num_speculative_tokens: 3, prompt_lookup_min: 2, prompt_lookup_max: 4 };

    fn proposed(token_ids: &[u32], config: &NgramConfig, max_num_tokens: usize) -> Vec<u32> {
        let token_ids: Vec<TokenId> = token_ids.iter().copied().map(TokenId).collect();
        propose(&token_ids, config, max_num_tokens).iter().map(|token_id| token_id.0).collect()
    }

    #[test]
    fn the_longest_run_counts_and_the_first_among_equals() {
        // 2 3 stood twice, 1 2 3 once.
        assert_eq!(proposed(&[2, 3, 7, 1, 2, 3, 8, 9, 1, 2, 3], &CONFIG, 9), [8, 9, 1]);
        assert_eq!(proposed(&[2, 3, 7, 2, 3, 8, 9, 2, 3], &CONFIG, 9), [7, 2, 3]);
        // Longer runs than the limit are equals.
        let limited = NgramConfig { prompt_lookup_max: 2, ..CONFIG };
        assert_eq!(proposed(&[2, 3, 7, 1, 2, 3, 8, 9, 1, 2, 3], &limited, 9), [7, 1, 2]);
    }

    #[test]
    fn too_short_a_run_gives_nothing() {
        assert_eq!(proposed(&[3, 7, 9, 3], &CONFIG, 9), []);
        assert_eq!(proposed(&[1, 2, 3], &CONFIG, 9), []);
        assert_eq!(proposed(&[1], &CONFIG, 9), []);
        let single = NgramConfig { prompt_lookup_min: 1, ..CONFIG };
        assert_eq!(proposed(&[3, 7, 9, 3], &single, 9), [7, 9, 3]);
    }

    #[test]
    fn a_run_may_overlap_itself_and_a_guess_ends_with_the_text() {
        assert_eq!(proposed(&[5, 5, 5], &CONFIG, 9), [5]);
        assert_eq!(proposed(&[1, 2, 1, 2], &CONFIG, 9), [1, 2]);
        assert_eq!(proposed(&[1, 2, 6, 7, 8, 1, 2], &CONFIG, 2), [6, 7]);
        assert_eq!(proposed(&[1, 2, 6, 7, 8, 1, 2], &CONFIG, 0), []);
    }
}
