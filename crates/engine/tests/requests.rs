//! Requests of the blocking engine: several sequences, priorities, salts, limits, and failures of one.

use std::fs;
use std::path::{Path, PathBuf};

use engine::{
    FinishReason, Llm, LlmBuilder, LlmError, NgramConfig, Prompt, RequestOptions, RequestOutput,
    SamplingParams, SchedulingPolicy, StepError, TokenId,
};

fn tiny_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/families/llama")
}

fn builder() -> LlmBuilder {
    Llm::builder(tiny_model()).block_size(4)
}

fn params(max_tokens: usize) -> SamplingParams {
    SamplingParams { max_tokens, ignore_eos: true, seed: Some(5), ..SamplingParams::default() }
}

fn tokens(range: std::ops::Range<u32>) -> Vec<u32> {
    range.collect()
}

fn run(llm: &mut Llm) -> Vec<RequestOutput> {
    let mut outputs = Vec::new();
    while llm.has_unfinished() {
        outputs.extend(llm.step().into_iter().filter_map(|update| update.finished));
    }
    outputs
}

#[test]
fn n_sequences_are_those_of_neighbouring_seeds_and_share_the_prompt() {
    let mut llm = builder().build().unwrap();
    let prompt = tokens(1..23);
    let several = SamplingParams { n: 3, ..params(6) };
    let output = llm.generate(std::slice::from_ref(&prompt), &several).unwrap().remove(0);
    let stats = llm.stats();
    // The prompt once, what is behind its last full block by each, and all answers but their ends.
    assert_eq!(stats.num_scheduled_tokens, 22 + 2 * 2 + 3 * 5, "{stats:?}");
    for (index, completion) in output.outputs.iter().enumerate() {
        assert_eq!(completion.index, index);
        let seed = Some(5 + index as u64);
        let single = SamplingParams { seed, ..params(6) };
        let expected = llm.generate(std::slice::from_ref(&prompt), &single).unwrap().remove(0);
        assert_eq!(completion.token_ids, expected.outputs[0].token_ids, "sequence {index}");
    }
    assert_ne!(output.outputs[0].token_ids, output.outputs[1].token_ids);
    assert_eq!(output.metrics.num_cached_tokens, 2 * 20);
}

#[test]
fn prompt_logprobs_come_once_and_are_whole_although_the_prompt_is_cached() {
    let mut llm = builder().build().unwrap();
    let scored = SamplingParams { n: 2, prompt_logprobs: Some(1), ..params(2) };
    let first = llm.generate(&[tokens(1..15)], &scored).unwrap().remove(0);
    let again = llm.generate(&[tokens(1..15)], &scored).unwrap().remove(0);
    let scores = first.prompt_logprobs.unwrap();
    assert_eq!(scores.len(), 14);
    assert!(scores[0].is_none() && scores[1..].iter().all(Option::is_some));
    assert_eq!(again.prompt_logprobs.unwrap(), scores);
}

#[test]
fn the_lower_priority_is_served_first() {
    let builder = builder().max_num_seqs(1).scheduling_policy(SchedulingPolicy::Priority);
    let mut llm = builder.build().unwrap();
    for priority in [1, 2, -1, 1] {
        let options = RequestOptions { priority, ..RequestOptions::default() };
        llm.add_request_with(Prompt::TokenIds(tokens(1..4)), params(2), options).unwrap();
    }
    let order: Vec<usize> = run(&mut llm).iter().map(|output| output.index).collect();
    assert_eq!(order, [2, 0, 3, 1]);
}

#[test]
fn a_priority_that_nobody_looks_at_is_refused() {
    let mut llm = builder().build().unwrap();
    let options = RequestOptions { priority: 1, ..RequestOptions::default() };
    let refused = llm.add_request_with(Prompt::TokenIds(vec![1]), params(2), options);
    assert!(refused.unwrap_err().to_string().contains("priority"));
    assert!(!llm.has_unfinished());
}

#[test]
fn tenants_with_other_salts_share_nothing() {
    let mut llm = builder().build().unwrap();
    let mut cached = |salt: Option<&str>| {
        let options = RequestOptions { cache_salt: salt.map(str::to_owned), priority: 0 };
        let prompt = Prompt::TokenIds(tokens(1..20));
        llm.add_request_with(prompt, params(1), options).unwrap();
        run(&mut llm)[0].metrics.num_cached_tokens
    };
    assert_eq!((cached(Some("a")), cached(Some("b")), cached(None)), (0, 0, 0));
    assert_eq!((cached(Some("a")), cached(Some("b")), cached(None)), (16, 16, 16));
}

#[test]
fn a_latency_target_that_is_none_is_refused_by_name() {
    for ms in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = builder().tpot_target_ms(ms).build().err().expect("no step takes that long");
        assert!(error.to_string().contains("tpot_target_ms is"), "{error}");
        assert!(error.is_users());
    }
    assert_eq!(
        builder().tpot_target_ms(2.5).build().unwrap().scheduler_config().tpot_target_us,
        Some(2500)
    );
}

