//! Properties of the scheduler under random loads, with pools small enough to preempt all the time.
//!
//! A shadow model watches every step: it keeps a true copy of each sequence and of each KV slot,
//! reads every scheduled row's context back through the block tables (`shadow`), checks the queues
//! and the pool (`queues`), and makes up the sampled tokens from what it read, so that a sequence's
//! output is right only if its context was. `faults` shows that the checks see what they are for.

mod changes;
mod driver;
mod faults;
mod load;
mod queues;
mod shadow;

use driver::{Trace, run};
use engine_core::scheduler::{SchedulerConfig, SchedulerStats, SchedulingPolicy};
use engine_core::speculative::NgramConfig;
use load::{Action, Load};
use proptest::prelude::*;

/// Bounds from one `max_model_len` sequence (constant preemption) to pools without pressure.
fn sizes() -> impl Strategy<Value = SchedulerConfig> {
    let sizes = (1usize..9, prop_oneof![1usize..12, 12usize..80], 2usize..48, 1usize..9);
    (sizes, 0usize..24).prop_map(
        |((max_num_seqs, max_num_batched_tokens, max_model_len, block_size), extra)| {
            SchedulerConfig {
                max_num_seqs,
                max_num_batched_tokens,
                max_model_len,
                block_size,
                num_blocks: max_model_len.div_ceil(block_size) + extra,
                ..SchedulerConfig::DEFAULT
            }
        },
    )
}

/// Every option, on or off.
fn configs() -> impl Strategy<Value = SchedulerConfig> {
    let ngram = (1usize..6, 1usize..3, 0usize..2).prop_map(|(num, min, more)| NgramConfig {
        num_speculative_tokens: num,
        prompt_lookup_min: min,
        prompt_lookup_max: min + more,
    });
    let chunks = prop_oneof![
        3 => Just((true, 0, None)),
        1 => (1usize..20).prop_map(|threshold| (true, threshold, None)),
        1 => (0u64..2000).prop_map(|target_us| (true, 0, Some(target_us))),
        1 => Just((false, 0, None)),
    ];
    let options = (
        any::<bool>(),
        any::<bool>(),
        prop_oneof![Just(0usize), 1usize..40],
        prop::option::weighted(0.5, ngram),
        prop::option::weighted(0.1, 0usize..6),
        chunks,
    );
    (sizes(), options).prop_map(
        |(sizes, (is_fcfs, caches, num_host_blocks, speculative, queue, chunks))| {
            let (enable_chunked_prefill, long_prefill_token_threshold, tpot_target_us) = chunks;
            let least = if enable_chunked_prefill { 1 } else { sizes.max_model_len };
            SchedulerConfig {
                max_num_batched_tokens: sizes.max_num_batched_tokens.max(least),
                policy: if is_fcfs { SchedulingPolicy::Fcfs } else { SchedulingPolicy::Priority },
                enable_prefix_caching: caches,
                num_host_blocks,
                speculative,
                max_num_queued_reqs: queue,
                enable_chunked_prefill,
                long_prefill_token_threshold,
                tpot_target_us,
                ..sizes
            }
        },
    )
}

