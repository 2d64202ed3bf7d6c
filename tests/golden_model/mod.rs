//! The real model and its golden rows: what Hugging Face transformers computed from the same weights.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::PathBuf;

use engine::hub::{self, Quiet};
use engine::output::{CompletionOutput, Logprob};
use engine::{Llm, RequestOutput, SamplingParams};
use serde_json::Value;

/// One prompt and what the reference implementation answered, greedily, in f32.
#[derive(Clone)]
pub struct GoldenRow {
    pub prompt_token_ids: Vec<u32>,
    pub output_token_ids: Vec<u32>,
    /// The five likeliest tokens of each step, likeliest first.
    pub top5: Vec<Vec<(u32, f32)>>,
}

/// Rows of a file in `tests/golden/`.
pub fn golden_rows(file: &str) -> Vec<GoldenRow> {
    let path = repository_path("tests/golden").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let golden: Value = serde_json::from_str(&text).expect("golden files are JSON");
    golden["rows"].as_array().expect("rows").iter().map(golden_row).collect()
}

fn golden_row(row: &Value) -> GoldenRow {
    let pair = |pair: &Value| (pair[0].as_u64().unwrap() as u32, pair[1].as_f64().unwrap() as f32);
    let steps = row["top5_logprobs"].as_array().expect("top5_logprobs").iter();
    GoldenRow {
        prompt_token_ids: token_ids(&row["prompt_token_ids"]),
        output_token_ids: token_ids(&row["output_token_ids"]),
        top5: steps.map(|step| step.as_array().unwrap().iter().map(pair).collect()).collect(),
    }
}

/// A JSON list of token ids.
pub fn token_ids(list: &Value) -> Vec<u32> {
    list.as_array().expect("a list").iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// A path inside the repository.
pub fn repository_path(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// SmolLM2-135M-Instruct: where `KVASIR_TEST_MODEL` says, else from the model cache, fetched on first use.
pub fn smollm2() -> PathBuf {
    match std::env::var_os("KVASIR_TEST_MODEL") {
        Some(path) => path.into(),
        None => hub::resolve("smollm2-135m", &Quiet).unwrap_or_else(|e| panic!("{e}")),
    }
}

/// `cargo xtask test --long` asks for all golden rows instead of some.
pub fn is_long() -> bool {
    std::env::var_os("KVASIR_LONG").is_some()
}

/// Greedy, with the five likeliest tokens of each step.
pub fn greedy(max_tokens: usize) -> SamplingParams {
    SamplingParams { max_tokens, temperature: 0.0, logprobs: Some(5), ..SamplingParams::default() }
}

/// The rows' answers, as many tokens each as the golden one has.
pub fn answer(llm: &mut Llm, rows: &[GoldenRow]) -> Vec<RequestOutput> {
    let max_tokens = rows.iter().map(|row| row.output_token_ids.len()).max().unwrap_or(1);
    let prompts: Vec<_> = rows.iter().map(|row| row.prompt_token_ids.clone()).collect();
    llm.generate(&prompts, &greedy(max_tokens)).unwrap_or_else(|e| panic!("{e}"))
}

/// Fails unless the answer has exactly the golden tokens and, within `tolerance`, the golden
/// log-probabilities.
pub fn assert_golden(output: &RequestOutput, row: &GoldenRow, tolerance: f32) {
    let [completion] = output.outputs.as_slice() else { panic!("one completion") };
    let prompt_len = row.prompt_token_ids.len();
    assert_eq!(completion.token_ids, row.output_token_ids, "prompt of {prompt_len} tokens");
    let steps = completion.logprobs.as_ref().expect("log-probabilities were asked for");
    for (step_idx, (step, top5)) in steps.iter().zip(&row.top5).enumerate() {
        for &(token_id, expected) in top5 {
            let found = find(step, token_id, expected, tolerance);
            let close = found.is_some_and(|logprob| (logprob - expected).abs() <= tolerance);
            assert!(close, "step {step_idx}, token {token_id}: {found:?}, expected {expected}");
        }
    }
}

/// The token's log-probability; one that was just pushed out of the five by an equal counts as equal.
fn find(step: &[Logprob], token_id: u32, expected: f32, tolerance: f32) -> Option<f32> {
    let found = step.iter().find(|candidate| candidate.token_id == token_id);
    let least = step.iter().map(|candidate| candidate.logprob).fold(f32::INFINITY, f32::min);
    found.map(|candidate| candidate.logprob).or((least - expected <= tolerance).then_some(expected))
}

/// Token ids and log-probabilities to the bit: equal for equal computations only.
pub fn bits(output: &RequestOutput) -> (Vec<u32>, Vec<(u32, u32)>) {
    let completion: &CompletionOutput = &output.outputs[0];
    let candidates = completion.logprobs.iter().flatten().flatten();
    let pairs = candidates.map(|candidate| (candidate.token_id, candidate.logprob.to_bits()));
    (completion.token_ids.clone(), pairs.collect())
}
