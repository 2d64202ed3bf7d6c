//! Log-probabilities and ranks of one row of raw logits.

use alloc::vec::Vec;
use core::cmp::Ordering;

use super::SampleError;
use super::argmax::{count_above, max};
use super::exp::sum_exp;
use crate::request::TokenId;

/// Up to this many likeliest tokens are found in one pass over the row.
const MAX_ONE_PASS: usize = 64;
/// Logits that the pass looks at together before it looks at each.
const CHUNK: usize = 32;

/// A token at a position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The token.
    pub token_id: TokenId,
    /// Natural log of its probability.
    pub logprob: f32,
    /// 1 + the number of tokens that are likelier.
    pub rank: u32,
}

/// What there is to report at one position.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprobs {
    /// The token that was sampled (or, in a prompt, that stands there).
    pub chosen: Candidate,
    /// The likeliest tokens, likeliest first; of equals, the lower id first. Holds the chosen token
    /// too if it is one of them.
    pub top: Vec<Candidate>,
}

/// Memory of [`logprobs`], reused from row to row.
#[derive(Clone, Debug, Default)]
pub struct LogprobScratch {
    /// Token ids, likeliest first.
    order: Vec<u32>,
}

/// Log-softmax of one row: of token `chosen`, and of the `num_top` likeliest tokens (−1: of all).
/// The sum is in f64. A NaN logit has log-probability −∞.
///
/// # Errors
/// [`SampleError::NoFiniteMaximum`]; [`SampleError::NoSuchToken`].
pub fn logprobs(
    logits: &[f32],
    chosen: TokenId,
    num_top: i32,
    scratch: &mut LogprobScratch,
) -> Result<TokenLogprobs, SampleError> {
    let num_logits = logits.len();
    let &chosen_logit = logits
        .get(chosen.0 as usize)
        .ok_or(SampleError::NoSuchToken { token_id: chosen.0, num_logits })?;
    let max = max(logits);
    if !max.is_finite() {
        return Err(SampleError::NoFiniteMaximum { num_logits });
    }
    let log_sum = libm::log(sum_exp(logits, max));
    let logprob = |logit: f32| (f64::from(logit) - f64::from(max) - log_sum) as f32;
    Ok(ranked(logits, (chosen, chosen_logit), num_top, logprob, scratch))
}

/// The same with the logits themselves in the place of log-probabilities.
///
/// # Errors
/// [`SampleError::NoSuchToken`].
pub fn ranked_logits(
    logits: &[f32],
    chosen: TokenId,
    num_top: i32,
    scratch: &mut LogprobScratch,
) -> Result<TokenLogprobs, SampleError> {
    let num_logits = logits.len();
    let &chosen_logit = logits
        .get(chosen.0 as usize)
        .ok_or(SampleError::NoSuchToken { token_id: chosen.0, num_logits })?;
    Ok(ranked(logits, (chosen, chosen_logit), num_top, |logit| logit, scratch))
}

/// The chosen token and the likeliest ones, each with its rank and the score of its logit, which
/// is not NaN.
fn ranked(
    logits: &[f32],
    (chosen, chosen_logit): (TokenId, f32),
    num_top: i32,
    score: impl Fn(f32) -> f32,
    scratch: &mut LogprobScratch,
) -> TokenLogprobs {
    let num_logits = logits.len();
    let logprob = |logit: f32| score(if logit.is_nan() { f32::NEG_INFINITY } else { logit });
    let rank = if chosen_logit.is_nan() {
        count_above(logits, f32::NEG_INFINITY)
    } else {
        count_above(logits, chosen_logit)
    };
    let chosen =
        Candidate { token_id: chosen, logprob: logprob(chosen_logit), rank: rank as u32 + 1 };

    let num_top = usize::try_from(num_top).unwrap_or(num_logits).min(num_logits);
    likeliest(logits, num_top, &mut scratch.order);
    let mut top = Vec::with_capacity(num_top);
    for (idx, &token_id) in scratch.order.iter().enumerate() {
        let logit = logits[token_id as usize];
        // Equals share the rank of the first of them.
        let rank = match top.last() {
            Some(&Candidate { token_id, rank, .. })
                if by_likelihood(logits[token_id.0 as usize], logit).is_eq() =>
            {
                rank
            }
            _ => idx as u32 + 1,
        };
        top.push(Candidate { token_id: TokenId(token_id), logprob: logprob(logit), rank });
    }
    TokenLogprobs { chosen, top }
}

/// Larger first; NaN is as unlikely as −∞, and both zeros are equal.
fn by_likelihood(a: f32, b: f32) -> Ordering {
    let or_lowest = |x: f32| if x.is_nan() { f32::NEG_INFINITY } else { x };
    or_lowest(b).partial_cmp(&or_lowest(a)).unwrap_or(Ordering::Equal)
}

