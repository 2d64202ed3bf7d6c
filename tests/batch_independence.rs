//! What a request is answered does not depend on the others, on chunking, on block size or on
//! threads: token ids and log-probabilities are bit-equal, for each dtype and ISA path.

mod golden_model;

use std::num::NonZero;

use engine::{CpuIsa, DType, Llm};
use golden_model::{GoldenRow, answer, bits, golden_rows, is_long, smollm2};

/// A way to run the rows.
#[derive(Clone, Copy, Debug)]
struct Way {
    one_at_a_time: bool,
    max_num_batched_tokens: usize,
    block_size: usize,
    threads: usize,
}

const fn way(
    one_at_a_time: bool,
    max_num_batched_tokens: usize,
    block_size: usize,
    threads: usize,
) -> Way {
    Way { one_at_a_time, max_num_batched_tokens, block_size, threads }
}

/// Every pair of settings of any two knobs occurs.
const COVERING_WAYS: [Way; 9] = [
    way(false, 2048, 16, 2),
    way(true, 2048, 128, 1),
    way(true, 2048, 1, 2),
    way(false, 64, 1, 1),
    way(true, 64, 16, 2),
    way(false, 64, 128, 2),
    way(false, 7, 128, 2),
    way(true, 7, 16, 1),
    way(false, 7, 1, 1),
];

type Answers = Vec<(Vec<u32>, Vec<(u32, u32)>)>;

fn run(rows: &[GoldenRow], way: Way, dtype: DType, isa: CpuIsa) -> Answers {
    let mut llm = Llm::builder(smollm2())
        .dtype(dtype)
        .cpu_isa(isa)
        .max_num_batched_tokens(way.max_num_batched_tokens)
        .block_size(way.block_size)
        .threads(NonZero::new(way.threads).unwrap())
        .build()
        .unwrap();
    let answers = if way.one_at_a_time {
        rows.iter().map(|row| bits(&answer(&mut llm, std::slice::from_ref(row))[0])).collect()
    } else {
        answer(&mut llm, rows).iter().map(bits).collect()
    };
    let stats = llm.stats();
    let longest = rows.iter().map(|row| row.prompt_token_ids.len()).max().unwrap();
    let batched = stats.max_num_seqs_in_step;
    assert_eq!(batched == 1, way.one_at_a_time, "{way:?}: {stats:?}");
    let chunked = longest > way.max_num_batched_tokens;
    assert!(!chunked || stats.num_partial_prefills > 0, "{way:?}: {stats:?}");
    answers
}

/// The first `num_rows` golden rows, with as many tokens of answer as `max_tokens`.
fn short_rows(num_rows: usize, max_tokens: usize) -> Vec<GoldenRow> {
    let mut rows = golden_rows("smollm2-135m-greedy.json");
    rows.truncate(num_rows);
    rows.iter_mut().for_each(|row| row.output_token_ids.truncate(max_tokens));
    rows
}

fn assert_independent(rows: &[GoldenRow], ways: &[Way], dtype: DType, isa: CpuIsa) {
    if let Err(error) = isa.require() {
        return println!("skipped: {error}");
    }
    let expected = run(rows, ways[0], dtype, isa);
    for &way in &ways[1..] {
        let found = run(rows, way, dtype, isa);
        for (row_idx, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!(found == expected, "{dtype} {}, {way:?}: row {row_idx} differs", isa.name());
        }
    }
}

fn assert_short_rows_independent(dtype: DType, isa: CpuIsa) {
    let rows = match (is_long(), isa) {
        // All rows; of the portable path, which is many times slower, a third: bare prompts and chats.
        (true, CpuIsa::Portable) => short_rows(8, 8),
        (true, _) => short_rows(24, 48),
        (false, CpuIsa::Portable) => short_rows(2, 4),
        (false, _) => short_rows(8, 6),
    };
    assert_independent(&rows, &COVERING_WAYS, dtype, isa);
}

macro_rules! short_rows_tests {
    ($($name:ident: $dtype:expr, $isa:expr;)*) => {$(
        #[test]
        fn $name() {
            assert_short_rows_independent($dtype, $isa);
        }
    )*};
}

short_rows_tests! {
    float32_avx512: DType::F32, CpuIsa::Avx512;
    bfloat16_avx512: DType::BF16, CpuIsa::Avx512;
    float16_avx512: DType::F16, CpuIsa::Avx512;
    float32_avx2: DType::F32, CpuIsa::Avx2;
    bfloat16_avx2: DType::BF16, CpuIsa::Avx2;
    float16_avx2: DType::F16, CpuIsa::Avx2;
    float32_portable: DType::F32, CpuIsa::Portable;
    bfloat16_portable: DType::BF16, CpuIsa::Portable;
    float16_portable: DType::F16, CpuIsa::Portable;
}

/// Long prompts cross many KV tiles and, with other requests beside them, chunk at odd places.
#[test]
fn long_prompts() {
    let mut rows = golden_rows("smollm2-135m-long.json");
    rows.truncate(if is_long() { 3 } else { 2 });
    let mates = short_rows(5, 16);
    rows.extend(mates);
    let ways = [way(false, 2048, 16, 2), way(false, 64, 128, 2), way(true, 777, 16, 2)];
    let dtypes: &[DType] =
        if is_long() { &[DType::F32, DType::BF16, DType::F16] } else { &[DType::F32, DType::BF16] };
    for &dtype in dtypes {
        assert_independent(&rows, &ways, dtype, CpuIsa::detect());
    }
}
