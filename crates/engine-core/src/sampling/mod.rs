//! From one row of logits to a token. Each row is a pure function of its own inputs, so rows can be
//! sampled in any order, on any thread, and again in a replay.
//!
//! The order is vLLM's: log-probabilities are of the raw logits ([`logprobs`] reads them,
//! [`sample`] changes nothing); then go the tokens that `allowed_token_ids` does not name, that the
//! output's form forbids, that would complete one of `bad_words`, and that `min_tokens` bars;
//! `logit_bias` is added; the repetition, frequency and presence penalties are paid; a temperature
//! below [`GREEDY_BELOW`] takes the likeliest, any other divides the logits (at least by
//! [`LOWEST_TEMPERATURE`]), and min_p, top_k, top_p thin out what the random pick is from.
//!
//! The random pick is an exponential race, in two heats. Token `i` of weight `w_i` would finish at
//! time `−ln(u_i) / w_i` with a uniform `u_i` of its own, and the first wins with probability
//! `w_i / Σ w`. As the first of a group of weight `W` finishes at time `−ln(u) / W`, groups of 64
//! neighbours race first and then the tokens of the winner: 800 random numbers instead of a
//! vocabulary of them. Unlike a search in cumulated probabilities, a race turns a small change of
//! a few weights (another backend's rounding) into another token only about as often as the
//! probabilities changed.

mod adjust;
mod argmax;
mod exp;
mod filter;
mod logprobs;
pub(crate) mod params;
mod philox;
mod state;
mod validate;

use alloc::vec::Vec;

pub use adjust::MAX_LOGIT_BIAS;
pub use logprobs::{Candidate, LogprobScratch, TokenLogprobs, logprobs, ranked_logits};
pub use params::LogprobsMode;
pub use philox::{SampleKey, philox4x32};
pub use state::SamplerState;
pub use validate::ParamError;

use crate::limits::MAX_VOCAB_SIZE;
use crate::request::{SamplingParams, StopRules, TokenId};
use exp::exp_nonpositive;
use filter::{FilterScratch, UNIT};
use philox::Uniforms;

/// Temperatures below this take the likeliest token.
pub const GREEDY_BELOW: f32 = 1e-5;
/// Temperatures from [`GREEDY_BELOW`] to this are raised to it, lest the logits overflow.
pub const LOWEST_TEMPERATURE: f32 = 0.01;

/// Tokens that race as one in the first heat.
const GROUP_SIZE: usize = 64;
/// First pair of random numbers of the second heat; a vocabulary has fewer groups than this.
const SECOND_HEAT: u32 = 1 << 31;

/// What a row is sampled by, besides its logits.
#[derive(Clone, Copy, Debug)]
pub struct SampleArgs<'a> {
    /// Temperature and filters.
    pub params: &'a SamplingParams,
    /// Which tokens `min_tokens` bars.
    pub stop_rules: &'a StopRules,
    /// The tokens before this one.
    pub state: &'a SamplerState,
    /// Which tokens the output's form allows here: bit `i % 32` of word `i / 32` for token `i`, and
    /// none beyond the last word. `None`: all.
    pub token_mask: Option<&'a [u32]>,
    /// Whether [`SampleScratch::processed`] is wanted.
    pub keeps_processed: bool,
    /// Whose random numbers.
    pub key: SampleKey,
    /// Where the token will stand in its sequence.
    pub position: usize,
}

/// Memory of [`sample`], reused from row to row. Nothing in it carries over.
#[derive(Clone, Debug, Default)]
pub struct SampleScratch {
    /// Logits, then weights, of the tokens still in the race.
    weights: Vec<f32>,
    filter: FilterScratch,
    processed: Vec<f32>,
}

impl SampleScratch {
    /// The logits that the last token was drawn from, if they were to be kept: adjusted, divided by
    /// the temperature, and −∞ where a filter put the token out.
    pub fn processed(&self) -> &[f32] {
        &self.processed
    }
}

/// Why a row has no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// All logits are NaN or −∞, or one is +∞.
    #[error(
        "the largest of {num_logits} logits is not a finite number; the model's weights are damaged \
         or its activations overflow, try --dtype float32"
    )]
    NoFiniteMaximum {
        /// Logits of the row.
        num_logits: usize,
    },
    /// The parameters leave no token.
    #[error(
        "allowed_token_ids, structured_outputs, bad_words and min_tokens together leave none of \
         {num_logits} tokens to choose from; relax one of them"
    )]
    NothingAllowed {
        /// Logits of the row.
        num_logits: usize,
    },
    /// The row is longer than the sums are wide.
    #[error("a row has {num_logits} logits; at most {MAX_VOCAB_SIZE} can be sampled from")]
    TooManyLogits {
        /// Logits of the row.
        num_logits: usize,
    },
    /// The chosen token has no logit.
    #[error("token {token_id} is not among the {num_logits} logits of the row")]
    NoSuchToken {
        /// The token.
        token_id: u32,
        /// Logits of the row.
        num_logits: usize,
    },
}

