//! Whole answers of the real model do not depend on how they were scheduled: random arrivals, budgets,
//! pools, swap, prefix hits, guesses, block sizes, threads and bystanders that are withdrawn, for each
//! compute dtype and KV dtype; token ids and log-probabilities are compared to the bit with those of
//! one request at a time in an engine that never gives way and never shares.
//!
//! Every run proves by the scheduler's counters that what it varies happened. `KVASIR_SCHEDULE_SEED`
//! runs the one schedule that a failure names.

#[path = "../golden_model/mod.rs"]
mod golden_model;
mod requests;
mod schedule;

use engine::{DType, KvCacheDType, Llm};
use golden_model::is_long;
use requests::{Answer, TestRequest, requests};
use schedule::{Schedule, run};

fn num_schedules() -> u64 {
    if is_long() { 200 } else { 20 }
}

/// Seeds of the schedules to run.
fn seeds() -> Vec<u64> {
    match std::env::var("KVASIR_SCHEDULE_SEED") {
        Ok(seed) => vec![seed.parse().expect("KVASIR_SCHEDULE_SEED is a number")],
        Err(_) => (0..num_schedules()).collect(),
    }
}

fn assert_independent(dtype: DType, kv_cache_dtype: KvCacheDType) {
    let requests = requests();
    let expected = run(&Schedule::one_at_a_time(requests.len()), &requests, dtype, kv_cache_dtype);
    for seed in seeds() {
        let schedule = Schedule::random(seed, &requests);
        let found = run(&schedule, &requests, dtype, kv_cache_dtype);
        assert_same(&found, &expected, &requests, || {
            format!("{dtype}, KV {kv_cache_dtype:?}, KVASIR_SCHEDULE_SEED={seed}, {schedule:?}")
        });
    }
}

fn assert_same(
    found: &[Answer],
    expected: &[Answer],
    requests: &[TestRequest],
    context: impl Fn() -> String,
) {
    for ((found, expected), request) in found.iter().zip(expected).zip(requests) {
        assert!(
            found == expected,
            "{}: {}\nfound    {:?}\nexpected {:?}",
            request.name,
            context(),
            found.token_ids(),
            expected.token_ids()
        );
    }
}

macro_rules! schedules {
    ($($name:ident: $dtype:expr, $kv_cache_dtype:expr;)*) => {$(
        #[test]
        fn $name() {
            assert_independent($dtype, $kv_cache_dtype.into());
        }
    )*};
}

schedules! {
    float32_kv_float32: DType::F32, DType::F32;
    float32_kv_bfloat16: DType::F32, DType::BF16;
    float32_kv_float16: DType::F32, DType::F16;
    float32_kv_fp8_e4m3: DType::F32, KvCacheDType::Fp8E4m3;
    float32_kv_fp8_e5m2: DType::F32, KvCacheDType::Fp8E5m2;
    bfloat16_kv_float32: DType::BF16, DType::F32;
    bfloat16_kv_bfloat16: DType::BF16, DType::BF16;
    bfloat16_kv_float16: DType::BF16, DType::F16;
    bfloat16_kv_fp8_e4m3: DType::BF16, KvCacheDType::Fp8E4m3;
    bfloat16_kv_fp8_e5m2: DType::BF16, KvCacheDType::Fp8E5m2;
    float16_kv_float32: DType::F16, DType::F32;
    float16_kv_bfloat16: DType::F16, DType::BF16;
    float16_kv_float16: DType::F16, DType::F16;
    float16_kv_fp8_e4m3: DType::F16, KvCacheDType::Fp8E4m3;
    float16_kv_fp8_e5m2: DType::F16, KvCacheDType::Fp8E5m2;
}

/// The second request for a document computes its own question and at most a block of what both
/// have in common.
#[test]
fn a_shared_document_is_computed_once() {
    let document = golden_model::golden_rows("smollm2-135m-long.json")[1].prompt_token_ids.clone();
    let document = &document[..2000];
    let ask = |question: &[u32]| [document, question].concat();
    let params = golden_model::greedy(4);
    let build = || Llm::builder(golden_model::smollm2()).build().unwrap();
    let questions = [ask(&[504, 314, 253, 1528]), ask(&[198, 198, 15, 216, 33])];
    let mut alone = build();
    let expected: Vec<_> = questions
        .iter()
        .map(|question| {
            assert!(alone.reset_prefix_cache());
            golden_model::bits(&alone.generate(std::slice::from_ref(question), &params).unwrap()[0])
        })
        .collect();
    let mut llm = build();
    let num_rows = |llm: &Llm| llm.stats().num_scheduled_tokens as usize;
    for (question, expected) in questions.iter().zip(&expected) {
        let num_before = num_rows(&llm);
        let answer = &llm.generate(std::slice::from_ref(question), &params).unwrap()[0];
        assert_eq!(&golden_model::bits(answer), expected);
        let num_computed = num_rows(&llm) - num_before;
        if num_before > 0 {
            let num_own = question.len() - document.len() + params.max_tokens - 1;
            let block_size = llm.scheduler_config().block_size;
            assert!(num_computed <= num_own + block_size, "{num_computed} rows, {num_own} own");
            assert!(answer.metrics.num_cached_tokens + block_size >= document.len());
        }
    }
    // Asked together, they also compute it once: the second waits for what the first computes.
    let mut together = build();
    let answers = together.generate(&questions, &params).unwrap();
    let found: Vec<_> = answers.iter().map(golden_model::bits).collect();
    assert_eq!(found, expected);
    assert!(together.stats().num_set_asides > 0, "{:?}", together.stats());
    assert!(num_rows(&together) < document.len() + 100, "{:?}", together.stats());
}
