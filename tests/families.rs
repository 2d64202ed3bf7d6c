//! Every model family: tiny seeded Hugging Face checkpoints against transformers' greedy tokens and logits.

mod golden_model;

use engine::{Backend, CpuIsa, DType, Llm, SamplingParams};
use golden_model::{repository_path, token_ids};
use serde_json::Value;

/// Largest difference of a logit, relative to the largest of the sixteen.
const TOLERANCE: f32 = 1e-4;

struct Row {
    prompt_token_ids: Vec<u32>,
    output_token_ids: Vec<u32>,
    first16_logits: Vec<Vec<f32>>,
}

fn rows(family: &str) -> Vec<Row> {
    let path = repository_path("tests/golden/families").join(family).join("golden.json");
    let text = std::fs::read_to_string(path).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let numbers = |list: &Value| -> Vec<f32> {
        list.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
    };
    let row = |row: &Value| Row {
        prompt_token_ids: token_ids(&row["prompt_token_ids"]),
        output_token_ids: token_ids(&row["output_token_ids"]),
        first16_logits: row["first16_logits"].as_array().unwrap().iter().map(numbers).collect(),
    };
    golden["rows"].as_array().unwrap().iter().map(row).collect()
}

fn families() -> Vec<String> {
    let entries = std::fs::read_dir(repository_path("tests/golden/families")).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() >= 10, "{names:?}");
    names
}

/// Logits are only known up to their common offset: log-probabilities of all tokens are, for each
/// step, the logits minus one number. That number is the mean difference over the sixteen.
fn assert_logits(family: &str, step: &[engine::output::Logprob], expected: &[f32]) {
    let logprob = |id: u32| step.iter().find(|candidate| candidate.token_id == id).unwrap().logprob;
    let found: Vec<f32> = (0..expected.len() as u32).map(logprob).collect();
    let offset = found.iter().zip(expected).map(|(f, e)| f - e).sum::<f32>() / found.len() as f32;
    let largest = expected.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    for (token_id, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - offset - expected).abs();
        assert!(error <= TOLERANCE * largest, "{family}: logit {token_id} is off by {error}");
    }
}

fn assert_family(family: &str, builder: engine::LlmBuilder) {
    let mut llm = builder.dtype(DType::F32).build().unwrap_or_else(|e| panic!("{family}: {e}"));
    for row in rows(family) {
        let params = SamplingParams {
            max_tokens: row.output_token_ids.len(),
            temperature: 0.0,
            logprobs: Some(-1),
            ..SamplingParams::default()
        };
        let prompt_len = row.prompt_token_ids.len();
        let output = llm.generate(&[row.prompt_token_ids], &params).unwrap().remove(0);
        let completion = &output.outputs[0];
        assert_eq!(completion.token_ids, row.output_token_ids, "{family}, {prompt_len} tokens");
        let steps = completion.logprobs.as_ref().unwrap();
        for (step, expected) in steps.iter().zip(&row.first16_logits) {
            assert_logits(family, step, expected);
        }
    }
}

fn builder(family: &str) -> engine::LlmBuilder {
    Llm::builder(repository_path("tests/golden/families").join(family))
}

#[test]
fn every_family_on_every_isa_path() {
    for isa in CpuIsa::ALL {
        if let Err(error) = isa.require() {
            println!("skipped: {error}");
            continue;
        }
        for family in families() {
            assert_family(&family, builder(&family).cpu_isa(isa));
        }
    }
}

#[test]
fn every_family_on_the_reference_backend() {
    families()
        .iter()
        .for_each(|family| assert_family(family, builder(family).backend(Backend::Reference)));
}

#[test]
fn every_family_in_chunks_of_seven_and_odd_blocks() {
    for family in families() {
        assert_family(&family, builder(&family).max_num_batched_tokens(7).block_size(5));
    }
}
