//! The real model against Hugging Face transformers: the same tokens, the same log-probabilities.

mod golden_model;

use engine::{Backend, DType, Llm, SamplingParams, weights};
use golden_model::{GoldenRow, answer, assert_golden, golden_rows, greedy, smollm2};

/// PyTorch's own drift between two ways of the same f32 computation is below 1e-4 on this model.
const F32_TOLERANCE: f32 = 2e-3;

fn f32_model() -> engine::LlmBuilder {
    Llm::builder(smollm2()).dtype(DType::F32)
}

fn assert_all_golden(llm: &mut Llm, rows: &[GoldenRow]) {
    for (output, row) in answer(llm, rows).iter().zip(rows) {
        assert_golden(output, row, F32_TOLERANCE);
    }
}

fn assert_each_golden(llm: &mut Llm, rows: &[GoldenRow]) {
    rows.iter().for_each(|row| assert_all_golden(llm, std::slice::from_ref(row)));
}

#[test]
fn short_prompts_together_in_f32() {
    let rows = golden_rows("smollm2-135m-greedy.json");
    let mut llm = f32_model().build().unwrap();
    assert_all_golden(&mut llm, &rows);
    assert_eq!(llm.stats().max_num_seqs_in_step, rows.len());
}

#[test]
fn short_prompts_one_at_a_time_in_f32() {
    assert_each_golden(&mut f32_model().build().unwrap(), &golden_rows("smollm2-135m-greedy.json"));
}

#[test]
fn long_prompts_together_in_f32() {
    let rows = golden_rows("smollm2-135m-long.json");
    let mut llm = f32_model().build().unwrap();
    assert_all_golden(&mut llm, &rows);
    let stats = llm.stats();
    assert_eq!(stats.max_num_seqs_in_step, rows.len());
    assert!(stats.num_partial_prefills > 0 && stats.num_mixed_steps > 0, "{stats:?}");
}

#[test]
fn long_prompts_one_at_a_time_in_f32() {
    assert_each_golden(&mut f32_model().build().unwrap(), &golden_rows("smollm2-135m-long.json"));
}

#[test]
fn short_prompts_on_the_reference_backend() {
    let rows = golden_rows("smollm2-135m-greedy.json");
    assert_all_golden(&mut f32_model().backend(Backend::Reference).build().unwrap(), &rows);
}

#[test]
fn short_prompts_through_a_converted_directory() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("smollm2");
    convert(&out, DType::F32);
    let rows = golden_rows("smollm2-135m-greedy.json");
    assert_all_golden(&mut Llm::builder(&out).dtype(DType::F32).build().unwrap(), &rows);
}

fn convert(out: &std::path::Path, dtype: DType) {
    let model = weights::open(&smollm2()).unwrap();
    engine::convert_to_hf_dir(&model, out, dtype, &mut |_| {}).unwrap();
}

/// Fed the golden tokens, 16-bit arithmetic must find the same likeliest token wherever the golden
/// one leads by more than this.
const BF16_GAP: f32 = 0.10;

fn assert_same_argmax_in_bf16(llm: &mut Llm, row: &GoldenRow) {
    let mut fed = row.prompt_token_ids.clone();
    fed.extend(&row.output_token_ids);
    let params = SamplingParams { prompt_logprobs: Some(1), ..greedy(1) };
    let outputs = llm.generate(&[fed], &params).unwrap();
    let scores = outputs[0].prompt_logprobs.as_ref().unwrap();
    let steps = &scores[row.prompt_token_ids.len()..];
    assert_eq!(steps.len(), row.top5.len());
    for (step_idx, (step, top5)) in steps.iter().zip(&row.top5).enumerate() {
        let likeliest = step.iter().flatten().find(|candidate| candidate.rank == 1).unwrap();
        let gap = top5[0].1 - top5[1].1;
        let same = likeliest.token_id == top5[0].0;
        assert!(same || gap <= BF16_GAP, "step {step_idx}: {likeliest:?}, golden {top5:?}");
    }
}

#[test]
fn all_prompts_in_bf16_agree_where_the_golden_answer_is_clear() {
    let mut llm = Llm::builder(smollm2()).dtype(DType::BF16).build().unwrap();
    let files = ["smollm2-135m-greedy.json", "smollm2-135m-long.json"];
    for row in files.into_iter().flat_map(golden_rows) {
        assert_same_argmax_in_bf16(&mut llm, &row);
    }
}

#[test]
fn golden_rows_are_not_taken_on_trust() {
    let rows = golden_rows("smollm2-135m-greedy.json");
    let mut llm = f32_model().build().unwrap();
    let output = answer(&mut llm, &rows[..1]).remove(0);
    let refuses = |row: &GoldenRow| {
        std::panic::catch_unwind(|| assert_golden(&output, row, F32_TOLERANCE)).is_err()
    };
    assert!(!refuses(&rows[0]));
    let mut other_token = rows[0].clone();
    other_token.output_token_ids[40] += 1;
    assert!(refuses(&other_token));
    let mut other_logprob = rows[0].clone();
    other_logprob.top5[40][3].1 += 2.5 * F32_TOLERANCE;
    assert!(refuses(&other_logprob));
}
