//! Each rule of the scheduler in a schedule worked out by hand: who shares, waits, is preempted,
//! swapped, guessed for, cut into chunks, refused or ended.

use engine_core::batch::Batch;
use engine_core::request::{FinishReason, Request, SamplingParams, SeqId, StopRules, TokenId};
use engine_core::scheduler::{
    CommitError, ConfigError, CopyDirection, Refusal, SampledRuns, Scheduler, SchedulerConfig,
    SchedulingPolicy,
};
use engine_core::speculative::NgramConfig;

const CONFIG: SchedulerConfig = SchedulerConfig {
    max_num_seqs: 4,
    max_num_batched_tokens: 16,
    max_model_len: 16,
    block_size: 4,
    num_blocks: 16,
    ..SchedulerConfig::DEFAULT
};

/// Prompt tokens `first`, `first + 1`, …
fn request(first: u32, prompt_len: u32, max_tokens: usize) -> Request {
    let params = SamplingParams { max_tokens, ignore_eos: true, ..SamplingParams::default() };
    let prompt_token_ids = (first..first + prompt_len).map(TokenId).collect();
    Request::new(prompt_token_ids, StopRules::new(&params, &[]))
}

struct Rig {
    scheduler: Scheduler,
    batch: Batch,
}

/// `(sequence, first position, rows)` of each part of a step.
type Parts = Vec<(u64, usize, usize)>;

impl Rig {
    fn new(config: SchedulerConfig) -> Self {
        Rig { scheduler: Scheduler::new(config).unwrap(), batch: Batch::default() }
    }

    fn add(&mut self, request: Request) -> SeqId {
        self.scheduler.add(request).unwrap()
    }

    /// One [`request`] for each first token.
    fn add_all(&mut self, firsts: &[u32], prompt_len: u32, max_tokens: usize) {
        for &first in firsts {
            self.add(request(first, prompt_len, max_tokens));
        }
    }

    fn plan(&mut self) -> Parts {
        let plan = self.scheduler.schedule(&mut self.batch).iter();
        plan.map(|s| (s.seq_id.0, s.num_computed_tokens, s.num_scheduled_tokens)).collect()
    }

    /// One step whose sampled tokens are all 7.
    fn step(&mut self) -> Parts {
        let parts = self.plan();
        self.commit();
        parts
    }

    fn commit(&mut self) {
        let num_runs = self.scheduler.plan().iter().filter(|s| s.samples).count();
        let sampled: SampledRuns = std::iter::repeat_n(TokenId(7), num_runs).collect();
        self.scheduler.commit(&sampled).unwrap();
    }

    /// Steps until one brings a sequence back; that one is left uncommitted.
    fn plan_until_swapped_in(&mut self) {
        for _ in 0..20 {
            if self.scheduler.stats().num_swaps_in > 0 {
                return;
            }
            self.commit();
            self.plan();
        }
        panic!("nobody came back");
    }

    fn waiting(&self) -> Vec<u64> {
        self.scheduler.waiting().map(|seq| seq.seq_id().0).collect()
    }

    fn table(&self, seq_id: u64) -> Vec<u32> {
        let seq = self.scheduler.sequence(SeqId(seq_id)).unwrap();
        seq.block_table().iter().map(|block| block.0).collect()
    }
}

#[test]
fn a_prompt_that_was_computed_is_not_computed_again() {
    let mut rig = Rig::new(CONFIG);
    rig.add(request(100, 10, 3));
    assert_eq!(rig.step(), [(0, 0, 10)]);
    // Blocks 0 and 1 are full and published; the second request has the same ten tokens.
    rig.add(request(100, 10, 1));
    assert_eq!(rig.step(), [(0, 10, 1), (1, 8, 2)]);
    let stats = rig.scheduler.stats();
    assert_eq!((stats.num_prefix_query_tokens, stats.num_prefix_hit_tokens), (20, 8));
    assert_eq!(stats.num_published_blocks, 2);
    let finished: Vec<_> = rig.scheduler.drain_finished().collect();
    assert_eq!(finished[0].sequence.stats().num_cached_tokens, 8);
    // Of eight tokens that are all cached, the second block is computed again: its last row gives
    // the answer.
    rig.add(request(100, 8, 1));
    rig.add(request(100, 9, 1));
    assert_eq!(rig.step(), [(0, 11, 1), (2, 4, 4), (3, 8, 1)]);
}

