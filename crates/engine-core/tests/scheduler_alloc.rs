//! A step allocates nothing once batch and scheduler have grown to the load.

use engine_core::batch::Batch;
use engine_core::request::{Request, StopRules, TokenId};
use engine_core::scheduler::{SampledRuns, Scheduler, SchedulerConfig, SchedulerStats};
use engine_core::speculative::NgramConfig;

fn request(salt: u32, prompt_len: u32, max_tokens: usize) -> Request {
    let stop_rules = StopRules {
        max_tokens,
        min_tokens: 0,
        ignore_eos: false,
        eos_token_ids: vec![TokenId(2)],
        stop_token_ids: Vec::new(),
    };
    Request::new((0..prompt_len).map(|i| TokenId(100 * salt + i)).collect(), stop_rules)
}

/// A step's tokens are all 9, and so are the guesses that come true.
fn sample(scheduler: &Scheduler, sampled: &mut SampledRuns) {
    sampled.clear();
    for scheduled in scheduler.plan().iter().filter(|scheduled| scheduled.samples) {
        let seq = scheduler.sequence(scheduled.seq_id).unwrap();
        let is_right = |&token_id: &TokenId| token_id == NINES[0];
        let num_right = seq.draft_token_ids().iter().copied().take_while(is_right).count();
        sampled.push(&NINES[..=num_right]);
    }
}

/// Allocations of one whole step, and its rows.
fn step(scheduler: &mut Scheduler, batch: &mut Batch, sampled: &mut SampledRuns) -> (u64, usize) {
    let info = allocation_counter::measure(|| {
        scheduler.schedule(batch);
    });
    sample(scheduler, sampled);
    let commit = allocation_counter::measure(|| {
        scheduler.commit(sampled).unwrap();
        scheduler.observe_step(10 * batch.num_tokens() as u64);
    });
    (info.count_total + commit.count_total, batch.num_tokens())
}

/// Steps that admit nobody, until 20 preemptions are over; the scheduler's counters then.
fn run(config: SchedulerConfig) -> SchedulerStats {
    let mut scheduler = Scheduler::new(config).unwrap();
    let (mut batch, mut sampled) = (Batch::default(), SampledRuns::default());
    for salt in 0..32 {
        scheduler.add(request(salt, 40, 400)).unwrap();
    }
    // Warm-up: until all run.
    while scheduler.running().len() < 32 {
        step(&mut scheduler, &mut batch, &mut sampled);
    }
    let (mut num_steps, mut num_rows) = (0, 0);
    while scheduler.stats().num_preemptions < 20 {
        let is_first = scheduler.stats().num_preemptions == 0;
        let num_waiting = scheduler.waiting().len();
        let (num_allocations, rows) = step(&mut scheduler, &mut batch, &mut sampled);
        // Reporting the end of a sequence may, and so may an admission.
        let may = scheduler.drain_finished().count() > 0 || scheduler.waiting().len() < num_waiting;
        assert!(
            num_allocations == 0 || (may && !is_first),
            "{num_allocations} in step {num_steps}"
        );
        num_steps += 1;
        num_rows += rows;
    }
    assert!(num_steps > 30 && num_rows > 1000, "{num_steps} steps of {num_rows} rows");
    scheduler.stats()
}

const NINES: [TokenId; 9] = [TokenId(9); 9];

const CONFIG: SchedulerConfig = SchedulerConfig {
    max_num_seqs: 32,
    max_num_batched_tokens: 64,
    max_model_len: 512,
    // Enough for the prompts, too few for all the outputs: preemptions happen.
    num_blocks: 200,
    ..SchedulerConfig::DEFAULT
};

#[test]
fn decodes_and_preemptions_allocate_nothing() {
    let stats = run(CONFIG);
    assert!(stats.num_published_blocks > 200 && stats.num_evicted_blocks > 20, "{stats:?}");
}

#[test]
fn swaps_allocate_nothing() {
    let config = SchedulerConfig { num_host_blocks: 500, enable_prefix_caching: false, ..CONFIG };
    let stats = run(config);
    assert!(stats.num_swaps_out == stats.num_preemptions, "{stats:?}");
}

#[test]
fn guesses_allocate_nothing() {
    let speculative =
        NgramConfig { num_speculative_tokens: 4, prompt_lookup_min: 1, prompt_lookup_max: 2 };
    let stats = run(SchedulerConfig { speculative: Some(speculative), ..CONFIG });
    assert!(stats.num_accepted_tokens > 1000, "{stats:?}");
}

#[test]
fn the_counter_sees_an_allocation() {
    let mut scheduler = Scheduler::new(CONFIG).unwrap();
    scheduler.add(request(0, 40, 4)).unwrap();
    let (mut batch, mut sampled) = (Batch::default(), SampledRuns::default());
    let (num_allocations, num_rows) = step(&mut scheduler, &mut batch, &mut sampled);
    assert_eq!(num_rows, 40);
    assert!(num_allocations > 0, "a first step must make its memory");
}
