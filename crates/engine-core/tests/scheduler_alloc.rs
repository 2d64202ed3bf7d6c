//! A step allocates nothing once batch and scheduler have grown to the load.

use engine_core::batch::Batch;
use engine_core::request::{Request, StopRules, TokenId};
use engine_core::scheduler::{Scheduler, SchedulerConfig};

fn request(prompt_len: u32, max_tokens: usize) -> Request {
    Request {
        prompt_token_ids: (0..prompt_len).map(TokenId).collect(),
        stop_rules: StopRules {
            max_tokens,
            min_tokens: 0,
            ignore_eos: false,
            eos_token_ids: vec![TokenId(2)],
            stop_token_ids: Vec::new(),
        },
    }
}

/// Allocations of one whole step, and its rows.
fn step(scheduler: &mut Scheduler, batch: &mut Batch, sampled: &[TokenId]) -> (u64, usize) {
    let mut num_rows = 0;
    let info = allocation_counter::measure(|| {
        let plan = scheduler.schedule(batch);
        let num_sampled = plan.iter().filter(|s| s.samples).count();
        num_rows = batch.num_tokens();
        scheduler.commit(&sampled[..num_sampled]).unwrap();
    });
    (info.count_total, num_rows)
}

#[test]
fn decodes_and_preemptions_allocate_nothing() {
    let config = SchedulerConfig {
        max_num_seqs: 32,
        max_num_batched_tokens: 64,
        max_model_len: 512,
        block_size: 16,
        // Enough for the prompts, too few for all the outputs: preemptions happen.
        num_blocks: 200,
    };
    let mut scheduler = Scheduler::new(config).unwrap();
    let mut batch = Batch::default();
    let sampled = vec![TokenId(9); config.max_num_seqs];
    for _ in 0..32 {
        scheduler.add(request(40, 400)).unwrap();
    }
    // Warm-up: until all run and then until the first of them has been preempted.
    while scheduler.running().len() < 32 {
        step(&mut scheduler, &mut batch, &sampled);
    }
    while scheduler.stats().num_preemptions == 0 {
        let (num_allocations, num_rows) = step(&mut scheduler, &mut batch, &sampled);
        assert_eq!(num_allocations, 0, "in a step of {num_rows} rows");
    }
    let (mut num_steps, mut num_rows) = (0, 0);
    while scheduler.stats().num_preemptions < 20 {
        let (num_allocations, rows) = step(&mut scheduler, &mut batch, &sampled);
        // Reporting the end of a sequence may.
        let num_ended = scheduler.drain_finished().count();
        assert!(num_allocations == 0 || num_ended > 0, "{num_allocations} in step {num_steps}");
        num_steps += 1;
        num_rows += rows;
    }
    assert!(scheduler.stats().num_preemptions > 5, "{:?}", scheduler.stats());
    assert!(num_steps > 100 && num_rows > 1000, "{num_steps} steps of {num_rows} rows");
}

#[test]
fn the_counter_sees_an_allocation() {
    let config = SchedulerConfig {
        max_num_seqs: 2,
        max_num_batched_tokens: 64,
        max_model_len: 64,
        block_size: 16,
        num_blocks: 8,
    };
    let mut scheduler = Scheduler::new(config).unwrap();
    scheduler.add(request(40, 4)).unwrap();
    let (num_allocations, num_rows) = step(&mut scheduler, &mut Batch::default(), &[TokenId(9)]);
    assert_eq!(num_rows, 40);
    assert!(num_allocations > 0, "a first step must make its memory");
}
