//! Schedules worked out by hand, step by step.

use engine_core::batch::Batch;
use engine_core::request::{FinishReason, Request, SamplingParams, SeqId, StopRules, TokenId};
use engine_core::scheduler::{ConfigError, Refusal, SampledRuns, Scheduler, SchedulerConfig};

fn request(prompt_len: usize, max_tokens: usize) -> Request {
    let params = SamplingParams { max_tokens, ignore_eos: true, ..SamplingParams::default() };
    let prompt_token_ids = (0..prompt_len as u32).map(|i| TokenId(100 + i)).collect();
    Request::new(prompt_token_ids, StopRules::new(&params, &[]))
}

fn scheduler(max_num_seqs: usize, max_num_batched_tokens: usize, num_blocks: usize) -> Scheduler {
    let config = SchedulerConfig {
        max_num_seqs,
        max_num_batched_tokens,
        max_model_len: 16,
        block_size: 4,
        num_blocks,
        enable_prefix_caching: false,
        ..SchedulerConfig::DEFAULT
    };
    Scheduler::new(config).unwrap()
}

fn sevens(num_runs: usize) -> SampledRuns {
    std::iter::repeat_n(TokenId(7), num_runs).collect()
}

/// One step: `(sequence, first position, rows)` of each part. All sampled tokens are 7.
fn step(scheduler: &mut Scheduler, batch: &mut Batch) -> Vec<(u64, usize, usize)> {
    let plan = scheduler.schedule(batch);
    let parts = plan.iter().map(|s| (s.seq_id.0, s.num_computed_tokens, s.num_scheduled_tokens));
    let parts = parts.collect();
    let num_sampled = plan.iter().filter(|s| s.samples).count();
    scheduler.commit(&sevens(num_sampled)).unwrap();
    parts
}

#[test]
fn a_long_prompt_is_chunked_beside_decodes() {
    let mut scheduler = scheduler(4, 6, 16);
    let mut batch = Batch::default();
    scheduler.add(request(3, 5)).unwrap();
    scheduler.add(request(12, 2)).unwrap();
    scheduler.add(request(1, 1)).unwrap();
    // Budget 6: the first prompt whole, three rows of the second, none left for the third.
    assert_eq!(step(&mut scheduler, &mut batch), [(0, 0, 3), (1, 0, 3)]);
    // The decode goes first, the second prompt takes the rest.
    assert_eq!(step(&mut scheduler, &mut batch), [(0, 3, 1), (1, 3, 5)]);
    assert_eq!(step(&mut scheduler, &mut batch), [(0, 4, 1), (1, 8, 4), (2, 0, 1)]);
    // The third has ended with its only token; the second decodes.
    assert_eq!(step(&mut scheduler, &mut batch), [(0, 5, 1), (1, 12, 1)]);
    assert_eq!(step(&mut scheduler, &mut batch), [(0, 6, 1)]);
    assert_eq!(step(&mut scheduler, &mut batch), []);

    let stats = scheduler.stats();
    assert_eq!((stats.num_steps, stats.num_scheduled_tokens), (5, 21));
    assert_eq!((stats.num_mixed_steps, stats.max_num_seqs_in_step), (2, 3));
    assert_eq!((stats.num_partial_prefills, stats.num_preemptions), (2, 0));
    let finished: Vec<_> = scheduler
        .drain_finished()
        .map(|f| (f.sequence.seq_id().0, f.reason, f.sequence.stats()))
        .collect();
    let ids: Vec<u64> = finished.iter().map(|f| f.0).collect();
    assert_eq!(ids, [2, 1, 0]);
    assert!(finished.iter().all(|f| f.1 == FinishReason::Length));
    let chunks: Vec<u32> = finished.iter().map(|f| f.2.num_prefill_chunks).collect();
    assert_eq!(chunks, [1, 3, 1]);
    let blocks: Vec<u32> = finished.iter().map(|f| f.2.peak_num_blocks).collect();
    assert_eq!(blocks, [1, 4, 2]);
}

