//! `sample`: the token that `engine-core` picks, for every row, key and parameter.

use engine_core::request::{SamplingParams, StopRules};
use engine_core::sampling::{
    SampleArgs, SampleError, SampleKey, SampleScratch, SamplerState, sample,
};
use kernels_hip::ops::{Sample, SampleRow};

use crate::mutants::code_object;
use crate::{Bits, device};

/// One row: how, whose random numbers, where.
type How = (SamplingParams, SampleKey, usize);

/// The host's token; `None` if it has none.
fn on_host(logits: &[f32], (params, key, position): &How) -> Option<u32> {
    let stop_rules = StopRules::new(params, &[]);
    let state = SamplerState::new(params, &[], Vec::new(), 1 << 20, logits.len());
    let args = SampleArgs {
        params,
        stop_rules: &stop_rules,
        state: &state,
        token_mask: None,
        keeps_processed: false,
        key: *key,
        position: *position,
    };
    match sample(logits, &args, &mut SampleScratch::default()) {
        Ok(token) => Some(token.0),
        Err(SampleError::NoFiniteMaximum { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Samples rows of one length on the device and compares each with the host's; how many tokens differ from the likeliest.
fn check(name: &str, logits: &[f32], hows: &[How]) -> usize {
    let Some((device, stream)) = device() else { return hows.len() };
    let op = Sample::from_code_object(&device, &code_object(&device, "sample_v1_naive")).unwrap();
    let rows: Vec<SampleRow> =
        hows.iter().map(|(p, key, at)| SampleRow::new(p, *key, *at)).collect();
    let on_rows = device.buffer_from(&stream, &rows).unwrap();
    let on_logits = device.buffer_from(&stream, logits).unwrap();
    let (mut tokens, mut weights) =
        (device.buffer(rows.len()).unwrap(), device.buffer(logits.len()).unwrap());
    weights.fill_bytes(&stream, 0xff).unwrap();
    op.run(&stream, &mut tokens, &mut weights, &on_logits, &on_rows).unwrap();
    let got = tokens.to_host(&stream).unwrap();
    let mut num_unlikely = 0;
    for ((row, how), &got) in logits.chunks(logits.len() / hows.len()).zip(hows).zip(&got) {
        let want = on_host(row, how).unwrap_or(Sample::NONE);
        assert_eq!(got, want, "{name}: {how:?}");
        let greedy = SamplingParams { temperature: 0.0, ..how.0.clone() };
        let best = on_host(row, &(greedy, how.1, how.2));
        num_unlikely += usize::from(best.is_some_and(|best| best != got));
    }
    num_unlikely
}

fn params(temperature: f32, top_k: i32, top_p: f32, min_p: f32) -> SamplingParams {
    SamplingParams { temperature, top_k, top_p, min_p, ..SamplingParams::default() }
}

/// Parameters with each filter alone, all at once, and none; `i` chooses.
fn some_params(i: usize) -> SamplingParams {
    match i % 10 {
        0 => params(1.0, 0, 1.0, 0.0),
        1 => params(0.7, 40, 1.0, 0.0),
        2 => params(1.0, 0, 0.9, 0.0),
        3 => params(1.0, -1, 1.0, 0.05),
        4 => params(1.3, 60, 0.9, 0.05),
        5 => params(2e-5, 0, 1.0, 0.0),
        6 => params(0.0, 5, 0.5, 0.1),
        7 => params(4.0, 1, 1.0, 0.0),
        8 => params(1.5, 1_000_000, 0.5, 0.0),
        _ => params(0.9, 3, 0.999_999, 1e-6),
    }
}

fn some_key(i: usize) -> SampleKey {
    match i % 2 {
        0 => SampleKey::from_request_seed(0x9e37_79b9_7f4a_7c15 ^ (i as u64) << 40),
        _ => SampleKey::from_engine_seed(7, i as u64),
    }
}

fn some_hows(num_rows: usize) -> Vec<How> {
    (0..num_rows).map(|i| (some_params(i), some_key(i / 10), 3 * i)).collect()
}

/// Logits as a model has them: a few large ones, most small.
fn model_like(bits: &mut Bits, len: usize) -> Vec<f32> {
    bits.units(len).iter().map(|x| 12.0 * x * x * x).collect()
}

#[test]
fn random_rows_have_the_hosts_tokens() {
    let mut bits = Bits(31);
    let mut num_unlikely = 0;
    for len in [1, 2, 63, 64, 65, 255, 1000] {
        let logits = model_like(&mut bits, 60 * len);
        num_unlikely += check("random", &logits, &some_hows(60));
    }
    // That the tokens are not simply the likeliest ones.
    assert!(num_unlikely > 100, "{num_unlikely}");
}

#[test]
fn a_vocabulary_has_the_hosts_tokens() {
    let logits = model_like(&mut Bits(32), 5 * 49_152);
    check("vocabulary", &logits, &some_hows(5));
}

#[test]
fn ties_gaps_and_odd_values_have_the_hosts_tokens() {
    const LEN: usize = 700;
    let mut bits = Bits(33);
    // All equal; few values, so that filters end among equals; powers of two of the likeliest's probability.
    let few: Vec<f32> = (0..LEN).map(|_| (bits.next() % 5) as f32).collect();
    let halves: Vec<f32> =
        (0..LEN).map(|_| -((bits.next() % 60) as f32) * core::f32::consts::LN_2).collect();
    // One apart: the ends of the filters' bins.
    let steps: Vec<f32> = (0..LEN).map(|i| f32::from_bits(1.0_f32.to_bits() + i as u32)).collect();
    let mut odd = model_like(&mut bits, LEN);
    for value in odd.iter_mut().step_by(7) {
        *value = f32::NAN;
    }
    for value in odd.iter_mut().skip(1).step_by(5) {
        *value = f32::NEG_INFINITY;
    }
    let mut lonely = vec![f32::NEG_INFINITY; LEN];
    lonely[LEN - 1] = -3.0;
    let wide: Vec<f32> = (0..LEN).map(|i| 3e38 * bits.unit() * (i % 3) as f32).collect();
    let zeros: Vec<f32> = (0..LEN).map(|i| if i % 2 == 0 { -0.0 } else { 0.0 }).collect();
    let any: Vec<f32> = (0..LEN).map(|_| f32::from_bits(bits.next())).collect();
    let rows = [
        ("all equal", vec![2.5; LEN]),
        ("few values", few),
        ("halves", halves),
        ("steps", steps),
        ("NaN and infinities", odd),
        ("one possible", lonely),
        ("wide", wide),
        ("zeros", zeros),
        ("any bits", any),
        ("NaN", vec![f32::NAN; LEN]),
        ("-infinity", vec![f32::NEG_INFINITY; LEN]),
    ];
    for (name, row) in rows {
        check(name, &row.repeat(30), &some_hows(30));
    }
    let mut infinite = vec![0.0; LEN];
    infinite[5] = f32::INFINITY;
    check("infinity", &infinite.repeat(10), &some_hows(10));
}

/// Every top_k and many top_p over few values: the filters end at every place.
#[test]
fn filters_end_where_the_hosts_do() {
    const LEN: usize = 130;
    let mut bits = Bits(34);
    let row: Vec<f32> = (0..LEN).map(|_| (bits.next() % 40) as f32 * 0.05).collect();
    let key = SampleKey::from_request_seed(3);
    let by_k = (1..=LEN as i32 + 1).map(|k| (params(1.0, k, 1.0, 0.0), key, k as usize));
    let by_p = (1..=100).map(|p| (params(1.0, 0, p as f32 / 101.0, 0.0), key, p));
    let hows: Vec<How> = by_k.chain(by_p).collect();
    check("filters", &row.repeat(hows.len()), &hows);
}

/// The second of two tokens comes exactly while min_p does not exceed its weight: so every bit of the device's weight is
/// seen.
#[test]
fn weights_are_the_hosts_to_the_last_bit() {
    let (mut logits, mut hows) = (Vec::new(), Vec::new());
    for i in 1..=120 {
        let row = [0.0, -(i as f32) * 0.0237];
        let with = |min_p: f32, position| {
            let how = (params(0.9, 0, 1.0, min_p), SampleKey::from_request_seed(17), position);
            (on_host(&row, &how), how)
        };
        let position = (0..).find(|&position| with(1e-6, position).0 == Some(1)).unwrap();
        // The largest min_p that lets it come, by its bits.
        let (mut low, mut high) = (1e-6_f32.to_bits(), 1.0_f32.to_bits() + 1);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match with(f32::from_bits(middle), position).0 {
                Some(1) => low = middle,
                _ => high = middle,
            }
        }
        for bits in [low, high] {
            logits.extend(row);
            hows.push(with(f32::from_bits(bits), position).1);
        }
    }
    check("weights", &logits, &hows);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let Some((device, stream)) = device() else { return };
    let op = Sample::new(&device).unwrap();
    let row = SampleRow::new(&params(1.0, 0, 1.0, 0.0), some_key(0), 0);
    let rows = device.buffer_from(&stream, &[row; 2]).unwrap();
    let run = |num_tokens, num_weights, num_logits| {
        let (mut tokens, mut weights) =
            (device.buffer(num_tokens).unwrap(), device.buffer(num_weights).unwrap());
        let logits = device.buffer_from(&stream, &vec![0.0; num_logits]).unwrap();
        op.run(&stream, &mut tokens, &mut weights, &logits, &rows)
    };
    assert!(run(2, 8, 8).is_ok());
    assert!(run(3, 8, 8).is_err());
    assert!(run(2, 7, 8).is_err());
    assert!(run(2, 7, 7).is_err());
}
