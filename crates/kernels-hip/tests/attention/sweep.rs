//! Where kernels break: lengths around every border, every format, ratio of heads and block size, each pair of them
//! together once; and kv_blocks and offsets past 16, 31 and 32 bits.

use std::collections::BTreeSet;
use std::env;

use engine_core::dtype::DType;
use engine_core::formats::Fp8Format;
use engine_core::kv_dtype::KvDType;
use reference_cpu::inputs::Rng;

use crate::bench::{Fixture, Problem};
use crate::features::{FIXTURES, FORMATS};
use crate::support::device;
use crate::variants::check_all;

/// Values of each parameter, by index.
const CONTEXTS: [usize; 24] = [
    1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 240, 241, 249, 255, 256, 257, 511,
    512, 513, 600,
];
const QUERY_LENS: [usize; 5] = [0, 1, 2, 5, 8];
const BLOCK_SIZES: [usize; 6] = [16, 24, 32, 64, 128, 256];
const HEADS: [(usize, usize); 6] = [(5, 1), (9, 3), (28, 4), (40, 8), (64, 8), (2, 2)];
const HEAD_DIMS: [usize; 6] = [64, 96, 128, 192, 256, 80];
const NUM_FEATURE_SETS: usize = 7;
const NUM_VALUES: [usize; 8] = [
    CONTEXTS.len(),
    QUERY_LENS.len(),
    BLOCK_SIZES.len(),
    HEADS.len(),
    HEAD_DIMS.len(),
    FORMATS.len(),
    FIXTURES.len(),
    NUM_FEATURE_SETS,
];

/// The problem of a choice of values; beside its sequence an empty one, and one of a token.
fn problem(choice: [usize; 8], seed: u64) -> Problem {
    let [context, query_len, block_size, heads, head_dim, format, fixture, features] = choice;
    let (q_dtype, kv_dtype) = FORMATS[format];
    let (num_qo_heads, num_kv_heads) = HEADS[heads];
    let len = CONTEXTS[context];
    let mut problem = Problem {
        q_dtype,
        kv_dtype,
        num_qo_heads,
        num_kv_heads,
        head_dim: HEAD_DIMS[head_dim],
        block_size: BLOCK_SIZES[block_size],
        fixture: FIXTURES[fixture],
        seed,
        ..Problem::new(&[(0, 0), (QUERY_LENS[query_len].min(len), len), (1, 1)])
    };
    let is_exact = problem.fixture == Fixture::Fingerprint;
    let all = features == NUM_FEATURE_SETS - 1;
    problem.window = match features {
        1 => Some(1),
        2 => Some(65),
        _ if all => Some(100),
        _ => None,
    };
    // What moves logits or takes weight would blur a fingerprint.
    problem.soft_cap = ((features == 3 || all) && !is_exact).then_some(4.0);
    problem.alibi = (features == 4 || all) && !is_exact;
    problem.sinks = (features == 5 || all) && !is_exact;
    problem.token_scales = (features == 3 || all) && kv_dtype.fp8().is_some();
    problem
}

/// Choices in which every two values of two parameters meet: each time the best of some random ones.
fn pairwise(rng: &mut Rng) -> Vec<[usize; 8]> {
    let mut missing = BTreeSet::new();
    for (a, &num_a) in NUM_VALUES.iter().enumerate() {
        for (b, &num_b) in NUM_VALUES.iter().enumerate().skip(a + 1) {
            for x in 0..num_a {
                missing.extend((0..num_b).map(|y| (a, x, b, y)));
            }
        }
    }
    let mut choices = Vec::new();
    while let Some(&(a, x, b, y)) = missing.first() {
        let met = |choice: &[usize; 8]| {
            missing.iter().filter(|(a, x, b, y)| choice[*a] == *x && choice[*b] == *y).count()
        };
        let candidates: Vec<[usize; 8]> = (0..12)
            .map(|_| {
                let mut choice = NUM_VALUES.map(|num| rng.below(num));
                (choice[a], choice[b]) = (x, y);
                choice
            })
            .collect();
        let best = candidates.into_iter().max_by_key(met).unwrap();
        missing.retain(|(a, x, b, y)| best[*a] != *x || best[*b] != *y);
        choices.push(best);
    }
    choices
}

/// `KVASIR_LONG=1`.
fn is_long() -> bool {
    env::var_os("KVASIR_LONG").is_some_and(|value| value == "1")
}

#[test]
fn every_pair_of_values_meets() {
    let Some((device, stream)) = device() else { return };
    let num_seeds = if is_long() { 20 } else { 1 };
    for seed in 0..num_seeds {
        for (idx, choice) in pairwise(&mut Rng::new(seed)).into_iter().enumerate() {
            let problem = problem(choice, seed << 32 | idx as u64);
            assert!(check_all((&device, &stream), &problem) > 0, "{problem:?}");
        }
    }
}

#[test]
fn long_contexts() {
    let Some((device, stream)) = device() else { return };
    let contexts = [2047, 2048, 2049, 4090, 16_383, 16_384, 16_385];
    for (idx, len) in contexts.into_iter().enumerate() {
        let (q_dtype, kv_dtype) = FORMATS[idx % FORMATS.len()];
        let problem = Problem {
            q_dtype,
            kv_dtype,
            num_qo_heads: 3,
            num_kv_heads: 1,
            block_size: BLOCK_SIZES[idx % BLOCK_SIZES.len()],
            fixture: FIXTURES[idx % FIXTURES.len()],
            ..Problem::new(&[(1 + idx % 2, len)])
        };
        assert!(check_all((&device, &stream), &problem) > 0);
    }
    let longest: &[usize] = if is_long() { &[131_071, 131_072, 131_073] } else { &[131_073] };
    for &len in longest {
        let fixture = Fixture::Needle;
        let problem =
            Problem { num_qo_heads: 1, num_kv_heads: 1, fixture, ..Problem::new(&[(1, len)]) };
        assert!(check_all((&device, &stream), &problem) > 0);
    }
}

#[test]
fn far_blocks() {
    let Some((device, stream)) = device() else { return };
    let fp8 = KvDType::Fp8(Fp8Format::E5m2Fnuz);
    for (kv_dtype, block_size, num_kv_heads) in
        [(KvDType::Float(DType::BF16), 16, 1), (fp8, 64, 2), (KvDType::Float(DType::BF16), 256, 4)]
    {
        let near = Problem {
            kv_dtype,
            block_size,
            num_kv_heads,
            fixture: Fixture::Fingerprint,
            ..Problem::new(&[(1, 3 * block_size), (2, 5)])
        };
        let block_bytes = near.layout().pool_bytes(1).unwrap();
        for first in [65_535, (1 << 31) / block_bytes - 1, (1 << 32) / block_bytes - 1] {
            let problem = Problem { first_block: Some(first), ..near.clone() };
            assert!(check_all((&device, &stream), &problem) > 0);
        }
    }
}
