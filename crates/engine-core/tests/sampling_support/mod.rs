//! The sampler's definitions by the book, in f64 and with full sorts, and a test of goodness of fit.
#![allow(dead_code, reason = "not every test needs all of it")]

use engine_core::request::{SamplingParams, StopRules, TokenId};
use engine_core::sampling::{SampleArgs, SampleKey, SampleScratch, SamplerState, sample};

/// The end of sequence of all tests.
pub const EOS: TokenId = TokenId(1);

/// What a token is sampled after.
#[derive(Clone, Debug, Default)]
pub struct Context {
    pub prompt: Vec<u32>,
    pub output: Vec<u32>,
    pub bad_words: Vec<Vec<u32>>,
    pub token_mask: Option<Vec<u32>>,
}

fn tokens(ids: &[u32]) -> Vec<TokenId> {
    ids.iter().copied().map(TokenId).collect()
}

impl Context {
    pub fn state(&self, params: &SamplingParams, vocab_size: usize) -> SamplerState {
        let bad_words = self.bad_words.iter().map(|word| tokens(word)).collect();
        let prompt = tokens(&self.prompt);
        let mut state = SamplerState::new(params, &prompt, bad_words, 1 << 20, vocab_size);
        self.output.iter().for_each(|&id| state.append(TokenId(id)));
        state
    }
}

/// Calls `f` with what `context` makes of `params`.
pub fn with_args<R>(
    params: &SamplingParams,
    context: &Context,
    vocab_size: usize,
    f: impl FnOnce(SampleArgs<'_>) -> R,
) -> R {
    let stop_rules = StopRules::new(params, &[EOS]);
    f(SampleArgs {
        params,
        stop_rules: &stop_rules,
        state: &context.state(params, vocab_size),
        token_mask: context.token_mask.as_deref(),
        keeps_processed: false,
        key: SampleKey::from_request_seed(0),
        position: 0,
    })
}

/// How often each token is picked at positions `0..num_draws`.
pub fn counts(
    logits: &[f32],
    params: &SamplingParams,
    context: &Context,
    seed: u64,
    num_draws: usize,
) -> Vec<u32> {
    let mut counts = vec![0; logits.len()];
    let mut scratch = SampleScratch::default();
    let key = SampleKey::from_request_seed(seed);
    with_args(params, context, logits.len(), |args| {
        for position in 0..num_draws {
            let args = SampleArgs { key, position, ..args };
            counts[sample(logits, &args, &mut scratch).unwrap().0 as usize] += 1;
        }
    });
    counts
}

/// Pearson's statistic, as the standard normal variable that is about as unlikely (Wilson and
/// Hilferty's cube root; good to a few percent from 3 degrees of freedom up). Infinite if a token of
/// probability 0 came. Tokens expected less than five times count as one.
pub fn chi_square_z(counts: &[u32], probabilities: &[f64]) -> f64 {
    let num_draws: u32 = counts.iter().sum();
    let (mut statistic, mut num_cells) = (0.0, 0);
    let mut rare = (0.0, 0.0);
    for (&count, &probability) in counts.iter().zip(probabilities) {
        if probability == 0.0 && count > 0 {
            return f64::INFINITY;
        }
        let expected = probability * f64::from(num_draws);
        if expected < 5.0 {
            rare = (rare.0 + f64::from(count), rare.1 + expected);
        } else {
            statistic += (f64::from(count) - expected).powi(2) / expected;
            num_cells += 1;
        }
    }
    if rare.1 >= 5.0 {
        statistic += (rare.0 - rare.1).powi(2) / rare.1;
        num_cells += 1;
    }
    let freedom = f64::from(num_cells - 1);
    let spread = 2.0 / (9.0 * freedom);
    ((statistic / freedom).cbrt() - (1.0 - spread)) / spread.sqrt()
}

/// What happens to a row, one thing at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    AllowedTokenIds,
    TokenMask,
    BadWords,
    MinTokens,
    LogitBias,
    Repetition,
    Frequency,
    Presence,
    Temperature,
    MinP,
    TopK,
    TopP,
}

/// vLLM's order.
pub const ORDER: [Step; 12] = [
    Step::AllowedTokenIds,
    Step::TokenMask,
    Step::BadWords,
    Step::MinTokens,
    Step::LogitBias,
    Step::Repetition,
    Step::Frequency,
    Step::Presence,
    Step::Temperature,
    Step::MinP,
    Step::TopK,
    Step::TopP,
];

