//! Every parameter that changes what is drawn, alone and together, against its definition.

mod sampling_support;

use engine_core::request::{SamplingParams, TokenId};
use engine_core::sampling::{
    SampleArgs, SampleError, SampleKey, SampleScratch, SamplerState, logprobs, sample,
};
use proptest::prelude::*;
use sampling_support::{
    Context, ORDER, Step, chi_square_z, counts, logits, probabilities, with_args,
};

const VOCAB_SIZE: usize = 61;
const NUM_DRAWS: usize = 40_000;

/// A row, its parameters, what came before, and the steps that must change the outcome.
type Case = (&'static str, SamplingParams, Context, Vec<Step>);

fn context() -> Context {
    Context {
        prompt: vec![3, 60, 8, 8, 28, 51],
        output: vec![17, 6, 17, 39, 17, 55, 8, 45],
        bad_words: Vec::new(),
        token_mask: None,
    }
}

fn cases() -> Vec<Case> {
    let base = SamplingParams::default;
    let evens = vec![0x5555_5555, 0x1555_5555];
    let masked = Context { token_mask: Some(evens), ..context() };
    let bad_words = vec![vec![8, 45, 56], vec![45, 40], vec![17, 23], vec![29]];
    let worded = Context { bad_words: bad_words.clone(), ..context() };
    let bias = [(TokenId(7), 2.5), (TokenId(38), -1.0), (TokenId(50), -1e9)];
    let allowed = Some((0..50).chain([51, 55, 56, 57]).map(TokenId).collect());
    let all = SamplingParams {
        temperature: 1.2,
        top_k: 17,
        top_p: 0.9,
        min_tokens: 20,
        stop_token_ids: vec![TokenId(12)],
        presence_penalty: -0.5,
        frequency_penalty: 0.4,
        repetition_penalty: 1.6,
        logit_bias: [(TokenId(17), 1.9), (TokenId(8), 2.5), (TokenId(18), 0.7)].into(),
        allowed_token_ids: allowed.clone(),
        ..base()
    };
    let everything = Context { bad_words, token_mask: Some(vec![!0, !4]), ..context() };
    vec![
        ("nothing", base(), context(), vec![]),
        (
            "temperature",
            SamplingParams { temperature: 1.4, ..base() },
            context(),
            vec![Step::Temperature],
        ),
        ("min_p", SamplingParams { min_p: 0.1, ..base() }, context(), vec![Step::MinP]),
        ("top_k", SamplingParams { top_k: 20, ..base() }, context(), vec![Step::TopK]),
        ("top_p", SamplingParams { top_p: 0.8, ..base() }, context(), vec![Step::TopP]),
        (
            "allowed",
            SamplingParams { allowed_token_ids: allowed, ..base() },
            context(),
            vec![Step::AllowedTokenIds],
        ),
        ("mask", base(), masked, vec![Step::TokenMask]),
        ("bad words", base(), worded, vec![Step::BadWords]),
        (
            "min_tokens",
            SamplingParams { min_tokens: 9, ..base() },
            context(),
            vec![Step::MinTokens],
        ),
        (
            "bias",
            SamplingParams { logit_bias: bias.into(), ..base() },
            context(),
            vec![Step::LogitBias],
        ),
        (
            "repetition",
            SamplingParams { repetition_penalty: 1.5, ..base() },
            context(),
            vec![Step::Repetition],
        ),
        (
            "encouraged repetition",
            SamplingParams { repetition_penalty: 0.6, ..base() },
            context(),
            vec![Step::Repetition],
        ),
        (
            "frequency",
            SamplingParams { frequency_penalty: 0.5, ..base() },
            context(),
            vec![Step::Frequency],
        ),
        (
            "wanted frequency",
            SamplingParams { frequency_penalty: -0.7, ..base() },
            context(),
            vec![Step::Frequency],
        ),
        (
            "presence",
            SamplingParams { presence_penalty: 1.0, ..base() },
            context(),
            vec![Step::Presence],
        ),
        (
            "penalties",
            SamplingParams {
                presence_penalty: 0.5,
                frequency_penalty: 0.3,
                repetition_penalty: 1.3,
                ..base()
            },
            context(),
            vec![Step::Repetition, Step::Frequency, Step::Presence],
        ),
        (
            "everything with min_p",
            SamplingParams { top_k: 0, min_p: 0.1, ..all.clone() },
            everything.clone(),
            [&ORDER[..9], &[Step::MinP, Step::TopP]].concat(),
        ),
        (
            "everything with top_k",
            all,
            everything,
            [&ORDER[..9], &[Step::TopK, Step::TopP]].concat(),
        ),
    ]
}

/// A correct sampler exceeds a z of 4 once in 30,000 draws of a seed; there are 51 here, and with
/// fixed seeds the outcome is fixed.
#[test]
fn tokens_come_as_often_as_they_should() {
    let logits = logits(VOCAB_SIZE, 5.0);
    for (name, params, context, _) in cases() {
        let expected = probabilities(&logits, &params, &context, &ORDER);
        for seed in [1, 2, 3] {
            let z = chi_square_z(&counts(&logits, &params, &context, seed, NUM_DRAWS), &expected);
            assert!(z < 4.0, "{name}, seed {seed}: z = {z:.1}");
        }
    }
}

/// The test above can fail: it notices each step that is left out.
#[test]
fn a_step_that_is_left_out_is_noticed() {
    let logits = logits(VOCAB_SIZE, 5.0);
    for (name, params, context, steps) in cases() {
        let counts = counts(&logits, &params, &context, 1, NUM_DRAWS);
        for left_out in steps {
            let order: Vec<Step> = ORDER.into_iter().filter(|&step| step != left_out).collect();
            let z = chi_square_z(&counts, &probabilities(&logits, &params, &context, &order));
            assert!(z > 6.0, "{name} without {left_out:?}: z = {z:.1}");
        }
    }
}

/// And it notices two steps in the wrong order, where the order matters.
#[test]
fn two_steps_in_the_wrong_order_are_noticed() {
    let logits = logits(VOCAB_SIZE, 5.0);
    let place = |step| ORDER.iter().position(|&other| other == step).unwrap();
    for (name, a, b) in [
        ("everything with top_k", Step::LogitBias, Step::Repetition),
        ("everything with top_k", Step::Repetition, Step::Frequency),
        ("everything with top_k", Step::Repetition, Step::Presence),
        ("everything with top_k", Step::Presence, Step::Temperature),
        ("everything with min_p", Step::Temperature, Step::MinP),
        ("everything with min_p", Step::MinP, Step::TopP),
        ("everything with top_k", Step::TopK, Step::TopP),
    ] {
        let (_, params, context, _) = cases().into_iter().find(|case| case.0 == name).unwrap();
        let counts = counts(&logits, &params, &context, 1, NUM_DRAWS);
        let mut order = ORDER;
        order.swap(place(a), place(b));
        let z = chi_square_z(&counts, &probabilities(&logits, &params, &context, &order));
        assert!(z > 6.0, "{a:?} and {b:?} swapped: z = {z:.1}");
    }
}

/// Penalties that are a tenth off are seen, and counts that are one off.
#[test]
fn slightly_wrong_penalties_are_noticed() {
    let logits = logits(VOCAB_SIZE, 5.0);
    let params = SamplingParams {
        presence_penalty: 1.0,
        frequency_penalty: -0.5,
        repetition_penalty: 1.4,
        ..SamplingParams::default()
    };
    let counts = counts(&logits, &params, &context(), 1, 400_000);
    let z = |params: &SamplingParams, context: &Context| {
        chi_square_z(&counts, &probabilities(&logits, params, context, &ORDER))
    };
    assert!(z(&params, &context()) < 4.0);
    let wrong = [
        SamplingParams { presence_penalty: 1.1, ..params.clone() },
        SamplingParams { frequency_penalty: -0.55, ..params.clone() },
        SamplingParams { repetition_penalty: 1.54, ..params.clone() },
    ];
    for wrong in wrong {
        assert!(z(&wrong, &context()) > 6.0, "{wrong:?}");
    }
    let mut forgetful = context();
    forgetful.output.remove(0);
    assert!(z(&params, &forgetful) > 6.0);
    let promptless = Context { prompt: vec![], ..context() };
    assert!(z(&params, &promptless) > 6.0);
}

/// Greedy picks are the likeliest token after everything but temperature and filters.
#[test]
fn greedy_takes_the_likeliest_of_what_is_left() {
    let logits = logits(VOCAB_SIZE, 5.0);
    let before_temperature = &ORDER[..8];
    for (name, params, context, _) in cases() {
        let params = SamplingParams { temperature: 0.0, ..params };
        let expected = probabilities(&logits, &params, &context, before_temperature);
        let likeliest =
            (0..VOCAB_SIZE).max_by(|&a, &b| expected[a].total_cmp(&expected[b])).unwrap();
        let pick = with_args(&params, &context, VOCAB_SIZE, |args| {
            sample(&logits, &args, &mut SampleScratch::default()).unwrap()
        });
        assert_eq!(pick.0 as usize, likeliest, "{name}");
    }
}

/// The row that is kept is the distribution that was drawn from, for greedy rows before the
/// temperature.
#[test]
fn the_processed_row_is_what_was_drawn_from() {
    let logits = logits(VOCAB_SIZE, 5.0);
    for temperature in [0.0, 1.2] {
        for (name, params, context, _) in cases() {
            let params = SamplingParams { temperature, ..params };
            let order = if temperature == 0.0 { &ORDER[..8] } else { &ORDER };
            let expected = probabilities(&logits, &params, &context, order);
            let mut scratch = SampleScratch::default();
            let pick = with_args(&params, &context, VOCAB_SIZE, |args| {
                let args = SampleArgs { keeps_processed: true, ..args };
                sample(&logits, &args, &mut scratch).unwrap()
            });
            let mut memory = Default::default();
            let scores = logprobs(scratch.processed(), pick, -1, &mut memory).unwrap();
            for candidate in scores.top {
                let expected = expected[candidate.token_id.0 as usize];
                let got = f64::from(candidate.logprob).exp();
                assert!((got - expected).abs() < 1e-6, "{name}: {got} {expected}");
            }
        }
    }
}

#[test]
fn a_bias_counts_as_a_hundred_at_most() {
    let row = [0.0, 150.0, 40.0];
    let pick = |bias: f32| {
        let logit_bias = [(TokenId(2), bias)].into();
        let params = SamplingParams { temperature: 0.0, logit_bias, ..SamplingParams::default() };
        with_args(&params, &Context::default(), 3, |args| {
            sample(&row, &args, &mut SampleScratch::default()).unwrap().0
        })
    };
    assert_eq!((pick(1e6), pick(100.0), pick(0.0)), (1, 1, 1));
    let near = [0.0, 139.0, 40.0];
    let logit_bias = [(TokenId(2), 1e6)].into();
    let params = SamplingParams { temperature: 0.0, logit_bias, ..SamplingParams::default() };
    let picked = with_args(&params, &Context::default(), 3, |args| {
        sample(&near, &args, &mut SampleScratch::default()).unwrap().0
    });
    assert_eq!(picked, 2);
}

#[test]
fn parameters_that_leave_nothing_are_told_from_damaged_rows() {
    let none = Context { token_mask: Some(vec![]), ..Context::default() };
    let error = |row: &[f32]| {
        with_args(&SamplingParams::default(), &none, row.len(), |args| {
            sample(row, &args, &mut SampleScratch::default()).err()
        })
    };
    let num_logits = 3;
    assert_eq!(error(&[0.0; 3]), Some(SampleError::NothingAllowed { num_logits }));
    assert_eq!(error(&[f32::NAN; 3]), Some(SampleError::NoFiniteMaximum { num_logits }));
    let overflown = [0.0, f32::INFINITY, 0.0];
    assert_eq!(error(&overflown), Some(SampleError::NoFiniteMaximum { num_logits }));
}

/// Whatever is asked for, a token is sampled and remembered without a single allocation.
#[test]
fn a_step_allocates_nothing() {
    let logits = logits(VOCAB_SIZE, 5.0);
    let mut scratch = SampleScratch::default();
    for (name, params, context, _) in cases() {
        let params = SamplingParams { max_tokens: 500, min_tokens: 0, ..params };
        let stop_rules = engine_core::request::StopRules::new(&params, &[]);
        let mut state: SamplerState = context.state(&params, VOCAB_SIZE);
        let mut step = |position| {
            let args = SampleArgs {
                params: &params,
                stop_rules: &stop_rules,
                state: &state,
                token_mask: context.token_mask.as_deref(),
                keeps_processed: true,
                key: SampleKey::from_request_seed(9),
                position,
            };
            let token_id = sample(&logits, &args, &mut scratch).unwrap();
            state.append(token_id);
        };
        step(0);
        let allocations = allocation_counter::measure(|| (1..400).for_each(&mut step));
        assert_eq!(allocations.count_total, 0, "{name}");
    }
}

proptest! {
    /// Random parameters of every kind: the pick is one of the tokens that the definitions leave.
    #[test]
    fn only_what_is_left_is_picked(
        row in prop::collection::vec(-6.0f32..6.0, 40..90),
        prompt in prop::collection::vec(0u32..40, 0..20),
        output in prop::collection::vec(0u32..40, 0..20),
        bad_words in prop::collection::vec(prop::collection::vec(0u32..40, 1..4), 0..4),
        mask in prop::option::of(prop::collection::vec(any::<u32>(), 3)),
        (presence_penalty, frequency_penalty, repetition_penalty) in (-2f32..2.0, -2f32..2.0, 0.5f32..2.0),
        (top_k, min_tokens) in (0i32..30, 0usize..30),
        seed: u64,
    ) {
        let params = SamplingParams {
            presence_penalty, frequency_penalty, repetition_penalty, top_k, min_tokens,
            max_tokens: 100,
            ..SamplingParams::default()
        };
        let context = Context { prompt, output, bad_words, token_mask: mask };
        let loose = SamplingParams { top_k: if top_k > 0 { top_k + 1 } else { 0 }, ..params.clone() };
        let expected = probabilities(&row, &loose, &context, &ORDER);
        let picked = with_args(&params, &context, row.len(), |args| {
            let args = SampleArgs { key: SampleKey::from_request_seed(seed), ..args };
            sample(&row, &args, &mut SampleScratch::default())
        });
        match picked {
            Ok(token_id) => prop_assert!(expected[token_id.0 as usize] > 0.0),
            Err(error) => {
                prop_assert_eq!(error, SampleError::NothingAllowed { num_logits: row.len() });
                prop_assert!(expected.iter().all(|p| p.is_nan()));
            }
        }
    }
}
