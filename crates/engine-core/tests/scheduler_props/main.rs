//! Properties of the scheduler under random loads, with pools small enough to preempt all the time.
//!
//! A shadow model watches every step: it keeps a true copy of each sequence and of each KV slot,
//! reads every scheduled row's context back through the block tables (`shadow`), checks the queues
//! and the pool (`queues`), and makes up the sampled tokens from what it read, so that a sequence's
//! output is right only if its context was. `faults` shows that the checks see what they are for.

mod driver;
mod faults;
mod queues;
mod shadow;

use driver::{Action, Load, Trace, run};
use engine_core::scheduler::SchedulerConfig;
use proptest::prelude::*;

/// Pools from one `max_model_len` sequence (constant preemption) to one without pressure.
fn configs() -> impl Strategy<Value = SchedulerConfig> {
    let sizes = (1usize..9, prop_oneof![1usize..12, 12usize..80], 2usize..48, 1usize..9);
    (sizes, 0usize..24).prop_map(
        |((max_num_seqs, max_num_batched_tokens, max_model_len, block_size), extra)| {
            SchedulerConfig {
                max_num_seqs,
                max_num_batched_tokens,
                max_model_len,
                block_size,
                num_blocks: max_model_len.div_ceil(block_size) + extra,
                enable_prefix_caching: false,
                ..SchedulerConfig::DEFAULT
            }
        },
    )
}

fn loads() -> impl Strategy<Value = Load> {
    (0usize..50, 0usize..40, 0usize..12, any::<bool>(), any::<u32>()).prop_map(
        |(prompt_len, max_tokens, min_tokens, ignore_eos, salt)| Load {
            prompt_len,
            max_tokens,
            min_tokens,
            ignore_eos,
            salt,
        },
    )
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        4 => loads().prop_map(Action::Add),
        12 => Just(Action::Step),
        1 => any::<usize>().prop_map(Action::Abort),
        1 => any::<usize>().prop_map(Action::AbortDuringStep),
        1 => Just(Action::FailedStep),
        1 => loads().prop_map(Action::AddDuringStep),
    ];
    prop::collection::vec(action, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    /// Invariants 1–9, 18–22 and 24–27 after every call, and the right output for each request.
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

    /// Invariant 28, for what the scheduler decides: the same requests give the same tokens under
    /// any budget, pool, block size and number of sequences.
    #[test]
    fn outputs_do_not_depend_on_the_schedule(
        config in configs(),
        other in configs(),
        loads in prop::collection::vec(loads(), 1..20),
    ) {
        let actions: Vec<Action> = loads.into_iter().map(Action::Add).collect();
        let other = SchedulerConfig {
            max_model_len: config.max_model_len,
            num_blocks: config.max_model_len.div_ceil(other.block_size)
                + other.num_blocks % 24,
            ..other
        };
        let (mut first, mut second) = (Trace::default(), Trace::default());
        run(config, &actions, &mut first).map_err(TestCaseError::fail)?;
        run(other, &actions, &mut second).map_err(TestCaseError::fail)?;
        prop_assert_eq!(first.outputs, second.outputs);
    }
}

/// The random loads must reach what they are for; a generator that never preempts proves nothing.
#[test]
fn a_tight_pool_chunks_batches_and_preempts() {
    let config = SchedulerConfig {
        max_num_seqs: 8,
        max_num_batched_tokens: 12,
        max_model_len: 40,
        block_size: 2,
        num_blocks: 24,
        enable_prefix_caching: false,
        ..SchedulerConfig::DEFAULT
    };
    let load =
        |salt| Load { prompt_len: 15, max_tokens: 24, min_tokens: 24, ignore_eos: true, salt };
    let actions: Vec<Action> = (0..20).map(|salt| Action::Add(load(salt))).collect();
    let mut trace = Trace::default();
    let stats = run(config, &actions, &mut trace).unwrap();
    assert!(stats.num_preemptions >= 15, "{stats:?}");
    assert!(stats.num_partial_prefills > 20, "{stats:?}");
    assert!(stats.num_mixed_steps > 20, "{stats:?}");
    assert!(stats.max_num_seqs_in_step >= 3, "{stats:?}");
    assert_eq!(trace.outputs.len(), 20);
    assert!(trace.outputs.values().all(|output| output.token_ids.len() == 24));
}
