//! The planner against an oracle that knows the machine, over contexts, tiers and load.

use std::collections::BTreeMap;

use kv_store::outcome::TierKind;
use kv_store::planner::{Choice, Load, Plan, Planner, StoredChunk};

const CHUNK: usize = 256;
/// A machine may do better or worse than its measurements by as much.
const NOISE: f64 = 0.03;

/// What is really so.
#[derive(Clone)]
struct World {
    /// Seconds by tokens and tokens².
    prefill: (f64, f64),
    /// Tokens that would take as long as what each prefill takes before its first: no term of the planner's.
    start_tokens: f64,
    /// Seconds by byte and call.
    tiers: BTreeMap<TierKind, (f64, f64)>,
    bytes_per_token: u64,
    random: u64,
}

impl World {
    fn new(tflops: f64, tiers: &[(TierKind, f64, f64)]) -> Self {
        // 2 flops a weight of a model of 32e9, and attention over 64 layers of 64 heads of 128.
        let prefill = (64e9 / (tflops * 1e12), 2.0 * 64.0 * 8192.0 / (tflops * 1e12));
        let tiers = tiers.iter().map(|(kind, gb_s, ms)| (*kind, (1e-9 / gb_s, ms / 1e3)));
        World {
            prefill,
            start_tokens: 0.0,
            tiers: tiers.collect(),
            bytes_per_token: 262_144,
            random: 7,
        }
    }

    fn noise(&mut self) -> f64 {
        self.random = self.random.wrapping_mul(6364136223846793005).wrapping_add(1);
        1.0 + NOISE * ((self.random >> 40) as f64 / (1 << 23) as f64 - 1.0)
    }

    fn prefill_s(&self, start: usize, end: usize) -> f64 {
        let before = if start < end { self.start_tokens } else { 0.0 };
        let (start, end) = (start as f64, end as f64);
        self.prefill.0 * (end - start + before) + self.prefill.1 * (end * end - start * start)
    }

    fn stored(&self, num_tokens: usize, tier: impl Fn(usize) -> TierKind) -> Vec<StoredChunk> {
        let chunk = |i| StoredChunk {
            tokens: i * CHUNK..(i + 1) * CHUNK,
            bytes: CHUNK as u64 * self.bytes_per_token,
            tier: tier(i),
        };
        (0..num_tokens / CHUNK).map(chunk).collect()
    }

    /// What it takes to load from chunk number `first` on and to compute the rest.
    fn time(&self, num_tokens: usize, stored: &[StoredChunk], first: usize, load: &Load) -> f64 {
        let end = stored.last().map_or(0, |chunk| chunk.tokens.end);
        let from = stored.get(first).map_or(end, |chunk| chunk.tokens.start);
        let loads = self.tiers.iter().map(|(kind, (per_byte, per_call))| {
            let chunks = stored[first..].iter().filter(|chunk| chunk.tier == *kind);
            let bytes: u64 = chunks.map(|chunk| chunk.bytes).sum();
            let queued = load.queued_bytes.get(kind).copied().unwrap_or(0);
            if bytes == 0 { 0.0 } else { (bytes + queued) as f64 * per_byte + per_call }
        });
        let computed = load.compute_wait_s + self.prefill_s(0, from);
        let before = if first < stored.len() { loads.fold(computed, f64::max) } else { computed };
        before + self.prefill_s(end, num_tokens)
    }

    fn train(&mut self, planner: &mut Planner, rounds: usize) {
        for round in 0..rounds {
            let start = [0, 512, 2048, 8192, 30_000][round % 5];
            let end = start + [256, 1024, 4096][round % 3];
            let seconds = self.prefill_s(start, end) * self.noise();
            planner.measured_prefill(start..end, seconds);
            for (kind, (per_byte, per_call)) in self.tiers.clone() {
                let bytes = [1 << 20, 64 << 20, 512 << 20][round % 3];
                let seconds = (bytes as f64 * per_byte + per_call) * self.noise();
                planner.measured_load(kind, bytes, seconds);
            }
        }
    }
}

/// How much longer the plan takes than the best there is, and than the better of the pure policies.
fn regret(
    world: &World,
    num_tokens: usize,
    stored: &[StoredChunk],
    load: &Load,
    plan: &Plan,
) -> (f64, f64) {
    let first = stored.iter().position(|chunk| chunk.tokens.start == plan.load.start);
    let first = if plan.load.is_empty() { stored.len() } else { first.expect("a chunk's border") };
    let taken = world.time(num_tokens, stored, first, load);
    let times = (0..=stored.len()).map(|first| world.time(num_tokens, stored, first, load));
    let best = times.fold(f64::INFINITY, f64::min);
    let pure = world.time(num_tokens, stored, 0, load).min(world.time(
        num_tokens,
        stored,
        stored.len(),
        load,
    ));
    (taken / best - 1.0, taken / pure - 1.0)
}

