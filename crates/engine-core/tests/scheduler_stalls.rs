//! What other engines hang or stall on, and this one must not: requests that can never be served,
//! queues that nobody serves, answers that stop while a long prompt is read, and sequences that take
//! each other's blocks for ever.

use std::collections::BTreeMap;

use engine_core::batch::Batch;
use engine_core::request::{FinishReason, Request, SeqId, StopRules, TokenId};
use engine_core::scheduler::{
    ConfigError, Refusal, SampledRuns, Scheduler, SchedulerConfig, SchedulingPolicy,
};

const CONFIG: SchedulerConfig = SchedulerConfig {
    max_num_seqs: 16,
    max_num_batched_tokens: 64,
    max_model_len: 128,
    num_blocks: 8,
    ..SchedulerConfig::DEFAULT
};

fn request(first: u32, prompt_len: usize, max_tokens: usize) -> Request {
    let stop_rules = StopRules {
        max_tokens,
        min_tokens: 0,
        ignore_eos: true,
        eos_token_ids: Vec::new(),
        stop_token_ids: Vec::new(),
    };
    let prompt = (0..prompt_len as u32).map(|i| TokenId(first + i));
    Request::new(prompt.collect(), stop_rules)
}

/// A step whose tokens are all 7, of `step_us` by its decodes and other rows; answers what it took
/// and who got a token.
fn step(
    scheduler: &mut Scheduler,
    batch: &mut Batch,
    step_us: impl Fn(usize, usize) -> u64,
) -> (u64, Vec<SeqId>) {
    let plan = scheduler.schedule(batch).to_vec();
    let sampling = plan.iter().filter(|part| part.samples);
    let num_decodes = sampling.clone().filter(|part| part.num_scheduled_tokens == 1).count();
    let us = step_us(num_decodes, batch.num_tokens() - num_decodes);
    let ids: Vec<SeqId> = sampling.map(|part| part.seq_id).collect();
    let sampled: SampledRuns = ids.iter().map(|_| TokenId(7)).collect();
    scheduler.commit(&sampled).unwrap();
    scheduler.observe_step(us);
    (us, ids)
}

/// vLLM #39734: a request below `max_model_len` that the pool cannot hold waits for ever, and
/// everyone behind it.
#[test]
fn what_the_pool_cannot_hold_is_refused_at_once() {
    // No pool is so small that it cannot hold what is taken.
    let error = Scheduler::new(SchedulerConfig { num_blocks: 7, ..CONFIG }).unwrap_err();
    assert!(matches!(error, ConfigError::PoolTooSmall { num_blocks_needed: 8, .. }), "{error}");
    let mut scheduler = Scheduler::new(CONFIG).unwrap();
    let refusal = scheduler.add(request(0, 128, 1)).unwrap_err();
    assert_eq!(refusal, Refusal::PromptTooLong { num_tokens: 128, max_model_len: 128 });
    // The longest that is taken ends, and so does one behind it.
    scheduler.add(request(0, 127, 1)).unwrap();
    scheduler.add(request(500, 100, 1000)).unwrap();
    let mut batch = Batch::default();
    for _ in 0..40 {
        step(&mut scheduler, &mut batch, |_, _| 0);
    }
    let reasons: Vec<_> = scheduler.drain_finished().map(|finished| finished.reason).collect();
    assert_eq!(reasons, [FinishReason::Length; 2]);
}

/// vLLM #45414: blocks that only the cache holds, or none that a waiting request can use, and
/// nothing runs. Here a full cache, priorities, swap and sharing come together.
#[test]
fn someone_runs_as_long_as_anyone_waits() {
    for (policy, num_host_blocks) in
        [(SchedulingPolicy::Fcfs, 0), (SchedulingPolicy::Fcfs, 8), (SchedulingPolicy::Priority, 8)]
    {
        let mut scheduler =
            Scheduler::new(SchedulerConfig { policy, num_host_blocks, ..CONFIG }).unwrap();
        let mut batch = Batch::default();
        for round in 0..30 {
            // Two of each text; each nearly fills the pool.
            let mut request = request(round / 2 * 200, 90 + 3 * round as usize % 30, 30);
            let is_fcfs = policy == SchedulingPolicy::Fcfs;
            request.priority = if is_fcfs { 0 } else { round as i32 * 7 % 5 };
            scheduler.add(request).unwrap();
        }
        let mut num_steps = 0;
        while scheduler.has_unfinished() {
            let (_, ids) = step(&mut scheduler, &mut batch, |_, _| 0);
            assert!(!scheduler.plan().is_empty() || batch.num_tokens() > 0, "nobody runs");
            assert!(batch.num_tokens() > 1 || !ids.is_empty(), "nobody gets further");
            num_steps += 1;
            assert!(num_steps < 30 * 40, "{} still wait", scheduler.waiting().len());
        }
        assert_eq!(scheduler.drain_finished().count(), 30);
    }
}

