//! What an FP8 KV cache costs in quality: perplexity of the real model on a text of our own, against
//! that with a bfloat16 cache. Scales are measured on other texts, as a user would.
//!
//! Only e4m3 is held to a limit. e5m2, with two bits behind the point, costs 4.8 % on this text.

mod golden_model;

use std::path::Path;

use engine::{DType, Fp8Flavour, KvCacheDType, Llm, LlmBuilder, SamplingParams};
use golden_model::{golden_rows, smollm2};

/// Most that perplexity may rise with three bits behind the point.
const MOST_E4M3: f64 = 0.01;

const TEXT: &str = include_str!("texts/lighthouse.txt");

fn builder() -> LlmBuilder {
    Llm::builder(smollm2()).dtype(DType::BF16)
}

/// Writes scales measured on the long golden prompts.
fn calibrate(file: &Path) {
    let rows = golden_rows("smollm2-135m-long.json").into_iter();
    let texts: Vec<Vec<u32>> = rows.map(|row| row.prompt_token_ids).collect();
    let calibration = builder().calibrate(&texts, &mut |_| {}).unwrap();
    let model = engine::weights::open(&smollm2()).unwrap();
    engine::write_kv_scales(&model, &calibration.scales, file).unwrap();
}

/// e to the mean of −ln p over all tokens of the text but the first, each with the true ones before it.
fn perplexity(builder: LlmBuilder) -> f64 {
    let mut llm = builder.build().unwrap_or_else(|e| panic!("{e}"));
    let params =
        SamplingParams { max_tokens: 1, prompt_logprobs: Some(0), ..SamplingParams::default() };
    let output = llm.generate(&[TEXT], &params).unwrap_or_else(|e| panic!("{e}")).remove(0);
    let num_tokens = output.prompt_token_ids.len();
    assert!(num_tokens >= 1500, "{num_tokens} tokens are too few");
    let scores = output.prompt_logprobs.expect("they were asked for");
    let own = scores.iter().zip(&output.prompt_token_ids).skip(1).map(|(step, &token_id)| {
        let own = step.iter().flatten().find(|candidate| candidate.token_id == token_id);
        f64::from(own.expect("the prompt's own token is scored").logprob)
    });
    (-own.sum::<f64>() / (num_tokens - 1) as f64).exp()
}

#[test]
fn e4m3_costs_less_than_one_percent() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scales.safetensors");
    calibrate(&file);
    let own = perplexity(builder());
    for flavour in [Fp8Flavour::Ocp, Fp8Flavour::Fnuz] {
        let fp8 = builder().kv_cache_dtype(KvCacheDType::Fp8E4m3).fp8_flavour(flavour);
        let fp8 = perplexity(fp8.kv_cache_scales(&file));
        let rise = fp8 / own - 1.0;
        println!("fp8_e4m3 {flavour:?}: {fp8:.4} against {own:.4}, {:+.3} %", 100.0 * rise);
        assert!(rise <= MOST_E4M3, "{flavour:?}: {rise}");
    }
}