#[test]
fn salts_adapters_and_readers_of_all_logits_share_nothing() {
    let mut rig = Rig::new(CONFIG);
    rig.add(request(100, 9, 3));
    rig.step();
    rig.add(Request { cache_salt: Some("a".into()), ..request(100, 9, 1) });
    assert_eq!(rig.step(), [(0, 9, 1), (1, 0, 9)]);
    rig.add(Request { adapter: Some("a".into()), ..request(100, 9, 1) });
    assert_eq!(rig.step(), [(0, 10, 1), (2, 0, 9)]);
    rig.add(Request { skip_reading_prefix_cache: true, ..request(100, 9, 1) });
    assert_eq!(rig.step(), [(3, 0, 9)]);
    rig.add(Request { cache_salt: Some("a".into()), ..request(100, 9, 1) });
    assert_eq!(rig.step(), [(4, 8, 1)]);
    assert!(rig.scheduler.reset_prefix_cache());
    rig.add(request(100, 9, 2));
    assert_eq!(rig.step(), [(5, 0, 9)]);
    assert!(!rig.scheduler.reset_prefix_cache(), "a sequence runs");
}

#[test]
fn who_would_compute_the_same_block_waits_for_it_and_others_pass() {
    let mut rig = Rig::new(SchedulerConfig { max_num_batched_tokens: 8, ..CONFIG });
    rig.add(request(100, 12, 2));
    rig.add(request(100, 12, 2));
    rig.add(request(200, 3, 2));
    // Sequence 0 takes the whole step; then 1 waits for its third block, and 2 passes.
    assert_eq!(rig.step(), [(0, 0, 8)]);
    assert_eq!(rig.step(), [(0, 8, 4), (1, 8, 4)], "two full blocks are all that 1 may find");
    assert_eq!(rig.step(), [(0, 12, 1), (1, 12, 1), (2, 0, 3)]);

    let mut rig = Rig::new(SchedulerConfig { max_num_batched_tokens: 8, ..CONFIG });
    rig.add(request(100, 6, 2));
    rig.add(request(100, 6, 2));
    rig.add(Request { skip_reading_prefix_cache: true, ..request(100, 2, 1) });
    assert_eq!(rig.step(), [(0, 0, 6), (2, 0, 2)]);
    assert_eq!((rig.waiting(), rig.scheduler.stats().num_set_asides), (vec![1], 1));
    assert_eq!(rig.step(), [(0, 6, 1), (1, 4, 2)]);
    // They share the first block only.
    assert_eq!(rig.scheduler.stats().num_prefix_hit_tokens, 4);
}

#[test]
fn nothing_is_published_before_the_commit() {
    let mut rig = Rig::new(CONFIG);
    rig.add(request(100, 9, 2));
    rig.plan();
    assert_eq!(rig.scheduler.stats().num_published_blocks, 0);
    assert_eq!(rig.scheduler.fail_step(), 1);
    rig.add(request(100, 9, 2));
    assert_eq!(rig.step(), [(1, 0, 9)]);
    assert_eq!(rig.scheduler.stats().num_published_blocks, 2);
}

#[test]
fn a_lower_priority_number_is_served_first_and_preempted_last() {
    let mut rig = Rig::new(SchedulerConfig {
        policy: SchedulingPolicy::Priority,
        max_num_seqs: 2,
        num_blocks: 4,
        enable_prefix_caching: false,
        ..CONFIG
    });
    for (first, priority) in [(100, 1), (200, 2), (300, 0)] {
        rig.add(Request { priority, ..request(first, 7, 6) });
    }
    assert_eq!(rig.waiting(), [2, 0, 1]);
    assert_eq!(rig.step(), [(2, 0, 7), (0, 0, 7)]);
    assert_eq!(rig.step(), [(2, 7, 1), (0, 7, 1)]);
    // A third block each: the worse priority gives its own up, though it came first.
    assert_eq!(rig.step(), [(2, 8, 1)]);
    assert_eq!(rig.waiting(), [0, 1]);
    assert!(rig.scheduler.finish(SeqId(1), FinishReason::Abort));
    assert_eq!(rig.scheduler.sequence(SeqId(0)).unwrap().stats().num_preemptions, 1);
}