/// A step takes 5 ms, and for each sequence that decodes 0.1 ms, for each other row 0.02 ms.
fn model_us(num_decodes: usize, num_extra_rows: usize) -> u64 {
    (5_000 + 100 * num_decodes + 20 * num_extra_rows) as u64
}

/// Eight answers beside a prompt of 65,536 tokens: the steps that the prompt takes, and the longest
/// time between two tokens of an answer.
fn answers_beside_a_long_prompt(tpot_target_us: Option<u64>) -> (usize, u64) {
    let config = SchedulerConfig {
        max_num_seqs: 16,
        max_num_batched_tokens: 2048,
        max_model_len: 70_000,
        num_blocks: 8_000,
        tpot_target_us,
        ..SchedulerConfig::DEFAULT
    };
    let mut scheduler = Scheduler::new(config).unwrap();
    let mut batch = Batch::default();
    let answers: Vec<SeqId> =
        (0..8).map(|i| scheduler.add(request(1000 * i, 100, 5000)).unwrap()).collect();
    for _ in 0..3 {
        step(&mut scheduler, &mut batch, model_us);
    }
    let prompt = scheduler.add(request(100_000, 65_536, 1)).unwrap();
    let (mut num_steps, mut longest_us) = (0, 0);
    loop {
        let (us, ids) = step(&mut scheduler, &mut batch, model_us);
        num_steps += 1;
        longest_us = longest_us.max(us);
        let all_decode = answers.iter().all(|seq_id| ids.contains(seq_id));
        assert!(all_decode, "an answer stalls in step {num_steps}: {ids:?}");
        if ids.contains(&prompt) {
            return (num_steps, longest_us);
        }
    }
}

/// Answers that stop while a prompt of 64k tokens is read: 272 tokens per second, then 6.6.
#[test]
fn answers_keep_their_rate_beside_a_long_prompt() {
    let (num_steps, longest_us) = answers_beside_a_long_prompt(Some(20_000));
    assert!(longest_us <= 20_000, "{longest_us} µs between two tokens");
    // 20 ms have room for 710 rows: 93 steps, and some to find that out.
    assert!((93..=120).contains(&num_steps), "the prompt took {num_steps} steps");
    // Without a target the budget alone bounds a step, and no answer misses one either.
    let (num_steps, longest_us) = answers_beside_a_long_prompt(None);
    assert_eq!((num_steps, longest_us), (33, model_us(8, 2040)));
    // A target that decodes alone miss: a kv_block per step, no more.
    let (num_steps, longest_us) = answers_beside_a_long_prompt(Some(1_000));
    assert_eq!((num_steps, longest_us), (65_536 / 16, model_us(8, 16)));
}

/// Sequences that take each other's blocks: one comes back only after another has ended, so what is
/// computed twice is bounded by who ended meanwhile, however long the answers are.
#[test]
fn preemptions_do_not_go_round_in_circles() {
    // Room for all 32 prompts but a few, and for six sequences at their longest.
    let config = SchedulerConfig {
        max_num_seqs: 32,
        max_num_batched_tokens: 256,
        max_model_len: 512,
        num_blocks: 200,
        enable_prefix_caching: false,
        ..SchedulerConfig::DEFAULT
    };
    let mut scheduler = Scheduler::new(config).unwrap();
    let mut batch = Batch::default();
    for i in 0..32 {
        scheduler.add(request(1000 * i, 80, 400)).unwrap();
    }
    let mut num_ended = 0;
    // Of each sequence: its preemptions, and how many had ended at the last.
    let mut last: BTreeMap<SeqId, (u32, usize)> = BTreeMap::new();
    while scheduler.has_unfinished() {
        step(&mut scheduler, &mut batch, |_, _| 0);
        for seq in scheduler.waiting() {
            let num_preemptions = seq.stats().num_preemptions;
            let (num_before, num_ended_before) = last.entry(seq.seq_id()).or_default();
            if num_preemptions > *num_before {
                let is_first = *num_before == 0;
                let seq_id = seq.seq_id();
                assert!(
                    is_first || num_ended > *num_ended_before,
                    "{seq_id:?} came back for nothing"
                );
                (*num_before, *num_ended_before) = (num_preemptions, num_ended);
            }
        }
        num_ended += scheduler.drain_finished().count();
    }
    let num_again = scheduler.stats().num_scheduled_tokens - 32 * (80 + 400 - 1);
    println!("{} preemptions, {num_again} rows again", scheduler.stats().num_preemptions);
    let most = last.values().map(|(num_preemptions, _)| *num_preemptions).max();
    assert!(most >= Some(3), "{most:?}: no circle could have been seen");
}
