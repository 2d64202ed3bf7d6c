//! What the sampler picks, and how often.

use engine_core::request::{SamplingParams, StopRules, TokenId};
use engine_core::sampling::{SampleArgs, SampleError, SampleKey, SampleScratch, sample};
use proptest::prelude::*;

fn rules(params: &SamplingParams) -> StopRules {
    StopRules::new(params, &[TokenId(1)])
}

fn pick_at(logits: &[f32], params: &SamplingParams, key: SampleKey, position: usize) -> u32 {
    let stop_rules = rules(params);
    let args = SampleArgs { params, stop_rules: &stop_rules, num_output_tokens: 0, key, position };
    sample(logits, &args, &mut SampleScratch::default()).unwrap().0
}

/// How often each token is picked at positions `0..num_draws`.
fn counts(logits: &[f32], params: &SamplingParams, seed: u64, num_draws: usize) -> Vec<u32> {
    let mut counts = vec![0; logits.len()];
    let stop_rules = rules(params);
    let mut scratch = SampleScratch::default();
    for position in 0..num_draws {
        let key = SampleKey::from_request_seed(seed);
        let args =
            SampleArgs { params, stop_rules: &stop_rules, num_output_tokens: 0, key, position };
        counts[sample(logits, &args, &mut scratch).unwrap().0 as usize] += 1;
    }
    counts
}

/// Pearson's statistic, in standard deviations from its mean; tokens of probability 0 must not
/// come, and those expected less than five times count as one.
fn chi_square_sigmas(counts: &[u32], probabilities: &[f64]) -> f64 {
    let num_draws: u32 = counts.iter().sum();
    let (mut statistic, mut num_cells) = (0.0, 0);
    let mut rare = (0.0, 0.0);
    for (&count, &probability) in counts.iter().zip(probabilities) {
        assert!(probability > 0.0 || count == 0, "an impossible token came {count} times");
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
    (statistic - freedom) / (2.0 * freedom).sqrt()
}

/// softmax(logits / temperature) in f64, without what the filters put out: the definitions, by a
/// full sort.
fn probabilities(logits: &[f32], params: &SamplingParams) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let temperature = f64::from(params.temperature);
    let mut p: Vec<f64> =
        logits.iter().map(|&x| (f64::from(x - max) / temperature).exp()).collect();
    let normalise = |p: &mut Vec<f64>| {
        let sum: f64 = p.iter().sum();
        p.iter_mut().for_each(|p| *p /= sum);
    };
    p.iter_mut().filter(|p| **p < f64::from(params.min_p)).for_each(|p| *p = 0.0);
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[b].total_cmp(&p[a]).then(a.cmp(&b)));
    if params.top_k > 0 {
        let threshold = p[order[(params.top_k as usize).min(p.len()) - 1]];
        p.iter_mut().filter(|p| **p < threshold).for_each(|p| *p = 0.0);
    }
    normalise(&mut p);
    let mut before = 0.0;
    for &i in &order {
        let kept = before < f64::from(params.top_p);
        before += p[i];
        if !kept {
            p[i] = 0.0;
        }
    }
    normalise(&mut p);
    p
}

/// Logits with many magnitudes, no two equal.
fn logits(len: usize, spread: f32) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919) % len) as f32 / len as f32 * spread).collect()
}

/// With fixed seeds the outcome is fixed: a correct sampler exceeds four standard deviations for
/// fewer than one seed in a thousand, and these are not among them.
#[test]
fn tokens_come_as_often_as_they_should() {
    let base = SamplingParams::default;
    let cases = [
        ("plain", 5, 2.0, base()),
        ("several groups", 500, 6.0, base()),
        ("hot", 300, 8.0, SamplingParams { temperature: 2.5, ..base() }),
        ("cold", 300, 8.0, SamplingParams { temperature: 0.3, ..base() }),
        ("top_k", 300, 8.0, SamplingParams { top_k: 40, ..base() }),
        ("top_p", 300, 8.0, SamplingParams { top_p: 0.8, ..base() }),
        ("min_p", 300, 8.0, SamplingParams { min_p: 0.1, ..base() }),
        (
            "all filters",
            300,
            8.0,
            SamplingParams { temperature: 1.3, top_k: 60, top_p: 0.9, min_p: 0.05, ..base() },
        ),
    ];
    for (name, len, spread, params) in cases {
        let logits = logits(len, spread);
        let probabilities = probabilities(&logits, &params);
        for seed in [1, 2, 3] {
            let counts = counts(&logits, &params, seed, 40_000);
            let sigmas = chi_square_sigmas(&counts, &probabilities);
            assert!(sigmas.abs() < 4.0, "{name}, seed {seed}: {sigmas:.1} standard deviations");
        }
    }
}

