//! Scenarios from seeds.

use engine_core::limits::MAX_NUM_SPECULATIVE_TOKENS;
use engine_core::scheduler::{SchedulerConfig, SchedulingPolicy};
use engine_core::speculative::NgramConfig;

use super::clock::Timing;
use super::rng::Rng;
use super::scenario::{Load, Meanwhile, Op, Scenario, Step, StepEnd, World};

impl Scenario {
    /// The scenario that `seed` says.
    pub fn generate(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let world = world(&mut rng);
        let mut ops = ops(&mut rng, &world);
        // Half of the worlds have KV outside, and are otherwise what they would be.
        let mut rng = Rng::new(seed ^ 0x6b76_7469_6572);
        if rng.chance(50) {
            add_loads(&mut rng, &mut ops);
        }
        Scenario { world, ops }
    }

    /// As [`Scenario::generate`], in a world where no two tokens of different texts are the same:
    /// any token says what is before it.
    pub fn generate_distinct(seed: u64) -> Self {
        let mut scenario = Scenario::generate(seed);
        scenario.world.vocab_size = 1 << 30;
        scenario.world.config.enable_prefix_caching = true;
        scenario
    }
}

/// Pools from one `max_model_len` sequence (constant preemption) to one without pressure.
fn world(rng: &mut Rng) -> World {
    let is_small = rng.chance(85);
    let is_large = !is_small && rng.chance(15);
    // Many at once in a pool for few: they take each other's blocks all the time.
    let is_storm = rng.chance(30);
    let (max_model_len, block_size) = match is_small {
        true => (rng.between(2, 48), rng.between(1, 8)),
        false => (rng.between(64, if is_large { 1500 } else { 320 }), 16),
    };
    let max_num_batched_tokens = match rng.between(0, 2) {
        0 => rng.between(1, 12),
        _ if is_small => rng.between(12, 80),
        _ => rng.between(32, if is_large { 2048 } else { 256 }),
    };
    let num_spare_blocks = match rng.chance(60) {
        _ if is_storm => rng.between(0, 3),
        true => rng.between(0, 8),
        false => rng.between(8, if is_large { 300 } else { 40 }),
    };
    let num_blocks = max_model_len.div_ceil(block_size) + num_spare_blocks;
    let enable_chunked_prefill = rng.chance(85);
    let has_target = enable_chunked_prefill && rng.chance(30);
    let is_linear = rng.chance(50);
    let timing = Timing {
        base_us: rng.between(100, 1500) as u64,
        us_per_decode: rng.between(1, 60) as u64,
        us_per_extra_row: rng.between(1, 60) as u64,
        us_per_64_context: if is_linear { 0 } else { rng.between(0, 20) as u64 },
        has_delays: !is_linear,
        is_wild: !is_linear && rng.chance(10),
        us_per_block_copy: if rng.chance(50) { 1 } else { rng.between(1, 200) as u64 },
    };
    // From what cannot be met to what no prompt exceeds.
    let (num_decodes, num_rows) = (rng.between(0, 8), rng.between(0, max_model_len));
    let target_us = timing.step_us(num_decodes, num_rows, 0);
    let config = SchedulerConfig {
        max_num_seqs: match is_large {
            true => rng.between(8, 64),
            false => rng.between(if is_storm { 4 } else { 1 }, 9),
        },
        max_num_batched_tokens: if enable_chunked_prefill {
            max_num_batched_tokens
        } else {
            max_num_batched_tokens.max(max_model_len)
        },
        max_model_len,
        block_size,
        num_blocks,
        num_host_blocks: if rng.chance(50) { rng.between(1, 2 * num_blocks) } else { 0 },
        policy: if rng.chance(35) { SchedulingPolicy::Priority } else { SchedulingPolicy::Fcfs },
        enable_chunked_prefill,
        long_prefill_token_threshold: if enable_chunked_prefill && rng.chance(25) {
            rng.between(1, 20)
        } else {
            0
        },
        tpot_target_us: has_target.then_some(target_us),
        enable_prefix_caching: rng.chance(80),
        max_num_queued_reqs: rng.chance(10).then(|| rng.between(0, 8)),
        speculative: rng.chance(35).then(|| ngram(rng)),
        ..SchedulerConfig::DEFAULT
    };
    World { config, timing, vocab_size: 24, hashes_collide: false }
}

fn ngram(rng: &mut Rng) -> NgramConfig {
    let prompt_lookup_min = rng.between(1, 2);
    NgramConfig {
        num_speculative_tokens: rng.between(1, 6).min(MAX_NUM_SPECULATIVE_TOKENS),
        prompt_lookup_min,
        prompt_lookup_max: rng.between(prompt_lookup_min, 4),
    }
}