fn loads() -> impl Strategy<Value = Load> {
    let prompt = (0usize..50, 0usize..50, 0u32..3, any::<u32>());
    let stops = (0usize..40, 0usize..12, any::<bool>());
    let tenant = prop_oneof![4 => Just(0u64), 1 => 1u64..4];
    let rest = (prop_oneof![2 => Just(0i32), 1 => -2i32..3], tenant, prop::bool::weighted(0.1));
    (prompt, stops, rest).prop_map(
        |((prompt_len, shared_len, document, salt), (max_tokens, min_tokens, ignore_eos), rest)| {
            let (priority, tenant, skips_cache) = rest;
            Load {
                prompt_len,
                shared_len,
                document,
                max_tokens,
                min_tokens,
                ignore_eos,
                priority,
                tenant,
                skips_cache,
                salt,
            }
        },
    )
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        5 => loads().prop_map(Action::Add),
        14 => any::<u16>().prop_map(Action::Step),
        1 => any::<usize>().prop_map(Action::Abort),
        1 => any::<usize>().prop_map(Action::AbortDuringStep),
        1 => Just(Action::DroppedStep),
        1 => Just(Action::FailedStep),
        2 => any::<u8>().prop_map(Action::FailedSwaps),
        1 => loads().prop_map(Action::AddDuringStep),
        1 => Just(Action::ResetPrefixCache),
    ];
    prop::collection::vec(action, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    /// Invariants 1–16, 18–25 and 27 after every call, and the right output for each request.
    #[test]
    fn every_invariant_holds_after_every_call(config in configs(), actions in actions()) {
        run(config, &actions, &mut Trace::default()).map_err(TestCaseError::fail)?;
    }

    /// Invariant 32: the same trace gives the same batches, byte for byte.
    #[test]
    fn the_same_trace_gives_the_same_batches(config in configs(), actions in actions()) {
        let (mut first, mut second) = (Trace::default(), Trace::default());
        run(config, &actions, &mut first).map_err(TestCaseError::fail)?;
        run(config, &actions, &mut second).map_err(TestCaseError::fail)?;
        prop_assert_eq!(first, second);
    }

    /// Invariants 17 and 28, for what the scheduler decides: the same requests give the same tokens
    /// under any bounds and options.
    #[test]
    fn outputs_do_not_depend_on_the_schedule(
        config in configs(),
        other in configs(),
        loads in prop::collection::vec(loads(), 1..20),
    ) {
        let config = SchedulerConfig { max_num_queued_reqs: None, ..config };
        let actions: Vec<Action> =
            loads.into_iter().map(|load| Action::Add(Load { priority: 0, ..load })).collect();
        let max_model_len = config.max_model_len;
        let other = SchedulerConfig {
            max_model_len,
            num_blocks: max_model_len.div_ceil(other.block_size) + other.num_blocks % 24,
            max_num_batched_tokens: other.max_num_batched_tokens.max(max_model_len),
            max_num_queued_reqs: None,
            ..other
        };
        let (mut first, mut second) = (Trace::default(), Trace::default());
        run(config, &actions, &mut first).map_err(TestCaseError::fail)?;
        run(other, &actions, &mut second).map_err(TestCaseError::fail)?;
        prop_assert_eq!(first.outputs, second.outputs);
    }
}

const TIGHT: SchedulerConfig = SchedulerConfig {
    max_num_seqs: 8,
    max_num_batched_tokens: 12,
    max_model_len: 40,
    block_size: 2,
    num_blocks: 24,
    ..SchedulerConfig::DEFAULT
};

/// Twenty requests of 15 + 24 tokens.
fn run_twenty(config: SchedulerConfig, shared_len: usize) -> SchedulerStats {
    let load = |salt| Load {
        prompt_len: 15,
        shared_len,
        max_tokens: 24,
        min_tokens: 24,
        ignore_eos: true,
        salt,
        ..Load::default()
    };
    let actions: Vec<Action> = (0..20).map(|salt| Action::Add(load(salt))).collect();
    let mut trace = Trace::default();
    let stats = run(config, &actions, &mut trace).unwrap();
    assert_eq!(trace.outputs.len(), 20);
    assert!(trace.outputs.values().all(|output| output.token_ids.len() == 24));
    stats
}

/// The random loads must reach what they are for; a generator that never preempts proves nothing.
#[test]
fn a_tight_pool_chunks_batches_and_preempts() {
    let stats = run_twenty(SchedulerConfig { enable_prefix_caching: false, ..TIGHT }, 0);
    assert!(stats.num_preemptions >= 15, "{stats:?}");
    assert!(stats.num_partial_prefills > 20, "{stats:?}");
    assert!(stats.num_mixed_steps > 20, "{stats:?}");
    assert!(stats.max_num_seqs_in_step >= 3, "{stats:?}");
}

#[test]
fn a_tight_pool_shares_swaps_and_guesses() {
    let ngram =
        NgramConfig { num_speculative_tokens: 3, prompt_lookup_min: 1, prompt_lookup_max: 2 };
    let stats =
        run_twenty(SchedulerConfig { num_host_blocks: 40, speculative: Some(ngram), ..TIGHT }, 10);
    assert!(stats.num_set_asides > 5, "{stats:?}");
    assert!(stats.num_prefix_hit_tokens > 100, "{stats:?}");
    assert!(stats.num_evicted_blocks > 20, "{stats:?}");
    assert!(stats.num_swaps_out > 5 && stats.num_swaps_in > 5, "{stats:?}");
    assert!(stats.num_accepted_tokens > 20, "{stats:?}");
    assert!(stats.num_accepted_tokens < stats.num_draft_tokens, "{stats:?}");
}