#[test]
fn a_prompt_leaves_a_row_for_each_decode_behind_it() {
    let config =
        SchedulerConfig { policy: SchedulingPolicy::Priority, max_num_batched_tokens: 4, ..CONFIG };
    let mut rig = Rig::new(config);
    for first in [100, 200] {
        rig.add(Request { priority: 5, ..request(first, 2, 9) });
    }
    assert_eq!(rig.step(), [(0, 0, 2), (1, 0, 2)]);
    rig.add(request(300, 12, 1));
    // Running first, the rest for the new prompt; from then on it is first, and takes two.
    assert_eq!(rig.step(), [(0, 2, 1), (1, 2, 1), (2, 0, 2)]);
    assert_eq!(rig.step(), [(2, 2, 2), (0, 3, 1), (1, 3, 1)]);
    // With a step of two, the first still gets a row, and one decode has to wait.
    let mut rig = Rig::new(SchedulerConfig { max_num_batched_tokens: 2, ..config });
    for first in [100, 200] {
        rig.add(Request { priority: 5, ..request(first, 1, 9) });
    }
    assert_eq!(rig.step(), [(0, 0, 1), (1, 0, 1)]);
    rig.scheduler.finish(SeqId(0), FinishReason::Abort);
    rig.add(request(300, 12, 1));
    assert_eq!(rig.step(), [(1, 1, 1), (2, 0, 1)]);
    rig.add(request(400, 3, 1));
    assert_eq!(rig.step(), [(2, 1, 1), (1, 2, 1)]);
}

#[test]
fn a_prompt_is_admitted_only_if_all_of_it_fits() {
    let mut rig = Rig::new(SchedulerConfig { num_blocks: 5, ..CONFIG });
    rig.add_all(&[100, 200], 12, 1);
    // Two blocks are left, enough for the four rows that are, but not for all twelve.
    assert_eq!(rig.step(), [(0, 0, 12)]);
    assert_eq!(rig.step(), [(1, 0, 12)]);
}

#[test]
fn chunks_have_a_threshold_while_others_live() {
    let config = SchedulerConfig { long_prefill_token_threshold: 3, ..CONFIG };
    let mut rig = Rig::new(config);
    rig.add(request(100, 9, 1));
    assert_eq!(rig.step(), [(0, 0, 9)]);
    rig.add(request(200, 9, 1));
    rig.add(request(300, 9, 1));
    assert_eq!(rig.step(), [(1, 0, 3), (2, 0, 3)]);
    assert_eq!(rig.step(), [(1, 3, 3), (2, 3, 3)]);
}

#[test]
fn without_chunks_a_prompt_is_computed_whole_or_not() {
    let config = SchedulerConfig { enable_chunked_prefill: false, ..CONFIG };
    let mut rig = Rig::new(config);
    rig.add_all(&[100, 200, 300], 9, 2);
    assert_eq!(rig.step(), [(0, 0, 9)]);
    assert_eq!(rig.step(), [(0, 9, 1), (1, 0, 9)]);
    assert_eq!(rig.step(), [(1, 9, 1), (2, 0, 9)]);
    let refused = |config| Scheduler::new(config).unwrap_err();
    assert_eq!(
        refused(SchedulerConfig { max_num_batched_tokens: 15, ..config }),
        ConfigError::StepTooSmall { max_num_batched_tokens: 15, max_model_len: 16 }
    );
    assert_eq!(
        refused(SchedulerConfig { tpot_target_us: Some(1), ..config }),
        ConfigError::NeedsChunks { name: "tpot_target_us" }
    );
    assert_eq!(
        refused(SchedulerConfig { long_prefill_token_threshold: 1, ..config }),
        ConfigError::NeedsChunks { name: "long_prefill_token_threshold" }
    );
}