#[test]
fn regret_is_small_over_contexts_tiers_and_load() {
    let (mut worst, mut sum, mut count) = (0f64, 0.0, 0.0);
    let mut choices = [0; 3];
    for tflops in [20.0, 100.0, 600.0] {
        for gb_s in [0.05, 0.5, 2.0, 7.0, 21.0, 100.0] {
            for latency_ms in [0.05, 1.0, 50.0] {
                let mut world = World::new(tflops, &[(TierKind::Disk, gb_s, latency_ms)]);
                let mut planner = Planner::new();
                world.train(&mut planner, 60);
                for num_tokens in [300, 1000, 4000, 16_000, 64_000, 131_072] {
                    for (queued_gb, wait) in [(0u64, 0.0), (4, 0.0), (0, 0.5), (1, 0.1)] {
                        let load = Load {
                            queued_bytes: BTreeMap::from([(TierKind::Disk, queued_gb << 30)]),
                            compute_wait_s: wait,
                        };
                        let stored = world.stored(num_tokens, |_| TierKind::Disk);
                        let plan = planner.plan(num_tokens, &stored, &load);
                        let (regret, over_pure) = regret(&world, num_tokens, &stored, &load, &plan);
                        assert!(
                            regret <= 0.10,
                            "{tflops} {gb_s} {latency_ms} {num_tokens}: {regret}"
                        );
                        assert!(over_pure <= 0.05, "{tflops} {gb_s} {num_tokens}: {over_pure}");
                        choices[plan.choice() as usize] += 1;
                        (worst, sum, count) = (worst.max(regret), sum + regret, count + 1.0);
                    }
                }
            }
        }
    }
    println!(
        "worst {worst:.4}, mean {:.4} of {count}; load, recompute, split: {choices:?}",
        sum / count
    );
    assert!(sum / count <= 0.02);
    assert!(
        choices.iter().all(|&count| count >= 20),
        "every choice is right somewhere: {choices:?}"
    );
}

/// Where nothing is computed beside a load: all ends of what is loaded are tried by the oracle.
#[test]
fn regret_of_a_loaded_prefix_is_small_under_a_curve_of_another_form() {
    let mut choices = [0; 3];
    for (tflops, start_tokens) in [(20.0, 0.0), (100.0, 24.0), (600.0, 48.0)] {
        for gb_s in [0.05, 0.5, 2.0, 7.0, 21.0] {
            let tiers = [(TierKind::Host, 40.0, 0.02), (TierKind::Disk, gb_s, 1.0)];
            let mut world = World { start_tokens, ..World::new(tflops, &tiers) };
            let mut planner = Planner::new();
            world.train(&mut planner, 60);
            for num_tokens in [300, 1000, 4000, 16_000, 64_000] {
                for host_chunks in [0, 3, 40] {
                    let tier = |i| if i < host_chunks { TierKind::Host } else { TierKind::Disk };
                    let stored = world.stored(num_tokens, tier);
                    let load = Load::default();
                    let plan = planner.plan_prefix(num_tokens, &stored, &load);
                    let time = |num: usize| {
                        let end = stored[..num].last().map_or(0, |chunk| chunk.tokens.end);
                        let nothing_computed = World { prefill: (0.0, 0.0), ..world.clone() };
                        let loaded_s = nothing_computed.time(end, &stored[..num], 0, &load);
                        loaded_s + world.prefill_s(end, num_tokens)
                    };
                    let taken = time(plan.load.end / CHUNK);
                    let best = (0..=stored.len()).map(time).fold(f64::INFINITY, f64::min);
                    let regret = taken / best - 1.0;
                    assert!(regret <= 0.10, "{tflops} {gb_s} {num_tokens} {host_chunks}: {regret}");
                    choices[plan.choice() as usize] += 1;
                }
            }
        }
    }
    let [load, recompute, _] = choices;
    assert!(load >= 20 && recompute >= 5, "{choices:?}");
}

#[test]
fn two_tiers_are_loaded_side_by_side() {
    let tiers = [(TierKind::Host, 50.0, 0.01), (TierKind::Disk, 2.0, 1.0)];
    let mut world = World::new(100.0, &tiers);
    let mut planner = Planner::new();
    world.train(&mut planner, 60);
    for host_share in [0, 10, 100, 200] {
        let tier = |i| if i < host_share { TierKind::Host } else { TierKind::Disk };
        let stored = world.stored(64_000, tier);
        let plan = planner.plan(64_000, &stored, &Load::default());
        let (regret, over_pure) = regret(&world, 64_000, &stored, &Load::default(), &plan);
        assert!(regret <= 0.10 && over_pure <= 0.05, "{host_share}: {regret} {over_pure}");
    }
}

