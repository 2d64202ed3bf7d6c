//! One way to run the requests, and what must have happened if it was run that way.

use std::collections::BTreeMap;
use std::num::NonZero;

use engine::{
    DType, Fp8Flavour, KvCacheDType, Llm, NgramConfig, Prompt, RequestId, RequestOptions,
};
use engine::{RequestOutput, SamplingParams, SchedulerStats, SchedulingPolicy};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::golden_model::smollm2;
use crate::requests::{Answer, MAX_SHORT_LEN, Tally, TestRequest};

/// Two such answers are longer than a tight pool.
const MAX_BYSTANDER_TOKENS: usize = 32;

/// Knobs and arrivals.
#[derive(Clone, Debug)]
pub struct Schedule {
    max_num_batched_tokens: usize,
    block_size: usize,
    /// The pool holds little more than the longest sequence.
    is_tight: bool,
    swaps: bool,
    caches_prefixes: bool,
    speculates: bool,
    has_priorities: bool,
    tpot_target_ms: Option<f64>,
    threads: usize,
    /// One after the other; else at the steps of `arrivals`.
    one_at_a_time: bool,
    /// Which request, and the step before which it comes.
    arrivals: Vec<(usize, usize)>,
    /// Requests of nobody's, withdrawn some steps after they came.
    bystanders: Vec<Bystander>,
}

#[derive(Clone, Debug)]
struct Bystander {
    arrives: usize,
    leaves: usize,
    prompt: Vec<u32>,
}

impl Bystander {
    /// One that stays answers at length, so that two of them fill a tight pool.
    fn random(rng: &mut StdRng, stays: bool) -> Bystander {
        let arrives = if stays { 0 } else { rng.random_range(0..6) };
        let leaves = arrives + if stays { usize::MAX / 2 } else { rng.random_range(0..5) };
        let num_tokens = if stays { 3 } else { rng.random_range(1..20) };
        let prompt = (0..num_tokens).map(|_| rng.random_range(5..40_000)).collect();
        Bystander { arrives, leaves, prompt }
    }
}

fn pick<T: Copy>(rng: &mut StdRng, choices: &[T]) -> T {
    choices[rng.random_range(0..choices.len())]
}

impl Schedule {
    /// The calmest there is.
    pub fn one_at_a_time(num_requests: usize) -> Schedule {
        Schedule {
            max_num_batched_tokens: 2048,
            block_size: 16,
            is_tight: false,
            swaps: false,
            caches_prefixes: false,
            speculates: false,
            has_priorities: false,
            tpot_target_ms: None,
            threads: 2,
            one_at_a_time: true,
            arrivals: (0..num_requests).map(|request| (request, 0)).collect(),
            bystanders: Vec::new(),
        }
    }

    /// Every tenth has the long prompt, and room for it. What needs room or time to happen gets it:
    /// guesses take what a step has left over, and a tight pool is filled by others' long answers.
    pub fn random(seed: u64, requests: &[TestRequest]) -> Schedule {
        let mut rng = StdRng::seed_from_u64(seed);
        let has_long = seed.is_multiple_of(10);
        let num_requests = if has_long { requests.len() } else { requests.len() - 1 };
        let mut order: Vec<usize> = (0..num_requests).collect();
        order.shuffle(&mut rng);
        let is_tight = !has_long && rng.random_bool(0.5);
        let speculates = rng.random_bool(0.5);
        let last_arrival = if is_tight { 0 } else { pick(&mut rng, &[0, 3, 9]) };
        let arrivals = order.into_iter().map(|one| (one, rng.random_range(0..=last_arrival)));
        let arrivals = arrivals.collect();
        let is_roomy = is_tight || speculates;
        let budgets: &[usize] = match (is_roomy, has_long) {
            // A long prompt leaves nothing over in a smaller step.
            (true, true) => &[1024, 2048, 4096],
            (true, false) => &[48, 256, 2048],
            (false, _) => &[7, 16, 48, 256],
        };
        let sizes: &[usize] = if is_tight { &[1, 2, 4] } else { &[1, 8, 16, 32, 128] };
        let num_bystanders = if is_tight { 4 } else { rng.random_range(0..3) };
        Schedule {
            max_num_batched_tokens: pick(&mut rng, budgets),
            block_size: pick(&mut rng, sizes),
            is_tight,
            swaps: is_tight && rng.random_bool(0.5),
            caches_prefixes: rng.random_bool(0.7),
            speculates,
            has_priorities: rng.random_bool(0.3),
            tpot_target_ms: (!is_roomy && rng.random_bool(0.3)).then_some(20.0),
            threads: rng.random_range(1..=2),
            one_at_a_time: false,
            arrivals,
            bystanders: (0..num_bystanders)
                .map(|_| Bystander::random(&mut rng, is_tight))
                .collect(),
        }
    }