#[test]
fn chunks_beside_a_decode_follow_measured_durations() {
    let mut rig = Rig::new(SchedulerConfig {
        max_num_batched_tokens: 100,
        max_model_len: 400,
        num_blocks: 200,
        tpot_target_us: Some(1000),
        ..CONFIG
    });
    rig.add(request(100, 3, 300));
    assert_eq!(rig.step(), [(0, 0, 3)]);
    assert_eq!(rig.step(), [(0, 3, 1)]);
    rig.scheduler.observe_step(400);
    rig.add(request(1000, 300, 1));
    // Nothing is known of other rows: one kv_block.
    assert_eq!(rig.step(), [(0, 4, 1), (1, 0, 4)]);
    rig.scheduler.observe_step(440);
    // 10 µs per row: 560 µs are left for 56 more.
    assert_eq!(rig.step(), [(0, 5, 1), (1, 4, 60)]);
    rig.scheduler.observe_step(1600);
    // 20 µs per row now: thirty of them fit.
    assert_eq!(rig.step(), [(0, 6, 1), (1, 64, 30)]);
    rig.scheduler.finish(SeqId(0), FinishReason::Abort);
    // Nobody waits for a token.
    assert_eq!(rig.step(), [(1, 94, 100)]);
}

/// Two sequences of seven tokens in four blocks; in the third step the second one must go.
fn until_preempted(config: SchedulerConfig) -> Rig {
    let mut rig = Rig::new(SchedulerConfig { num_blocks: 4, num_host_blocks: 3, ..config });
    rig.add_all(&[100, 200], 7, 6);
    rig.step();
    rig.step();
    assert_eq!(rig.plan(), [(0, 8, 1)]);
    rig
}

#[test]
fn a_victim_is_swapped_if_that_is_cheaper_and_goes_on_where_it_was() {
    let config = SchedulerConfig { enable_prefix_caching: false, ..CONFIG };
    let mut rig = until_preempted(config);
    let copies: Vec<_> = rig.scheduler.copies().to_vec();
    assert!(copies.iter().all(|c| c.direction == CopyDirection::Out && c.seq_id == SeqId(1)));
    let blocks: Vec<_> = copies.iter().map(|c| (c.device.0, c.host.0)).collect();
    assert_eq!(blocks, [(2, 0), (3, 1)]);
    assert_eq!(rig.scheduler.host_pool().num_free(), 1);
    let victim = rig.scheduler.sequence(SeqId(1)).unwrap();
    assert_eq!((victim.num_swapped_tokens(), victim.num_computed_tokens()), (8, 0));

    rig.plan_until_swapped_in();
    rig.commit();
    // The step that brought it back has been committed, so its host blocks are free again.
    assert_eq!(rig.scheduler.host_pool().num_free(), 3);
    assert_eq!(rig.scheduler.sequence(SeqId(1)).unwrap().num_computed_tokens(), 9);
    let stats = rig.scheduler.stats();
    assert_eq!((stats.num_preemptions, stats.num_swaps_out, stats.num_swaps_in), (1, 1, 1));

    // Copies that take longer than computing eight tokens: 40 µs each by default.
    let mut rig = Rig::new(SchedulerConfig { num_blocks: 4, num_host_blocks: 3, ..config });
    rig.scheduler.observe_copy(1, 80);
    rig.add_all(&[100, 200], 7, 6);
    (0..3).for_each(|_| drop(rig.step()));
    assert_eq!((rig.waiting(), rig.scheduler.stats().num_swaps_out), (vec![1], 0));
}