#[test]
fn a_tier_that_slows_down_is_noticed() {
    let mut world = World::new(100.0, &[(TierKind::Disk, 20.0, 0.1)]);
    let mut planner = Planner::new();
    world.train(&mut planner, 60);
    let stored = world.stored(16_000, |_| TierKind::Disk);
    let fast = planner.plan(16_000, &stored, &Load::default());
    world.tiers.insert(TierKind::Disk, (1e-9 / 0.1, 0.0001));
    world.train(&mut planner, 100);
    let slow = planner.plan(16_000, &stored, &Load::default());
    assert!(slow.compute.len() > 4 * fast.compute.len().max(CHUNK), "{fast:?} {slow:?}");
    let (regret, _) = regret(&world, 16_000, &stored, &Load::default(), &slow);
    assert!(regret <= 0.10, "{regret}");
}

#[test]
fn the_unknown_is_loaded_and_so_measured() {
    let world = World::new(100.0, &[(TierKind::Disk, 1.0, 1.0)]);
    let stored = world.stored(1000, |_| TierKind::Disk);
    let mut planner = Planner::new();
    let is_blind = |planner: &Planner| {
        let plan = planner.plan(1000, &stored, &Load::default());
        (plan.choice(), plan.predicted_s) == (Choice::Load, None) && plan.load == (0..768)
    };
    assert!(is_blind(&planner));
    planner.measured_prefill(0..100, 0.1);
    assert!(is_blind(&planner), "the tier is unknown");
    planner.measured_load(TierKind::Disk, 1 << 20, 1e-3);
    let plan = planner.plan(1000, &stored, &Load::default());
    assert!(plan.predicted_s.is_some());

    let nothing = planner.plan(1000, &[], &Load::default());
    assert_eq!((nothing.choice(), nothing.load), (Choice::Recompute, 0..0));
    assert!(
        (nothing.predicted_s.unwrap() - 1.0).abs() < 1e-9,
        "a tenth of a second for 100 tokens"
    );
}

#[test]
fn predictions_are_held_against_what_happened() {
    let mut planner = Planner::new();
    planner.measured_prefill(0..100, 0.1);
    let plan = planner.plan(1000, &[], &Load::default());
    planner.measured_plan(&plan, 0.8);
    let error = planner.prediction_error();
    assert_eq!(error.num_plans, 1);
    assert!((error.last - 0.25).abs() < 1e-9 && (error.mean - 0.25).abs() < 1e-9, "{error:?}");
    planner.measured_plan(&plan, 2.0);
    let error = planner.prediction_error();
    assert!((error.last + 0.5).abs() < 1e-9 && (error.mean - 0.2625).abs() < 1e-9, "{error:?}");
    planner.measured_plan(&plan, 0.0);
    assert_eq!(planner.prediction_error(), error);
}

#[test]
fn a_prefix_is_loaded_up_to_where_computing_is_faster() {
    let mut planner = Planner::new();
    let chunk =
        |i: usize, tier| StoredChunk { tokens: i * 256..(i + 1) * 256, bytes: 1 << 20, tier };
    let stored: Vec<_> =
        (0..8).map(|i| chunk(i, if i < 4 { TierKind::Host } else { TierKind::Disk })).collect();
    // Nothing is known: everything is loaded.
    assert_eq!(planner.plan_prefix(3000, &stored, &Load::default()).load, 0..2048);
    for _ in 0..20 {
        // 1 ms a token; 1 ms a chunk from memory, a second from the disk, which is more than its 256 tokens take.
        planner.measured_prefill(0..1000, 1.0);
        planner.measured_load(TierKind::Host, 1 << 20, 1e-3);
        planner.measured_load(TierKind::Host, 8 << 20, 8e-3);
        planner.measured_load(TierKind::Disk, 1 << 20, 1.0);
        planner.measured_load(TierKind::Disk, 8 << 20, 8.0);
    }
    let plan = planner.plan_prefix(3000, &stored, &Load::default());
    assert_eq!((plan.load, plan.compute), (0..1024, 0..0));
    let predicted_s = plan.predicted_s.unwrap();
    assert!((predicted_s - 1.98).abs() < 0.05, "{predicted_s}");
    // Memory that others keep busy for longer than all tokens take.
    let busy = Load { queued_bytes: [(TierKind::Host, 8 << 30)].into(), compute_wait_s: 0.0 };
    assert_eq!(planner.plan_prefix(3000, &stored, &busy).choice(), Choice::Recompute);
}