/// The distribution that a token is drawn from if `order` is what happens to the row.
pub fn probabilities(
    logits: &[f32],
    params: &SamplingParams,
    context: &Context,
    order: &[Step],
) -> Vec<f64> {
    let mut row: Vec<f64> = logits.iter().map(|&x| f64::from(x)).collect();
    for &step in order {
        apply(step, &mut row, params, context);
    }
    softmax(&row)
}

fn softmax(row: &[f64]) -> Vec<f64> {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = row.iter().map(|x| (x - max).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

fn apply(step: Step, row: &mut [f64], params: &SamplingParams, context: &Context) {
    let bar = |row: &mut [f64], is_barred: &dyn Fn(usize) -> bool| {
        for (id, x) in row.iter_mut().enumerate() {
            if is_barred(id) {
                *x = f64::NEG_INFINITY;
            }
        }
    };
    let times_in_output = |id: usize| context.output.iter().filter(|&&o| o as usize == id).count();
    match step {
        Step::AllowedTokenIds => {
            if let Some(allowed) = &params.allowed_token_ids {
                bar(row, &|id| !allowed.contains(&TokenId(id as u32)));
            }
        }
        Step::TokenMask => {
            if let Some(mask) = &context.token_mask {
                bar(row, &|id| mask.get(id / 32).is_none_or(|word| word & (1 << (id % 32)) == 0));
            }
        }
        Step::BadWords => {
            for word in &context.bad_words {
                let mut with = context.output.clone();
                with.push(word[word.len() - 1]);
                if with.ends_with(word) {
                    bar(row, &|id| id == word[word.len() - 1] as usize);
                }
            }
        }
        Step::MinTokens => {
            if context.output.len() < params.min_tokens {
                let is_stop = |id: usize| params.stop_token_ids.contains(&TokenId(id as u32));
                bar(row, &|id| id == EOS.0 as usize || is_stop(id));
            }
        }
        Step::LogitBias => {
            for (token_id, &bias) in &params.logit_bias {
                row[token_id.0 as usize] += f64::from(bias).clamp(-100.0, 100.0);
            }
        }
        Step::Repetition => {
            let penalty = f64::from(params.repetition_penalty);
            for (id, x) in row.iter_mut().enumerate() {
                let id = id as u32;
                if context.prompt.contains(&id) || context.output.contains(&id) {
                    *x = if *x > 0.0 { *x / penalty } else { *x * penalty };
                }
            }
        }
        Step::Frequency => {
            for (id, x) in row.iter_mut().enumerate() {
                *x -= f64::from(params.frequency_penalty) * times_in_output(id) as f64;
            }
        }
        Step::Presence => {
            for (id, x) in row.iter_mut().enumerate() {
                *x -= f64::from(params.presence_penalty) * f64::from(times_in_output(id) > 0);
            }
        }
        Step::Temperature => {
            row.iter_mut().for_each(|x| *x /= f64::from(params.temperature));
        }
        Step::MinP => {
            let p = softmax(row);
            let largest = p.iter().copied().fold(0.0, f64::max);
            bar(row, &|id| p[id] < f64::from(params.min_p) * largest);
        }
        Step::TopK => {
            if params.top_k > 0 {
                let mut sorted = row.to_vec();
                sorted.sort_by(|a, b| b.total_cmp(a));
                let threshold = sorted[(params.top_k as usize).min(sorted.len()) - 1];
                let values = row.to_vec();
                bar(row, &|id| values[id] < threshold);
            }
        }
        Step::TopP => {
            let p = softmax(row);
            let mut order: Vec<usize> = (0..row.len()).collect();
            order.sort_by(|&a, &b| p[b].total_cmp(&p[a]).then(a.cmp(&b)));
            let mut before = 0.0;
            for id in order {
                if before >= f64::from(params.top_p) {
                    row[id] = f64::NEG_INFINITY;
                }
                before += p[id];
            }
        }
    }
}

/// Logits of many magnitudes, no two equal, from `−spread / 2` to `spread / 2`.
pub fn logits(len: usize, spread: f32) -> Vec<f32> {
    (0..len).map(|i| (((i * 7919) % len) as f32 / len as f32 - 0.5) * spread).collect()
}