#[test]
fn what_the_cache_still_has_is_not_copied_back() {
    let mut rig = until_preempted(CONFIG);
    assert_eq!(rig.scheduler.copies().len(), 2);
    rig.plan_until_swapped_in();
    // Sequence 0 took one block of sequence 1, its second: only that comes back from the host.
    assert_eq!(rig.scheduler.stats().num_prefix_hit_tokens, 4);
    let [copy] = rig.scheduler.copies() else { panic!("{:?}", rig.scheduler.copies()) };
    assert_eq!((copy.direction, copy.host.0), (CopyDirection::In, 1));
    assert_eq!(copy.device.0, rig.table(1)[1]);
    assert_eq!(rig.scheduler.plan()[0].positions(), 8..9);
}

#[test]
fn a_failed_swap_is_a_recomputation() {
    let config = SchedulerConfig { enable_prefix_caching: false, ..CONFIG };
    // On the way out.
    let mut rig = until_preempted(config);
    assert!(rig.scheduler.fail_swap(SeqId(1)));
    assert!(!rig.scheduler.fail_swap(SeqId(1)) && !rig.scheduler.fail_swap(SeqId(0)));
    assert!(rig.scheduler.plan().is_empty());
    assert_eq!(rig.scheduler.host_pool().num_free(), 3);
    assert_eq!(rig.step(), [(0, 8, 1)]);
    // On the way back.
    let mut rig = until_preempted(config);
    rig.plan_until_swapped_in();
    assert_eq!(rig.scheduler.plan()[0].num_computed_tokens, 8);
    assert!(rig.scheduler.fail_swap(SeqId(1)));
    assert_eq!((rig.waiting(), rig.scheduler.block_pool().num_used()), (vec![1], 0));
    assert_eq!(rig.step(), [(1, 0, 9)]);
    assert_eq!(rig.scheduler.stats().num_failed_swaps, 1);
}

#[test]
fn a_swapped_sequence_can_be_aborted() {
    let mut rig = until_preempted(CONFIG);
    assert!(rig.scheduler.finish(SeqId(1), FinishReason::Abort));
    assert_eq!(rig.scheduler.host_pool().num_free(), 3);
}

const NGRAM: NgramConfig =
    NgramConfig { num_speculative_tokens: 3, prompt_lookup_min: 1, prompt_lookup_max: 2 };

#[test]
fn guesses_are_rows_and_count_as_far_as_they_are_right() {
    let mut rig = Rig::new(SchedulerConfig { speculative: Some(NGRAM), ..CONFIG });
    // 5 6 7 8 5, and the first token sampled is 6: guess 7 8 5.
    let mut request = request(5, 4, 9);
    request.prompt_token_ids.push(TokenId(5));
    rig.add(request);
    rig.plan();
    assert_eq!(rig.scheduler.plan()[0].num_draft_tokens, 0);
    rig.scheduler.commit(&[TokenId(6)].into_iter().collect()).unwrap();
    assert_eq!(rig.plan(), [(0, 5, 4)]);
    let planned = rig.scheduler.plan()[0];
    assert_eq!((planned.num_draft_tokens, planned.sample_position()), (3, 6));
    assert!(planned.samples && !planned.is_prefill);
    assert_eq!((rig.batch.token_ids.clone(), rig.table(0).len()), (vec![6, 7, 8, 5], 3));
    let run = |token_ids: &[u32]| {
        let mut sampled = SampledRuns::default();
        sampled.push(&token_ids.iter().copied().map(TokenId).collect::<Vec<_>>());
        sampled
    };
    let seq_id = SeqId(0);
    let refused = rig.scheduler.commit(&run(&[7, 9, 5])).unwrap_err();
    assert_eq!(refused, CommitError::NotGuessed { seq_id });
    let refused = rig.scheduler.commit(&run(&[7, 8, 5, 6, 7])).unwrap_err();
    assert_eq!(refused, CommitError::RunLength { seq_id, found: 5, max: 4 });
    // One is right, then the sampler draws 9.
    assert_eq!(rig.scheduler.commit(&run(&[7, 9])).unwrap().len(), 2);
    let seq = rig.scheduler.sequence(seq_id).unwrap();
    assert_eq!((seq.num_tokens(), seq.num_computed_tokens()), (8, 7));
    assert_eq!(rig.table(0).len(), 2, "the block of wrong guesses is given back");
    let stats = rig.scheduler.stats();
    assert_eq!((stats.num_draft_tokens, stats.num_accepted_tokens), (3, 1));
    // Only the first block holds computed tokens to its end; guesses are never published.
    assert_eq!(stats.num_published_blocks, 1);
}