/// Writes the ids of the `num_top` largest logits to `order`, largest first, lower id first.
fn likeliest(logits: &[f32], num_top: usize, order: &mut Vec<u32>) {
    order.clear();
    if num_top == 0 {
        return;
    }
    if num_top <= MAX_ONE_PASS {
        return likeliest_in_one_pass(logits, num_top, order);
    }
    let before =
        |&a: &u32, &b: &u32| by_likelihood(logits[a as usize], logits[b as usize]).then(a.cmp(&b));
    order.extend(0..logits.len() as u32);
    if num_top < order.len() {
        order.select_nth_unstable_by(num_top - 1, before);
        order.truncate(num_top);
    }
    order.sort_unstable_by(before);
}

/// Keeps the best so far in order; most chunks hold nothing better than the worst of those.
fn likeliest_in_one_pass(logits: &[f32], num_top: usize, order: &mut Vec<u32>) {
    for (chunk_idx, chunk) in logits.chunks(CHUNK).enumerate() {
        if let Some(&worst) = order.get(num_top - 1) {
            let threshold = logits[worst as usize];
            // A NaN threshold is beaten by anything; the loop below finds out by what.
            let has_better = chunk.iter().fold(threshold.is_nan(), |any, &x| any | (x > threshold));
            if !has_better {
                continue;
            }
        }
        for (offset, &logit) in chunk.iter().enumerate() {
            // Ids come in ascending order, so an equal stays behind those that are there.
            let is_before = |&id: &u32| by_likelihood(logits[id as usize], logit).is_le();
            let place = order.partition_point(is_before);
            if place < num_top {
                order.truncate(num_top - 1);
                order.insert(place, (chunk_idx * CHUNK + offset) as u32);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(logits: &[f32], num_top: usize) -> Vec<(u32, f32, u32)> {
        let value = |x: f32| {
            if x.is_nan() { f64::NEG_INFINITY } else { f64::from(x) }
        };
        let sum: f64 = logits.iter().map(|&x| libm::exp(value(x))).sum();
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| value(logits[b]).partial_cmp(&value(logits[a])).unwrap());
        let rank = |i: usize| logits.iter().filter(|&&x| value(x) > value(logits[i])).count() + 1;
        let entry =
            |&i: &usize| (i as u32, (value(logits[i]) - libm::log(sum)) as f32, rank(i) as u32);
        order.iter().take(num_top).map(entry).collect()
    }

    fn logit() -> impl Strategy<Value = f32> {
        prop_oneof![
            8 => -30.0f32..30.0,
            4 => (-3i32..3).prop_map(|x| x as f32),
            1 => Just(f32::NEG_INFINITY),
            1 => Just(f32::NAN),
        ]
    }

    /// Sum of squared rounding and polynomial errors: 2e-7 of the sum, one rounding of the result.
    fn close(a: f32, b: f32) -> bool {
        a == b || (a - b).abs() <= 4e-7 + 1.2e-7 * b.abs()
    }

    proptest! {
        #[test]
        fn agrees_with_a_full_sort_in_f64(
            mut row in prop::collection::vec(logit(), 1..300),
            num_top in -1i32..120,
            at in any::<prop::sample::Index>(),
        ) {
            row.push(0.25);
            let all = naive(&row, row.len());
            let wanted = usize::try_from(num_top).unwrap_or(row.len()).min(row.len());
            let chosen = at.index(row.len()) as u32;
            let got = logprobs(&row, TokenId(chosen), num_top, &mut LogprobScratch::default());
            let got = got.unwrap();
            prop_assert_eq!(got.top.len(), wanted);
            for (candidate, &(token_id, logprob, rank)) in got.top.iter().zip(&all) {
                prop_assert_eq!((candidate.token_id.0, candidate.rank), (token_id, rank));
                prop_assert!(close(candidate.logprob, logprob), "{candidate:?} {logprob}");
            }
            let &(_, logprob, rank) = all.iter().find(|entry| entry.0 == chosen).unwrap();
            prop_assert_eq!((got.chosen.token_id.0, got.chosen.rank), (chosen, rank));
            prop_assert!(close(got.chosen.logprob, logprob), "{:?} {logprob}", got.chosen);
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_row() {
        let mut scratch = LogprobScratch::default();
        let mut of =
            |logits: &[f32], token_id| logprobs(logits, TokenId(token_id), 1, &mut scratch);
        assert_eq!(of(&[0.0; 4], 4), Err(SampleError::NoSuchToken { token_id: 4, num_logits: 4 }));
        assert_eq!(of(&[f32::NAN; 4], 0), Err(SampleError::NoFiniteMaximum { num_logits: 4 }));
        assert_eq!(of(&[f32::INFINITY; 4], 0), Err(SampleError::NoFiniteMaximum { num_logits: 4 }));
    }

    #[test]
    fn probabilities_of_a_vocabulary_sum_to_1() {
        let logits: Vec<f32> =
            (0..49_152u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) as f32 * 3e-4).collect();
        let all = logprobs(&logits, TokenId(0), -1, &mut LogprobScratch::default()).unwrap();
        let sum: f64 = all.top.iter().map(|c| libm::exp(f64::from(c.logprob))).sum();
        assert_eq!(all.top.len(), logits.len());
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    }
}