/// The test above can fail: a temperature that is off by 3 % is seen.
#[test]
fn the_statistic_sees_a_slightly_wrong_distribution() {
    let logits = logits(300, 8.0);
    let params = SamplingParams::default();
    let wrong = SamplingParams { temperature: 1.03, ..params.clone() };
    let counts = counts(&logits, &params, 1, 400_000);
    assert!(chi_square_sigmas(&counts, &probabilities(&logits, &params)).abs() < 4.0);
    assert!(chi_square_sigmas(&counts, &probabilities(&logits, &wrong)) > 6.0);
}

/// Draws at neighbouring positions, seeds and requests are independent: pairs come as often as the
/// product of their probabilities.
#[test]
fn neighbouring_draws_are_independent() {
    let logits = logits(6, 1.5);
    let params = SamplingParams::default();
    let p = probabilities(&logits, &params);
    let pairs: Vec<f64> = p.iter().flat_map(|a| p.iter().map(move |b| a * b)).collect();
    let by_position = |i: usize| (SampleKey::from_request_seed(5), i);
    let by_seed = |i: usize| (SampleKey::from_request_seed(i as u64), 9);
    let by_request = |i: usize| (SampleKey::from_engine_seed(5, i as u64), 9);
    let ways: [&dyn Fn(usize) -> (SampleKey, usize); 3] = [&by_position, &by_seed, &by_request];
    for draw in ways {
        let mut counts = vec![0; 36];
        for i in 0..40_000 {
            let pick = |(key, position)| pick_at(&logits, &params, key, position) as usize;
            counts[pick(draw(2 * i)) * 6 + pick(draw(2 * i + 1))] += 1;
        }
        let sigmas = chi_square_sigmas(&counts, &pairs);
        assert!(sigmas.abs() < 4.0, "{sigmas:.1} standard deviations");
    }
}

#[test]
fn a_cold_enough_temperature_takes_the_likeliest() {
    let mut logits = logits(1000, 1.0);
    logits[700] = 1.5;
    logits[900] = 1.5;
    for temperature in [0.0, 9e-6] {
        let params = SamplingParams { temperature, ..SamplingParams::default() };
        for seed in 0..20 {
            assert_eq!(pick_at(&logits, &params, SampleKey::from_request_seed(seed), 0), 700);
        }
    }
}

#[test]
fn a_temperature_near_zero_is_raised_to_a_hundredth() {
    let logits = [1.0, 1.01, -5.0];
    let params = SamplingParams { temperature: 2e-5, ..SamplingParams::default() };
    let at_a_hundredth = SamplingParams { temperature: 0.01, ..params.clone() };
    let counts = counts(&logits, &params, 4, 10_000);
    let sigmas = chi_square_sigmas(&counts, &probabilities(&logits, &at_a_hundredth));
    assert!(sigmas.abs() < 4.0, "{counts:?}");
}

#[test]
fn min_tokens_bars_what_would_end_the_sequence() {
    let logits = [0.0, 9.0, 5.0, 8.0, 1.0];
    for temperature in [0.0, 1.0] {
        let params = SamplingParams {
            temperature,
            min_tokens: 2,
            stop_token_ids: vec![TokenId(3)],
            ..SamplingParams::default()
        };
        let stop_rules = rules(&params);
        let mut scratch = SampleScratch::default();
        let mut picks = |num_output_tokens| -> Vec<u32> {
            let of = |position| {
                let key = SampleKey::from_request_seed(1);
                let stop_rules = &stop_rules;
                let args =
                    SampleArgs { params: &params, stop_rules, num_output_tokens, key, position };
                sample(&logits, &args, &mut scratch).unwrap().0
            };
            (0..200).map(of).collect()
        };
        for num_output_tokens in [0, 1] {
            assert!(picks(num_output_tokens).iter().all(|pick| ![1, 3].contains(pick)));
        }
        assert!(picks(2).contains(&1));
    }
}