    fn build(&self, dtype: DType, kv_cache_dtype: KvCacheDType) -> Llm {
        let policy = match self.has_priorities {
            true => SchedulingPolicy::Priority,
            false => SchedulingPolicy::Fcfs,
        };
        let mut builder = Llm::builder(smollm2())
            .dtype(dtype)
            .kv_cache_dtype(kv_cache_dtype)
            .max_num_batched_tokens(self.max_num_batched_tokens)
            .block_size(self.block_size)
            .enable_prefix_caching(self.caches_prefixes)
            .scheduling_policy(policy)
            .threads(NonZero::new(self.threads).unwrap());
        if self.is_tight {
            let num_blocks = MAX_SHORT_LEN.div_ceil(self.block_size) as u64;
            let block_bytes = kv_bytes_per_token(dtype, kv_cache_dtype) * self.block_size as u64;
            builder = builder
                .max_model_len(MAX_SHORT_LEN)
                .kv_cache_memory_bytes(num_blocks * block_bytes);
        }
        if self.swaps {
            builder = builder.swap_space(0.25);
        }
        if let Some(ms) = self.tpot_target_ms {
            builder = builder.tpot_target_ms(ms);
        }
        if self.speculates {
            builder = builder.speculative(NgramConfig {
                num_speculative_tokens: 3,
                prompt_lookup_min: 1,
                prompt_lookup_max: 3,
            });
        }
        builder.build().unwrap_or_else(|e| panic!("{self:?}: {e}"))
    }

    /// Fails if something that was to vary did not.
    fn assert_happened(&self, stats: &SchedulerStats, longest_prompt: usize) {
        let happened = |what: &str, is_wanted: bool, count: u64| {
            assert!(!is_wanted || count > 0, "no {what} under {self:?}: {stats:?}");
        };
        happened("chunk", longest_prompt > self.max_num_batched_tokens, stats.num_partial_prefills);
        happened("preemption", self.is_tight, stats.num_preemptions);
        happened("swap", self.swaps, stats.num_swaps_out.min(stats.num_swaps_in));
        happened(
            "prefix hit",
            self.caches_prefixes && self.block_size <= 32,
            stats.num_prefix_hit_tokens,
        );
        happened("accepted guess", self.speculates, stats.num_accepted_tokens);
        happened(
            "batch",
            !self.one_at_a_time,
            (stats.max_num_seqs_in_step as u64).saturating_sub(1),
        );
        if !self.caches_prefixes {
            assert_eq!(stats.num_prefix_hit_tokens, 0, "{self:?}");
        }
    }
}

/// Of SmolLM2-135M: 30 layers of 3 KV heads of 64.
fn kv_bytes_per_token(dtype: DType, kv_cache_dtype: KvCacheDType) -> u64 {
    2 * 30 * 3 * 64 * kv_cache_dtype.resolve(dtype, Fp8Flavour::Ocp).size_bytes() as u64
}

/// Runs the schedule; answers in the order of `requests`, and what happened on the way.
pub fn run(
    schedule: &Schedule,
    requests: &[TestRequest],
    dtype: DType,
    kv_cache_dtype: KvCacheDType,
) -> (Vec<Answer>, Tally) {
    let mut llm = schedule.build(dtype, kv_cache_dtype);
    let mut outputs = BTreeMap::new();
    if schedule.one_at_a_time {
        for &(which, _) in &schedule.arrivals {
            let TestRequest { prompt, params, .. } = &requests[which];
            let output = llm.generate(std::slice::from_ref(prompt), params).unwrap().remove(0);
            outputs.insert(which, output);
        }
    } else {
        outputs = run_together(schedule, requests, &mut llm);
    }
    let longest = schedule.arrivals.iter().map(|&(which, _)| requests[which].prompt.len()).max();
    schedule.assert_happened(&llm.stats(), longest.unwrap_or(0));
    assert_eq!(outputs.len(), schedule.arrivals.len());
    let mut tally = Tally::default();
    for (&which, output) in &outputs {
        tally += Tally::of(&requests[which].params, &output.metrics);
    }
    (outputs.values().map(Answer::new).collect(), tally)
}

fn run_together(
    schedule: &Schedule,
    requests: &[TestRequest],
    llm: &mut Llm,
) -> BTreeMap<usize, RequestOutput> {
    let mut outputs = BTreeMap::new();
    let mut asked: BTreeMap<RequestId, usize> = BTreeMap::new();
    let mut guests: Vec<(RequestId, usize)> = Vec::new();
    for step in 0.. {
        for &(which, _) in schedule.arrivals.iter().filter(|&&(_, arrives)| arrives == step) {
            let TestRequest { prompt, params, .. } = requests[which].clone();
            let priority = if schedule.has_priorities { which as i32 % 3 - 1 } else { 0 };
            let options = RequestOptions { priority, ..RequestOptions::default() };
            let id = llm.add_request_with(Prompt::TokenIds(prompt), params, options).unwrap();
            asked.insert(id, which);
        }
        for guest in schedule.bystanders.iter().filter(|guest| guest.arrives == step) {
            let params = SamplingParams {
                max_tokens: MAX_BYSTANDER_TOKENS,
                ignore_eos: true,
                ..SamplingParams::default()
            };
            let id = llm.add_request(Prompt::TokenIds(guest.prompt.clone()), params).unwrap();
            guests.push((id, guest.leaves));
        }
        for update in llm.step() {
            assert!(update.error.is_none(), "{:?}", update.error);
            let (Some(output), Some(&which)) = (update.finished, asked.get(&update.id)) else {
                continue;
            };
            outputs.insert(which, output);
        }
        for &(id, _) in guests.iter().filter(|&&(_, leaves)| leaves == step) {
            llm.abort(id);
        }
        if outputs.len() == schedule.arrivals.len() {
            break;
        }
    }
    while llm.has_unfinished() {
        llm.step();
    }
    outputs
}