#[test]
fn guesses_end_with_the_output_and_cost_nobody_a_block() {
    let sevens = |prompt_len, max_tokens| {
        let mut request = request(7, 1, max_tokens);
        request.prompt_token_ids = vec![TokenId(7); prompt_len];
        request
    };
    let config = SchedulerConfig { speculative: Some(NGRAM), ..CONFIG };
    let num_drafts = |config, first: Request, num_others, num_steps| {
        let mut rig = Rig::new(config);
        rig.add(first);
        rig.add_all(&[100, 200, 300][..num_others], 1, 9);
        (0..num_steps).for_each(|_| drop(rig.step()));
        rig.plan();
        rig.scheduler.plan()[0].num_draft_tokens
    };
    // The step before sampled one of them; the token after the guesses must be wanted too.
    let drafts = [2, 3, 4, 5, 9].map(|max| num_drafts(config, sevens(4, max), 0, 1));
    assert_eq!(drafts, [0, 1, 2, 3, 3]);
    // A step of three rows: two are decodes.
    let rows = SchedulerConfig { max_num_batched_tokens: 3, ..config };
    assert_eq!(num_drafts(rows, sevens(4, 9), 1, 2), 1);
    // Four blocks: the other sequences have one each, and position 8 would need a third.
    let blocks = SchedulerConfig { num_blocks: 4, ..config };
    assert_eq!([1, 2].map(|others| num_drafts(blocks, sevens(6, 9), others, 1)), [3, 1]);
}

#[test]
fn a_failed_step_ends_its_own_sequences() {
    let mut rig = Rig::new(SchedulerConfig { max_num_seqs: 2, ..CONFIG });
    rig.add_all(&[100, 200, 300], 5, 2);
    assert_eq!(rig.plan(), [(0, 0, 5), (1, 0, 5)]);
    assert_eq!(rig.scheduler.fail_step(), 2);
    let ended: Vec<_> =
        rig.scheduler.drain_finished().map(|f| (f.sequence.seq_id().0, f.reason)).collect();
    assert_eq!(ended, [(0, FinishReason::Error), (1, FinishReason::Error)]);
    assert_eq!((rig.scheduler.fail_step(), rig.scheduler.stats().num_failed_steps), (0, 1));
    assert_eq!(rig.scheduler.block_pool().num_used(), 0);
    assert_eq!(rig.step(), [(2, 0, 5)]);
}

#[test]
fn a_full_queue_and_a_priority_without_its_policy_are_refused() {
    let mut rig =
        Rig::new(SchedulerConfig { max_num_queued_reqs: Some(1), max_num_seqs: 1, ..CONFIG });
    rig.add(request(100, 5, 2));
    let refused = rig.scheduler.add(request(100, 5, 2)).unwrap_err();
    assert_eq!(refused, Refusal::QueueFull { max_num_queued_reqs: 1 });
    rig.step();
    rig.add(request(100, 5, 2));
    let refused = rig.scheduler.add(Request { priority: 3, ..request(100, 5, 2) }).unwrap_err();
    assert_eq!(refused, Refusal::PriorityIsOff { priority: 3 });
    let out_of_range = |ngram| {
        let config = SchedulerConfig { speculative: Some(ngram), ..CONFIG };
        match Scheduler::new(config).unwrap_err() {
            ConfigError::OutOfRange { name, .. } => name,
            error => panic!("{error}"),
        }
    };
    let name = out_of_range(NgramConfig { num_speculative_tokens: 0, ..NGRAM });
    assert_eq!(name, "num_speculative_tokens");
    let name = out_of_range(NgramConfig { prompt_lookup_min: 3, ..NGRAM });
    assert_eq!(name, "prompt_lookup_min");
}
