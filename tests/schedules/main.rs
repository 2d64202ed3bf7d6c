//! Whole answers of the real model do not depend on how they were scheduled: random arrivals, budgets,
//! pools, swap, prefix hits, guesses, block sizes, threads and bystanders that are withdrawn, for each
//! compute dtype and KV dtype; token ids and log-probabilities are compared to the bit with those of
//! one request at a time in an engine that never gives way and never shares.
//!
//! Every run proves by the scheduler's counters that what it varies happened, and all of them together
//! that guesses were right and wrong, and requests gave way, where grammars and penalties were at work.
//! `KVASIR_SCHEDULE_SEED` runs the one schedule that a failure names.
//!
//! 5 schedules for each pair of dtypes, 75 in all. With `--long` 29 more of its own for each pair, 435 in
//! all: 200 for each would take hours, and find little that as many different ones do not, for what a
//! schedule can break (rows, blocks, positions) is the same code in all formats.

#[path = "../golden_model/mod.rs"]
mod golden_model;
mod requests;
mod schedule;

use engine::{DType, KvCacheDType, Llm};
use golden_model::is_long;
use requests::{Answer, Happened, Tally, TestRequest, requests};
use schedule::{Schedule, run};

const NUM_SCHEDULES: u64 = 5;
const NUM_MORE_IF_LONG: u64 = 29;

/// Seeds of the schedules to run for a pair.
fn seeds(pair: u64) -> Vec<u64> {
    let more = 1000 * pair;
    let num_more = if is_long() { NUM_MORE_IF_LONG } else { 0 };
    (0..NUM_SCHEDULES).chain(more..more + num_more).collect()
}

/// The one seed to run, if somebody wants to see that one.
fn asked_for() -> Option<u64> {
    let seed = std::env::var("KVASIR_SCHEDULE_SEED").ok()?;
    Some(seed.parse().expect("KVASIR_SCHEDULE_SEED is a number"))
}

fn assert_independent(pair: u64, dtype: DType, kv_cache_dtype: KvCacheDType) {
    let requests = requests();
    let calm = Schedule::one_at_a_time(requests.len());
    let (expected, _) = run(&calm, &requests, dtype, kv_cache_dtype);
    let mut happened = Tally::default();
    for seed in asked_for().map_or_else(|| seeds(pair), |seed| vec![seed]) {
        let schedule = Schedule::random(seed, &requests);
        let (found, tally) = run(&schedule, &requests, dtype, kv_cache_dtype);
        happened += tally;
        assert_same(&found, &expected, &requests, || {
            format!("{dtype}, KV {kv_cache_dtype:?}, KVASIR_SCHEDULE_SEED={seed}, {schedule:?}")
        });
    }
    if asked_for().is_none() {
        println!("{happened:?}");
        assert_varied("a grammar", happened.with_grammar);
        assert_varied("penalties", happened.with_penalties);
    }
}

/// Guesses were right and wrong, and requests gave way.
fn assert_varied(what: &str, happened: Happened) {
    let Happened { num_draft_tokens, num_accepted_tokens, num_preemptions } = happened;
    let num_rejected = num_draft_tokens - num_accepted_tokens;
    let is_varied = num_accepted_tokens > 0 && num_rejected > 0 && num_preemptions > 0;
    assert!(is_varied, "with {what}: {happened:?}");
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
    ($($pair:literal $name:ident: $dtype:expr, $kv_cache_dtype:expr;)*) => {$(
        #[test]
        fn $name() {
            assert_independent($pair, $dtype, $kv_cache_dtype.into());
        }
    )*};
}

schedules! {
    1 float32_kv_float32: DType::F32, DType::F32;
    2 float32_kv_bfloat16: DType::F32, DType::BF16;
    3 float32_kv_float16: DType::F32, DType::F16;
    4 float32_kv_fp8_e4m3: DType::F32, KvCacheDType::Fp8E4m3;
    5 float32_kv_fp8_e5m2: DType::F32, KvCacheDType::Fp8E5m2;
    6 bfloat16_kv_float32: DType::BF16, DType::F32;
    7 bfloat16_kv_bfloat16: DType::BF16, DType::BF16;
    8 bfloat16_kv_float16: DType::BF16, DType::F16;
    9 bfloat16_kv_fp8_e4m3: DType::BF16, KvCacheDType::Fp8E4m3;
    10 bfloat16_kv_fp8_e5m2: DType::BF16, KvCacheDType::Fp8E5m2;
    11 float16_kv_float32: DType::F16, DType::F32;
    12 float16_kv_bfloat16: DType::F16, DType::BF16;
    13 float16_kv_float16: DType::F16, DType::F16;
    14 float16_kv_fp8_e4m3: DType::F16, KvCacheDType::Fp8E4m3;
    15 float16_kv_fp8_e5m2: DType::F16, KvCacheDType::Fp8E5m2;
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
