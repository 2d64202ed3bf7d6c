//! A program without the standard library that schedules and samples: it links only if engine-core
//! and all that it depends on do without it too. `no_std_link.rs` builds and runs it.
//!
//! Were std linked anywhere, its panic handler would clash with the one below.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec;
use core::alloc::{GlobalAlloc, Layout};
use core::ffi::{c_char, c_int};
use core::panic::PanicInfo;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering};

use engine_core::batch::Batch;
use engine_core::config::{RopeConfig, RopeScaling};
use engine_core::request::{Request, SamplingParams, StopRules, TokenId};
use engine_core::rope::inv_freq;
use engine_core::sampling::{
    LogprobScratch, SampleArgs, SampleKey, SampleScratch, SamplerState, logprobs, sample,
};
use engine_core::scheduler::{SampledRuns, Scheduler, SchedulerConfig};

const HEAP_BYTES: usize = 1 << 20;

/// Hands out a fixed heap from its start and takes nothing back.
#[repr(align(64))]
struct Heap {
    bytes: core::cell::UnsafeCell<[u8; HEAP_BYTES]>,
    used: AtomicUsize,
}

// SAFETY: `used` gives every part of `bytes` to one caller only, so no two threads share a part.
unsafe impl Sync for Heap {}

// SAFETY: each allocation lies within `bytes`, has the asked-for alignment (the heap's own is 64;
// more is refused) and overlaps no other, because `used` only grows.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let reserve = |used: usize| {
            let start = used.next_multiple_of(layout.align());
            start.checked_add(layout.size()).filter(|&end| end <= HEAP_BYTES)
        };
        let reserved = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve);
        match reserved {
            Ok(used) if layout.align() <= 64 => {
                // SAFETY: `reserve` has checked that the end is within `bytes`.
                unsafe { self.bytes.get().cast::<u8>().add(used.next_multiple_of(layout.align())) }
            }
            _ => null_mut(),
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static HEAP: Heap =
    Heap { bytes: core::cell::UnsafeCell::new([0; HEAP_BYTES]), used: AtomicUsize::new(0) };

// The C library, for the start of the program and for the `memcpy` that compilers call.
// SAFETY: this is the C standard's `abort`, which takes nothing and may be called at any time.
#[link(name = "c")]
unsafe extern "C" {
    safe fn abort() -> !;
}

/// The compiled `alloc` crate names this function for unwinding; a program that aborts on panic
/// never calls it.
// SAFETY: only std, which is not linked, defines this symbol too.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    abort()
}

/// Two requests through scheduler and sampler; 0 if each ended as it should.
// SAFETY: the C runtime calls the one symbol `main`, with these arguments; nothing else defines it.
#[unsafe(no_mangle)]
extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    let rope = RopeConfig { theta: 10000.0, rotary_dim: 8, scaling: RopeScaling::None };
    let (freqs, _) = inv_freq(&rope, 64, 64);
    let config = SchedulerConfig {
        max_num_seqs: 2,
        max_num_batched_tokens: 5,
        max_model_len: 32,
        block_size: 4,
        num_blocks: 8,
        ..SchedulerConfig::DEFAULT
    };
    let Ok(mut scheduler) = Scheduler::new(config) else {
        return 2;
    };
    let params = SamplingParams {
        max_tokens: 6,
        top_p: 0.9,
        repetition_penalty: 1.1,
        ..SamplingParams::default()
    };
    let mut states = vec![];
    for prompt_len in [3, 9] {
        let prompt_token_ids = vec![TokenId(1); prompt_len];
        let stop_rules = StopRules::new(&params, &[]);
        states.push(SamplerState::new(&params, &prompt_token_ids, vec![], 32, 32));
        if scheduler.add(Request::new(prompt_token_ids, stop_rules)).is_err() {
            return 3;
        }
    }
    let mut batch = Batch::default();
    let (mut sample_scratch, mut logprob_scratch) = Default::default();
    while scheduler.has_unfinished() {
        let plan = scheduler.schedule(&mut batch).to_vec();
        let mut sampled = SampledRuns::default();
        for scheduled in plan.iter().filter(|scheduled| scheduled.samples) {
            let Some(seq) = scheduler.sequence(scheduled.seq_id) else {
                return 4;
            };
            let args = SampleArgs {
                params: &params,
                stop_rules: seq.stop_rules(),
                state: &states[scheduled.seq_id.0 as usize],
                token_mask: None,
                keeps_processed: false,
                key: SampleKey::from_engine_seed(1, scheduled.seq_id.0),
                position: scheduled.sample_position(),
            };
            match pick(&freqs, &args, &mut sample_scratch, &mut logprob_scratch) {
                Some(token_id) => {
                    states[scheduled.seq_id.0 as usize].append(token_id);
                    sampled.push(&[token_id]);
                }
                None => return 5,
            }
        }
        if scheduler.commit(&sampled).is_err() {
            return 6;
        }
    }
    let num_output_tokens: usize =
        scheduler.drain_finished().map(|finished| finished.sequence.num_output_tokens()).sum();
    if num_output_tokens == 12 { 0 } else { 7 }
}

/// Samples from any logits at hand; `None` if the token has no probability.
fn pick(
    logits: &[f32],
    args: &SampleArgs<'_>,
    sample_scratch: &mut SampleScratch,
    logprob_scratch: &mut LogprobScratch,
) -> Option<TokenId> {
    let token_id = sample(logits, args, sample_scratch).ok()?;
    let logprobs = logprobs(logits, token_id, 2, logprob_scratch).ok()?;
    (logprobs.chosen.logprob < 0.0).then_some(token_id)
}