/// Samples a token from one row of raw logits.
///
/// # Errors
/// [`SampleError::NoFiniteMaximum`] when the model leaves nothing to choose from,
/// [`SampleError::NothingAllowed`] when the parameters do, and [`SampleError::TooManyLogits`].
pub fn sample(
    logits: &[f32],
    args: &SampleArgs<'_>,
    scratch: &mut SampleScratch,
) -> Result<TokenId, SampleError> {
    let num_logits = logits.len();
    if num_logits > MAX_VOCAB_SIZE {
        return Err(SampleError::TooManyLogits { num_logits });
    }
    let SampleScratch { weights, filter, processed } = scratch;
    let is_adjusted = adjust::adjusted(logits, args, weights).is_some();
    let row = if is_adjusted { &weights[..] } else { logits };
    let (best, max) = argmax::argmax(row).ok_or_else(|| no_choice(logits))?;
    if args.keeps_processed {
        processed.clear();
        processed.extend_from_slice(row);
    }
    if args.params.temperature < GREEDY_BELOW {
        return Ok(TokenId(best as u32));
    }
    if !is_adjusted {
        weights.clear();
        weights.extend_from_slice(logits);
    }
    let temperature = args.params.temperature.max(LOWEST_TEMPERATURE);
    to_weights(weights, max, temperature);
    let is_thinned = thin_out(weights, args.params, filter);
    if args.keeps_processed {
        for (logit, &weight) in processed.iter_mut().zip(&*weights) {
            let is_out = is_thinned && weight == 0.0;
            *logit = if is_out { f32::NEG_INFINITY } else { *logit / temperature };
        }
    }
    let uniforms = Uniforms::new(args.key, args.position as u32);
    Ok(TokenId(race(weights, &uniforms).unwrap_or(best) as u32))
}

/// Why the adjusted row has no finite maximum.
fn no_choice(logits: &[f32]) -> SampleError {
    let num_logits = logits.len();
    if argmax::max(logits).is_finite() {
        SampleError::NothingAllowed { num_logits }
    } else {
        SampleError::NoFiniteMaximum { num_logits }
    }
}

/// Logits to weights: probability over the likeliest one's. In place, which compilers vectorise.
fn to_weights(logits: &mut [f32], max: f32, temperature: f32) {
    for logit in logits {
        let weight = exp_nonpositive((*logit - max) / temperature);
        *logit = if weight >= UNIT { weight } else { 0.0 };
    }
}

/// Applies the filters; whether there is one.
fn thin_out(weights: &mut [f32], params: &SamplingParams, scratch: &mut FilterScratch) -> bool {
    if params.min_p > 0.0 {
        filter::min_p(weights, params.min_p);
    }
    if params.top_k > 0 {
        filter::top_k(weights, params.top_k as usize, scratch);
    }
    if params.top_p < 1.0 {
        filter::top_p(weights, params.top_p, scratch);
    }
    params.min_p > 0.0 || params.top_k > 0 || params.top_p < 1.0
}

/// The index that wins; `None` if no weight is above 0.
fn race(weights: &[f32], uniforms: &Uniforms) -> Option<usize> {
    let groups = weights.chunks(GROUP_SIZE);
    let group_idx = heat(groups.map(exp::sum), 0, uniforms)?;
    let start = group_idx * GROUP_SIZE;
    let group = &weights[start..weights.len().min(start + GROUP_SIZE)];
    let first_pair = SECOND_HEAT + (start / 2) as u32;
    let idx = heat(group.iter().map(|&weight| f64::from(weight)), first_pair, uniforms)?;
    Some(start + idx)
}

/// The index that finishes first, with two neighbours' numbers from each pair.
fn heat(weights: impl Iterator<Item = f64>, first_pair: u32, uniforms: &Uniforms) -> Option<usize> {
    let mut winner = None;
    let mut best_time = f64::INFINITY;
    let mut pair = (u32::MAX, [0.0; 2]);
    for (idx, weight) in weights.enumerate().filter(|&(_, weight)| weight > 0.0) {
        let pair_idx = first_pair + (idx / 2) as u32;
        if pair.0 != pair_idx {
            pair = (pair_idx, uniforms.pair(pair_idx));
        }
        let time = -libm::log(pair.1[idx % 2]) / weight;
        if time < best_time {
            (winner, best_time) = (Some(idx), time);
        }
    }
    winner
}
