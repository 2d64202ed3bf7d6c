//! RoPE frequencies against those of Hugging Face's formulas (`oracles/rope_hf.py`).

use engine_core::config::{RopeConfig, RopeScaling};
use engine_core::rope::inv_freq;
use serde_json::Value;

const FIXTURE: &str = include_str!("oracles/rope_hf.json");

fn number(case: &Value, key: &str) -> f64 {
    case[key].as_f64().unwrap_or_else(|| panic!("{key} of {case}"))
}

fn count(case: &Value, key: &str) -> usize {
    case[key].as_u64().unwrap_or_else(|| panic!("{key} of {case}")) as usize
}

fn scaling(case: &Value) -> RopeScaling {
    match case["method"].as_str().unwrap() {
        "none" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: number(case, "factor") },
        "dynamic" => RopeScaling::Dynamic { factor: number(case, "factor") },
        "yarn" => RopeScaling::Yarn {
            factor: number(case, "factor"),
            original_max_position_embeddings: count(case, "original"),
            beta_fast: number(case, "beta_fast"),
            beta_slow: number(case, "beta_slow"),
            attention_factor: 1.25,
            truncate: case["truncate"].as_bool().unwrap(),
        },
        "llama3" => RopeScaling::Llama3 {
            factor: number(case, "factor"),
            low_freq_factor: number(case, "low_freq_factor"),
            high_freq_factor: number(case, "high_freq_factor"),
            original_max_position_embeddings: count(case, "original"),
        },
        method => panic!("unknown method {method}"),
    }
}

fn frequencies(case: &Value) -> (Vec<f32>, f32) {
    let rope = RopeConfig {
        theta: number(case, "theta"),
        rotary_dim: count(case, "dim"),
        scaling: scaling(case),
    };
    let is_dynamic = case["method"] == "dynamic";
    let length = |key| if is_dynamic { count(case, key) } else { 4096 };
    inv_freq(&rope, length("max_position_embeddings"), length("max_model_len"))
}

/// The fixture rounds where the code does, so the bits are equal. Two f64 `pow` could round a
/// power to different f32 about once in a hundred million; the fixture holds no such power.
#[test]
fn frequencies_are_bit_equal_to_the_formulas() {
    let cases: Vec<Value> = serde_json::from_str(FIXTURE).unwrap();
    assert!(cases.len() >= 29);
    for case in &cases {
        let (freqs, attention_factor) = frequencies(case);
        let expected: Vec<u32> = case["inv_freq_bits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_u64().unwrap() as u32)
            .collect();
        let bits: Vec<u32> = freqs.iter().map(|freq| freq.to_bits()).collect();
        assert_eq!(bits, expected, "{case}");
        let is_yarn = case["method"] == "yarn";
        assert_eq!(attention_factor, if is_yarn { 1.25 } else { 1.0 });
    }
}

#[test]
fn dynamic_is_plain_up_to_the_original_length_and_fixed_by_the_longest_beyond_it() {
    let rope = |scaling| RopeConfig { theta: 10000.0, rotary_dim: 64, scaling };
    let dynamic = |len| inv_freq(&rope(RopeScaling::Dynamic { factor: 4.0 }), 1024, len).0;
    let plain = inv_freq(&rope(RopeScaling::None), 1024, 4096).0;
    assert_eq!(dynamic(1), plain);
    assert_eq!(dynamic(1024), plain);
    assert_ne!(dynamic(1025), plain);
    // The slowest frequency is slowed by the stretch: 4 · 2048/1024 − 3 = 5.
    let ratio = plain[31] / dynamic(2048)[31];
    assert!((ratio - 5.0).abs() < 1e-4, "{ratio}");
}

#[test]
fn factors_divide_each_frequency() {
    let factors: Vec<f32> = (1..=8).map(|i| i as f32).collect();
    let rope = |scaling| RopeConfig { theta: 10000.0, rotary_dim: 16, scaling };
    let plain = inv_freq(&rope(RopeScaling::None), 1, 1).0;
    let divided = inv_freq(&rope(RopeScaling::Factors(factors.clone())), 1, 1).0;
    assert_eq!(divided.len(), 8);
    for ((divided, plain), factor) in divided.iter().zip(&plain).zip(&factors) {
        assert_eq!(*divided, plain / factor);
    }
}