fn ops(rng: &mut Rng, world: &World) -> Vec<Op> {
    let num_ops = rng.between(30, 160);
    let mut ops = Vec::with_capacity(num_ops + 8);
    while ops.len() < num_ops {
        match rng.between(0, 99) {
            0..20 => add(rng, world, &mut ops),
            20..23 => ops.push(Op::Abort(rng.between(0, 30))),
            23 => ops.push(Op::ResetPrefixCache),
            _ => ops.push(Op::Step(step(rng, world))),
        }
    }
    ops
}

/// Offers and ends of loads among what happens anyway; in some worlds loads are slow.
fn add_loads(rng: &mut Rng, ops: &mut Vec<Op>) {
    let percent_ending = [8, 30, 60][rng.between(0, 2)];
    let mut with_loads = Vec::with_capacity(2 * ops.len());
    for mut op in ops.drain(..) {
        if rng.chance(60) {
            let (pick, to) = (rng.between(0, 30), rng.between(0, 120));
            let from = if rng.chance(50) { rng.between(0, to) } else { 0 };
            with_loads.push(Op::Offer(pick, [from as u8, to as u8]));
        }
        if rng.chance(percent_ending) {
            with_loads.push(Op::EndLoad(rng.between(0, 30), part(rng)));
        }
        if let Op::Step(step) = &mut op {
            for meanwhile in [&mut step.before_model, &mut step.after_model] {
                if meanwhile.is_none() && rng.chance(percent_ending / 4) {
                    *meanwhile = Some(Meanwhile::EndLoad(rng.between(0, 30), part(rng)));
                }
            }
        }
        with_loads.push(op);
    }
    *ops = with_loads;
}

/// How much of a load is loaded: all, none, or some.
fn part(rng: &mut Rng) -> u8 {
    match rng.between(0, 9) {
        0..5 => 100,
        5..7 => 0,
        _ => rng.between(1, 99) as u8,
    }
}

/// A request, or several of the same kind at once.
fn add(rng: &mut Rng, world: &World, ops: &mut Vec<Op>) {
    let first = load(rng, world);
    ops.push(Op::Add(first));
    if rng.chance(20) {
        for _ in 0..rng.between(1, 4) {
            let other = load(rng, world);
            let Load { seed, priority, .. } = other;
            let twin = Load { seed, priority, ..first };
            ops.push(Op::Add(if rng.chance(80) { twin } else { other }));
        }
    }
}

fn load(rng: &mut Rng, world: &World) -> Load {
    let max_model_len = world.config.max_model_len;
    let has_priority = world.config.policy == SchedulingPolicy::Priority || rng.chance(1);
    let longest = if rng.chance(5) { max_model_len + 3 } else { max_model_len - 1 };
    Load {
        doc: rng.between(0, 3) as u8,
        branch: rng.between(0, 2) as u8,
        branch_at: rng.between(0, max_model_len),
        prompt_len: match rng.between(0, 99) {
            0 => 0,
            1..10 => 1,
            _ => rng.between(1, longest),
        },
        max_tokens: if rng.chance(1) { 0 } else { rng.between(1, max_model_len.min(60)) },
        min_tokens: if rng.chance(50) { 0 } else { rng.between(0, 12) },
        ignore_eos: rng.chance(50),
        seed: rng.next() as u32,
        priority: if has_priority { rng.between(0, 4) as i32 - 2 } else { 0 },
        salt: if rng.chance(80) { 0 } else { rng.between(1, 2) as u8 },
        adapter: if rng.chance(90) { 0 } else { rng.between(1, 2) as u8 },
        skip_reading: rng.chance(8),
    }
}

fn step(rng: &mut Rng, world: &World) -> Step {
    let mut meanwhile = |percent| {
        let is_there = rng.chance(percent);
        is_there.then(|| match rng.chance(60) {
            true => Meanwhile::Abort(rng.between(0, 30)),
            false => Meanwhile::Add(load(rng, world)),
        })
    };
    let (before_model, after_model) = (meanwhile(2), meanwhile(5));
    Step {
        failing_copies: if rng.chance(20) {
            [Some(rng.between(0, 30)), rng.chance(40).then(|| rng.between(0, 30))]
        } else {
            [None; 2]
        },
        before_model,
        after_model,
        end: match rng.between(0, 99) {
            0..2 => StepEnd::Fail,
            2..6 => StepEnd::DropComputed,
            6..10 => StepEnd::DropUncomputed,
            _ => StepEnd::Commit,
        },
        delay: if world.timing.has_delays { rng.between(0, 60) as u8 } else { 0 },
    }
}