#[test]
fn the_last_arrival_is_preempted_and_computed_again_first() {
    // Four blocks of four tokens: one whole sequence, so two compete.
    let mut scheduler = scheduler(4, 16, 4);
    let mut batch = Batch::default();
    for _ in 0..3 {
        scheduler.add(request(7, 6)).unwrap();
    }
    // Two blocks each: the third has none.
    assert_eq!(step(&mut scheduler, &mut batch), [(0, 0, 7), (1, 0, 7)]);
    assert_eq!(step(&mut scheduler, &mut batch), [(0, 7, 1), (1, 7, 1)]);
    // Position 8 needs a third block: sequence 1 gives its two back, and nobody is admitted.
    assert_eq!(step(&mut scheduler, &mut batch), [(0, 8, 1)]);
    let waiting: Vec<u64> = scheduler.waiting().map(|seq| seq.seq_id().0).collect();
    assert_eq!(waiting, [1, 2]);
    // One block is free; sequence 1 has nine tokens and needs three.
    for position in 9..12 {
        assert_eq!(step(&mut scheduler, &mut batch), [(0, position, 1)]);
    }
    // Sequence 0 is done. Sequence 1 computes prompt and output again, from position 0 on, and
    // sequence 2 finds too few blocks.
    let plan = scheduler.schedule(&mut batch).to_vec();
    assert_eq!(plan.len(), 1);
    assert_eq!((plan[0].seq_id, plan[0].positions()), (SeqId(1), 0..9));
    assert_eq!((plan[0].is_prefill, plan[0].is_first, plan[0].samples), (true, false, true));
    // Eight tokens had been computed, all of the prompt among them.
    assert_eq!(plan[0].first_new_position, 8);
    assert_eq!(plan[0].new_prompt_positions(), 8..8);
    assert_eq!(plan[0].num_output_tokens(), 2);
    assert_eq!(batch.token_ids, [100, 101, 102, 103, 104, 105, 106, 7, 7]);
    scheduler.commit(&sevens(1)).unwrap();

    while scheduler.has_unfinished() {
        assert!(!step(&mut scheduler, &mut batch).is_empty());
    }
    let preemptions: Vec<_> = scheduler
        .drain_finished()
        .map(|f| (f.sequence.seq_id().0, f.sequence.stats().num_preemptions))
        .collect();
    assert_eq!(preemptions, [(0, 0), (1, 1), (2, 0)]);
    assert_eq!(scheduler.stats().num_preemptions, 1);
    assert_eq!((scheduler.block_pool().num_used(), scheduler.block_pool().peak_used()), (0, 4));
}

#[test]
fn the_batch_says_where_every_row_goes() {
    let mut scheduler = scheduler(4, 8, 8);
    let mut batch = Batch::default();
    scheduler.add(request(5, 3)).unwrap();
    scheduler.add(request(6, 3)).unwrap();
    step(&mut scheduler, &mut batch);
    let plan = scheduler.schedule(&mut batch);
    assert!(plan[0].samples && !plan[0].is_prefill && plan[1].samples && plan[1].is_prefill);
    let expected = Batch {
        token_ids: vec![7, 103, 104, 105],
        positions: vec![5, 3, 4, 5],
        // Sequence 0 has blocks 0 and 1, sequence 1 has 2 and now 3.
        slot_mapping: vec![5, 11, 12, 13],
        cu_seqlens_q: vec![0, 1, 4],
        seq_lens: vec![6, 6],
        block_tables: vec![0, 1, 2, 3],
        max_num_blocks: 2,
    };
    assert_eq!(batch, expected);
}

#[test]
fn tables_of_unequal_length_are_padded() {
    let mut scheduler = scheduler(4, 16, 8);
    let mut batch = Batch::default();
    scheduler.add(request(2, 1)).unwrap();
    scheduler.add(request(9, 1)).unwrap();
    scheduler.schedule(&mut batch);
    assert_eq!(batch.max_num_blocks, 3);
    assert_eq!(batch.block_tables[0], 0);
    assert_eq!(batch.block_table(1), [1, 2, 3]);
}

