//! RoPE in `config.json`, in both dialects: transformers 5's precedence and defaults.

mod weights_support;

use engine_core::config::RopeScaling;
use serde_json::{Value, json};
use weights_support::hf::{error, model};

#[test]
fn both_rope_dialects_say_the_same() {
    for (old, new) in [
        (
            json!({ "rope_theta": 5e5, "rope_scaling": null }),
            json!({ "rope_parameters": { "rope_type": "default", "rope_theta": 5e5 } }),
        ),
        (
            json!({ "rope_theta": 5e5, "rope_scaling": { "type": "linear", "factor": 4.0 } }),
            json!({ "rope_parameters": { "rope_type": "linear", "factor": 4, "rope_theta": 500_000 } }),
        ),
        (
            json!({ "rope_theta": 5e5, "rope_scaling": { "rope_type": "dynamic", "factor": 2.0 } }),
            json!({ "rope_parameters": { "type": "dynamic", "factor": 2.0, "rope_theta": 5e5 } }),
        ),
        (
            json!({ "rope_theta": 5e5, "rope_scaling": { "rope_type": "llama3", "type": "ignored", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32 } }),
            json!({ "rope_parameters": { "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32, "rope_theta": 5e5 } }),
        ),
        (
            json!({ "rope_theta": 5e5, "partial_rotary_factor": 0.5 }),
            json!({ "rope_parameters": { "rope_type": "default", "rope_theta": 5e5, "partial_rotary_factor": 0.5 } }),
        ),
    ] {
        let (old, new) = (model("llama", old).rope, model("llama", new).rope);
        assert_eq!(old, new);
        assert_eq!(new.theta, 5e5);
    }
}

#[test]
fn rope_precedence_is_that_of_transformers() {
    let both = json!({
        "rope_theta": 1e5,
        "rope_scaling": { "rope_type": "linear", "factor": 2.0 },
        "rope_parameters": { "rope_type": "linear", "factor": 8.0, "rope_theta": 1e6 },
    });
    let rope = model("llama", both).rope;
    assert_eq!(rope.scaling, RopeScaling::Linear { factor: 2.0 }, "a non-empty rope_scaling wins");
    assert_eq!(rope.theta, 1e5);
    let inner =
        json!({ "rope_theta": 1e5, "rope_scaling": {}, "rope_parameters": { "rope_theta": 1e6 } });
    let rope = model("llama", inner).rope;
    assert_eq!((rope.theta, rope.scaling), (1e6, RopeScaling::None), "the inner theta wins");
    let beside = json!({
        "original_max_position_embeddings": 16,
        "rope_parameters": { "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32 },
    });
    let RopeScaling::Yarn { original_max_position_embeddings, .. } =
        model("llama", beside).rope.scaling
    else {
        panic!("not yarn");
    };
    assert_eq!(original_max_position_embeddings, 16, "the outer original length wins");
}

/// Values computed by transformers' `_compute_yarn_parameters` formulas, by hand.
#[test]
fn yarn_defaults() {
    let yarn = |parameters: Value| {
        let mut parameters = parameters;
        parameters["rope_type"] = json!("yarn");
        model("llama", json!({ "rope_parameters": parameters })).rope.scaling
    };
    let expected = |factor, original_max_position_embeddings, attention_factor| RopeScaling::Yarn {
        factor,
        original_max_position_embeddings,
        beta_fast: 32.0,
        beta_slow: 1.0,
        attention_factor,
        truncate: true,
    };
    let plain = 0.1 * 4f64.ln() + 1.0;
    let with = |more: Value| {
        let mut base = json!({ "factor": 4.0, "original_max_position_embeddings": 32 });
        for (key, value) in more.as_object().unwrap() {
            base[key] = value.clone();
        }
        yarn(base)
    };
    assert_eq!(with(json!({})), expected(4.0, 32, plain));
    assert_eq!(yarn(json!({ "factor": 4.0 })), expected(4.0, 128, plain), "the whole context");
    let derived = yarn(json!({ "factor": null, "original_max_position_embeddings": 64 }));
    assert_eq!(derived, expected(2.0, 64, 0.1 * 2f64.ln() + 1.0));
    assert_eq!(with(json!({ "attention_factor": 0.5 })), expected(4.0, 32, 0.5));
    let mscale = with(json!({ "mscale": 0.707, "mscale_all_dim": 0.5 }));
    let ratio = (0.1 * 0.707 * 4f64.ln() + 1.0) / (0.1 * 0.5 * 4f64.ln() + 1.0);
    assert_eq!(mscale, expected(4.0, 32, ratio));
    assert_eq!(with(json!({ "mscale": 0.707, "mscale_all_dim": 0 })), expected(4.0, 32, plain));
    assert_eq!(yarn(json!({ "factor": 0.5 })), expected(0.5, 128, 1.0), "no shrinking");
    let RopeScaling::Yarn { beta_fast, beta_slow, truncate, .. } =
        with(json!({ "beta_fast": 16, "beta_slow": 0, "truncate": false }))
    else {
        panic!("not yarn");
    };
    assert_eq!((beta_fast, beta_slow, truncate), (16.0, 1.0, false));
}

#[test]
fn longrope_is_refused_unless_both_sets_are_one() {
    let longrope = |short: [f64; 8], long: [f64; 8], attention_factor: Value| {
        json!({ "rope_scaling": {
            "rope_type": "longrope", "short_factor": short, "long_factor": long, "attention_factor": attention_factor,
        } })
    };
    let refused = error("llama", longrope([1.0; 8], [2.0; 8], json!(1.0)));
    assert!(refused.contains("longrope"), "{refused}");
    assert!(error("llama", longrope([2.0; 8], [2.0; 8], Value::Null)).contains("longrope"));
    let fixed = model("llama", longrope([2.0; 8], [2.0; 8], json!(1.0)));
    assert_eq!(fixed.rope.scaling, RopeScaling::Factors(vec![2.0; 8]));
}