#[test]
fn a_full_queue_refuses_all_sequences_of_a_request_or_none() {
    let mut llm = builder().max_num_queued_reqs(3).build().unwrap();
    llm.add_request(vec![1].into(), params(2)).unwrap();
    let several = SamplingParams { n: 3, ..params(2) };
    let refused = llm.add_request(vec![2].into(), several);
    assert!(matches!(refused, Err(LlmError::Refused(_))), "{refused:?}");
    llm.add_request(vec![3].into(), SamplingParams { n: 2, ..params(2) }).unwrap();
    let too_many = llm.add_request(vec![4].into(), SamplingParams { n: 4, ..params(2) });
    assert!(matches!(too_many, Err(LlmError::QueueTooShort { n: 4, .. })), "{too_many:?}");
    let outputs = run(&mut llm);
    assert_eq!(outputs.iter().map(|output| output.outputs.len()).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn an_abort_ends_all_sequences_and_frees_everything() {
    let mut llm = builder().enable_prefix_caching(false).build().unwrap();
    let id = llm.add_request(vec![1, 2].into(), SamplingParams { n: 2, ..params(20) }).unwrap();
    llm.add_request(vec![3].into(), params(3)).unwrap();
    llm.step();
    let output = llm.abort(id).unwrap();
    let reasons = output.outputs.iter().map(|completion| completion.finish_reason);
    assert!(reasons.eq([FinishReason::Abort; 2]));
    assert!(llm.abort(id).is_none());
    assert_eq!(run(&mut llm).len(), 1);
}

/// A model whose embedding of `token` is NaN.
fn damaged_model(token: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in fs::read_dir(tiny_model()).unwrap() {
        let path = file.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let path = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let header_len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header_len]).unwrap();
    let embedding = &header["model.embed_tokens.weight"];
    assert_eq!(embedding["dtype"], "F32");
    let hidden_size = embedding["shape"][1].as_u64().unwrap() as usize;
    let start = 8 + header_len + embedding["data_offsets"][0].as_u64().unwrap() as usize;
    let row = &mut bytes[start + 4 * token * hidden_size..][..4 * hidden_size];
    row.chunks_exact_mut(4).for_each(|x| x.copy_from_slice(&f32::NAN.to_le_bytes()));
    fs::write(path, bytes).unwrap();
    folder
}

#[test]
fn a_request_with_unusable_logits_fails_alone() {
    let expected = builder().build().unwrap().generate(&[tokens(10..17)], &params(5)).unwrap();
    let folder = damaged_model(3);
    let mut llm = Llm::builder(folder.path()).block_size(4).build().unwrap();
    llm.add_request(vec![2, 3].into(), params(5)).unwrap();
    llm.add_request(tokens(10..17).into(), params(5)).unwrap();
    let updates = llm.step();
    assert!(matches!(updates[0].error, Some(StepError::Sample(_))), "{updates:?}");
    let failed = updates[0].finished.as_ref().unwrap();
    assert_eq!(failed.outputs[0].finish_reason, FinishReason::Error);
    assert!(failed.outputs[0].token_ids.is_empty());
    assert!(updates[1].error.is_none());
    assert_eq!(run(&mut llm)[0].outputs[0].token_ids, expected[0].outputs[0].token_ids);
    // Together they are one call, and its caller is told.
    let together = llm.generate(&[vec![2, 3], vec![4]], &params(5));
    assert!(matches!(together, Err(LlmError::Step(_))), "{together:?}");
    assert!(!llm.has_unfinished());
}

#[test]
fn guesses_change_the_steps_and_not_the_answer() {
    let refrain = tokens(1..6).repeat(4);
    // Of two tokens to choose from, a guess is often right.
    let allowed_token_ids = Some(vec![TokenId(7), TokenId(9)]);
    let greedy = SamplingParams { temperature: 0.0, allowed_token_ids, ..params(40) };
    let plain =
        builder().build().unwrap().generate(std::slice::from_ref(&refrain), &greedy).unwrap();
    let ngram =
        NgramConfig { num_speculative_tokens: 4, prompt_lookup_min: 1, prompt_lookup_max: 3 };
    let mut llm = builder().speculative(ngram).build().unwrap();
    let guessed = llm.generate(&[refrain], &greedy).unwrap();
    assert_eq!(guessed[0].outputs, plain[0].outputs);
    let metrics = &guessed[0].metrics;
    assert!(metrics.num_accepted_tokens > 0, "{metrics:?}");
    let stats = llm.stats();
    assert_eq!(stats.num_steps, 1 + 39 - metrics.num_accepted_tokens as u64, "{stats:?}");
}

#[test]
fn memory_options_size_the_pool() {
    let num_blocks = |builder: LlmBuilder| {
        builder.build().map(|llm| llm.scheduler_config().num_blocks).map_err(|e| e.to_string())
    };
    let half = num_blocks(builder().gpu_memory_utilization(0.5)).unwrap();
    let quarter = num_blocks(builder().gpu_memory_utilization(0.25)).unwrap();
    assert!(half > quarter && quarter > 0, "{half}, {quarter}");
    let both = builder().gpu_memory_utilization(0.5).kv_cache_memory_bytes(1 << 20);
    assert!(num_blocks(both).unwrap_err().contains("set one of them"));
    let none = num_blocks(builder().gpu_memory_utilization(1e-9)).unwrap_err();
    assert!(none.contains("raise it"), "{none}");
    assert!(num_blocks(builder().gpu_memory_utilization(1.5)).unwrap_err().contains("at most 1"));
    assert!(num_blocks(builder().swap_space(-1.0)).unwrap_err().contains("swap_space"));
    assert!(num_blocks(builder().swap_space(f64::NAN)).unwrap_err().contains("swap_space"));
    let swap = builder().swap_space(0.001).build().unwrap();
    assert!(swap.scheduler_config().num_host_blocks > 0);
}