#[test]
fn prompt_positions_of_chunks_join_up() {
    let mut scheduler = scheduler(4, 4, 8);
    let mut batch = Batch::default();
    scheduler.add(request(10, 2)).unwrap();
    let mut positions = Vec::new();
    while scheduler.has_unfinished() {
        let plan = scheduler.schedule(&mut batch).to_vec();
        positions.extend(plan[0].new_prompt_positions());
        scheduler.commit(&sevens(usize::from(plan[0].samples))).unwrap();
    }
    // The row at p predicts the prompt's token p + 1, so the last is 8; each comes once.
    assert_eq!(positions, (0..9).collect::<Vec<_>>());
}

#[test]
fn a_sequence_may_fill_max_model_len_exactly() {
    let mut scheduler = scheduler(1, 16, 4);
    let mut batch = Batch::default();
    scheduler.add(request(15, 100)).unwrap();
    assert_eq!(step(&mut scheduler, &mut batch), [(0, 0, 15)]);
    let finished: Vec<_> = scheduler.drain_finished().collect();
    assert_eq!((finished[0].reason, finished[0].sequence.num_tokens()), (FinishReason::Length, 16));
    assert_eq!(
        scheduler.add(request(16, 1)),
        Err(Refusal::PromptTooLong { num_tokens: 16, max_model_len: 16 })
    );
    assert_eq!(scheduler.add(request(0, 1)), Err(Refusal::EmptyPrompt));
    assert_eq!(scheduler.add(request(1, 0)), Err(Refusal::ZeroMaxTokens));
    assert!(!scheduler.has_unfinished());
}

#[test]
fn a_stop_text_ends_a_sequence_between_steps() {
    let mut scheduler = scheduler(2, 16, 8);
    let mut batch = Batch::default();
    let seq_id = scheduler.add(request(4, 9)).unwrap();
    step(&mut scheduler, &mut batch);
    assert!(scheduler.finish(seq_id, FinishReason::Stop));
    assert!(!scheduler.finish(seq_id, FinishReason::Abort));
    let finished: Vec<_> = scheduler.drain_finished().collect();
    assert_eq!(finished.len(), 1);
    assert_eq!((finished[0].reason, finished[0].stop_token_id), (FinishReason::Stop, None));
    assert_eq!(finished[0].sequence.output_token_ids(), [TokenId(7)]);
    assert_eq!(scheduler.drain_finished().count(), 0);
    assert_eq!(scheduler.block_pool().num_used(), 0);
}

#[test]
fn bounds_that_break_a_promise_are_refused() {
    let good = SchedulerConfig {
        max_num_seqs: 4,
        max_num_batched_tokens: 8,
        max_model_len: 33,
        block_size: 16,
        num_blocks: 3,
        ..SchedulerConfig::DEFAULT
    };
    assert!(Scheduler::new(good).is_ok());
    let error = Scheduler::new(SchedulerConfig { num_blocks: 2, ..good }).unwrap_err();
    assert_eq!(
        error,
        ConfigError::PoolTooSmall {
            num_blocks: 2,
            num_blocks_needed: 3,
            max_model_len: 33,
            num_tokens: 32
        }
    );
    assert_eq!(
        error.to_string(),
        "the KV cache has 2 blocks, but one sequence of max_model_len 33 needs 3; lower \
         max_model_len to 32 or give the KV cache more memory"
    );
    let name = |config| match Scheduler::new(config).unwrap_err() {
        ConfigError::OutOfRange { name, .. } => name,
        error => panic!("{error}"),
    };
    assert_eq!(name(SchedulerConfig { max_num_seqs: 0, ..good }), "max_num_seqs");
    assert_eq!(
        name(SchedulerConfig { max_num_batched_tokens: 0, ..good }),
        "max_num_batched_tokens"
    );
    assert_eq!(name(SchedulerConfig { max_model_len: 1, ..good }), "max_model_len");
    assert_eq!(name(SchedulerConfig { max_model_len: usize::MAX, ..good }), "max_model_len");
    assert_eq!(name(SchedulerConfig { block_size: 0, ..good }), "block_size");
    assert_eq!(name(SchedulerConfig { block_size: 257, ..good }), "block_size");
    assert_eq!(name(SchedulerConfig { num_blocks: 0, ..good }), "num_blocks");
    assert_eq!(name(SchedulerConfig { num_blocks: usize::MAX, ..good }), "num_blocks");
}