#[test]
fn a_row_without_a_choice_is_an_error() {
    let error = |logits: &[f32], temperature, min_tokens| {
        let params = SamplingParams { temperature, min_tokens, ..SamplingParams::default() };
        let args = SampleArgs {
            params: &params,
            stop_rules: &rules(&params),
            num_output_tokens: 0,
            key: SampleKey::from_request_seed(0),
            position: 0,
        };
        sample(logits, &args, &mut SampleScratch::default()).err()
    };
    for temperature in [0.0, 1.0] {
        let none = |num_logits| Some(SampleError::NoFiniteMaximum { num_logits });
        assert_eq!(error(&[], temperature, 0), none(0));
        assert_eq!(error(&[f32::NAN; 3], temperature, 0), none(3));
        assert_eq!(error(&[f32::NEG_INFINITY; 3], temperature, 0), none(3));
        assert_eq!(error(&[0.0, f32::INFINITY], temperature, 0), none(2));
        assert_eq!(error(&[f32::NAN, 2.0], temperature, 1), none(2));
        assert_eq!(error(&[f32::NAN, 2.0], temperature, 0), None);
        let num_logits = (1 << 22) + 1;
        let too_many = Some(SampleError::TooManyLogits { num_logits });
        assert_eq!(error(&vec![0.0; num_logits], temperature, 0), too_many);
    }
}

fn params() -> impl Strategy<Value = SamplingParams> {
    let filters = (-1i32..80, 0.01f32..=1.0, 0.0f32..0.3);
    (0.02f32..3.0, filters).prop_map(|(temperature, (top_k, top_p, min_p))| SamplingParams {
        temperature,
        top_k,
        top_p,
        min_p,
        ..SamplingParams::default()
    })
}

fn rows() -> impl Strategy<Value = Vec<f32>> {
    let logit = prop_oneof![
        20 => -8.0f32..8.0,
        1 => Just(f32::NEG_INFINITY),
        1 => Just(f32::NAN),
    ];
    prop::collection::vec(logit, 1..400).prop_map(|mut row| {
        row.push(0.0);
        row
    })
}

proptest! {
    /// A pick is a token that the definitions keep. Rounding may move a token across a border, so
    /// those within 1e-5 of one are let pass.
    #[test]
    fn only_kept_tokens_are_picked(row in rows(), params in params(), seed: u64) {
        let pick = pick_at(&row, &params, SampleKey::from_request_seed(seed), 3) as usize;
        prop_assert!(row[pick].is_finite());
        let clean: Vec<f32> =
            row.iter().map(|&x| if x.is_nan() { f32::NEG_INFINITY } else { x }).collect();
        let loose = SamplingParams {
            top_p: (params.top_p + 1e-5).min(1.0),
            min_p: (params.min_p - 1e-5).max(0.0),
            ..params
        };
        prop_assert!(probabilities(&clean, &loose)[pick] > 0.0, "token {pick}");
    }

    /// The pick depends on the row, the parameters and the key, and not on what the scratch did
    /// before, nor on tokens that cannot be picked.
    #[test]
    fn a_pick_depends_on_nothing_else(
        row in rows(),
        others in prop::collection::vec(rows(), 0..3),
        params in params(),
        seed: u64,
    ) {
        let key = SampleKey::from_request_seed(seed);
        let stop_rules = rules(&params);
        let args = SampleArgs {
            params: &params,
            stop_rules: &stop_rules,
            num_output_tokens: 0,
            key,
            position: 11,
        };
        let mut used = SampleScratch::default();
        for other in &others {
            sample(other, &args, &mut used).unwrap();
        }
        let pick = sample(&row, &args, &mut used).unwrap().0;
        prop_assert_eq!(pick, pick_at(&row, &params, key, 11));
        let mut longer = row.clone();
        longer.extend([f32::NEG_INFINITY, f32::NAN, -1e30]);
        prop_assert_eq!(pick, pick_at(&longer, &params, key, 11));
    }
}
