//! The real scheduler, block pool and prefix cache in simulated worlds; see [`sim`].
//!
//! `KVASIR_SIM_SEED` and `KVASIR_SIM_STEPS` say where to begin and how many steps to make at least;
//! with `KVASIR_LONG` set there are a hundred times as many as usual.

mod sim;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{env, fs};

use engine_core::scheduler::SchedulerStats;
use sim::scenario::{Op, Scenario};
use sim::{Failure, Options, Report, try_run};

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text}, which is no number")))
}

/// Runs the scenarios of seeds from `first` on until `num_steps` steps are made.
fn simulate(first: u64, num_steps: u64, look: impl FnMut(&Scenario, &Report)) {
    simulate_all(Scenario::generate, first, num_steps, look);
}

fn simulate_all(
    generate: fn(u64) -> Scenario,
    first: u64,
    num_steps: u64,
    mut look: impl FnMut(&Scenario, &Report),
) {
    let is_long = env::var_os("KVASIR_LONG").is_some();
    let num_steps = num_steps * if is_long { 100 } else { 1 };
    let num_steps = number("KVASIR_SIM_STEPS").unwrap_or(num_steps);
    let first = number("KVASIR_SIM_SEED").unwrap_or(first);
    let (start, mut num_made) = (Instant::now(), 0);
    for seed in first.. {
        let scenario = generate(seed);
        match try_run(&scenario, Options::default()).0 {
            Ok(report) => {
                num_made += report.num_steps;
                look(&scenario, &report);
            }
            Err(violation) => fail(seed, scenario, violation),
        }
        if num_made >= num_steps {
            let seconds = start.elapsed().as_secs_f64();
            let num_scenarios = seed - first + 1;
            println!("{num_made} steps of {num_scenarios} scenarios in {seconds:.1} s");
            return;
        }
    }
}

/// Tells a failure by its smallest scenario.
fn fail(seed: u64, scenario: Scenario, violation: sim::Violation) -> ! {
    let first_seen = violation.to_string();
    let failure = Failure { scenario, violation }.shrink();
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    panic!(
        "{}\nfirst seen as {first_seen}\nreproduce: KVASIR_SIM_SEED={seed} KVASIR_SIM_STEPS=1 cargo \
         nextest run -p engine-core --test simulation {test}",
        failure.log()
    );
}

/// The worlds of four tests, so that they can run at once, do not overlap.
const WORLDS: [u64; 4] = [0, 1 << 40, 2 << 40, 3 << 40];

#[test]
fn random_worlds_0() {
    simulate(WORLDS[0], 300_000, |_, _| {});
}

#[test]
fn random_worlds_1() {
    simulate(WORLDS[1], 300_000, |_, _| {});
}

#[test]
fn random_worlds_2() {
    simulate(WORLDS[2], 300_000, |_, _| {});
}

#[test]
fn random_worlds_3() {
    simulate(WORLDS[3], 300_000, |_, _| {});
}

/// Worlds whose texts have no token in common.
#[test]
fn worlds_of_distinct_texts() {
    simulate_all(Scenario::generate_distinct, 7 << 40, 50_000, |_, _| {});
}

/// Invariant 32: the same scenario gives the same batches, to the byte.
#[test]
fn the_same_scenario_gives_the_same_batches() {
    simulate(4 << 40, 20_000, |scenario, report| {
        let (again, _) = try_run(scenario, Options::default());
        assert_eq!(again.as_ref(), Ok(report));
    });
}

/// Invariants 17 and 28: with other bounds, in another order of steps, with or without cache, swap
/// and guesses, the same requests get the same answers.
#[test]
fn outputs_do_not_depend_on_the_schedule() {
    let mut num_compared = 0;
    simulate(5 << 40, 20_000, |scenario, _| {
        let outputs = |world: &Scenario| {
            let adds =
                scenario.ops.iter().filter(|op| matches!(op, Op::Add(load) if load.priority == 0));
            let mut scenario = Scenario { world: world.world, ops: adds.copied().collect() };
            scenario.world.config.max_model_len = 40;
            scenario.world.config.max_num_queued_reqs = None;
            scenario.world.config.num_blocks += 40;
            scenario.world.config.max_num_batched_tokens += 40;
            try_run(&scenario, Options::default()).0.map(|report| report.outputs)
        };
        let first = outputs(scenario).unwrap();
        num_compared += first.len();
        for seed in 0..4 {
            assert_eq!(outputs(&Scenario::generate(seed)).as_ref(), Ok(&first));
        }
    });
    assert!(num_compared > 1000, "{num_compared}");
}

/// A call of `schedule` that admits nobody allocates nothing, nor does a commit that ends nobody.
#[test]
fn steps_allocate_nothing() {
    let measure = |call: &mut dyn FnMut()| allocation_counter::measure(call).count_total;
    assert_eq!(measure(&mut || drop(std::hint::black_box(Box::new(1)))), 1);
    let options = Options { measure: Some(measure), ..Options::default() };
    let (mut num_measured, mut num_preemptions) = (0, 0);
    simulate(8 << 40, 50_000, |scenario, _| {
        let report = try_run(scenario, options).0.unwrap_or_else(|violation| panic!("{violation}"));
        num_measured += report.num_measured_steps;
        num_preemptions += report.stats.num_preemptions;
    });
    assert!(num_measured > 20_000 && num_preemptions > 500, "{num_measured}, {num_preemptions}");
}

/// What the random worlds are for does happen in them, a hundred times at least.
#[test]
fn random_worlds_do_everything() {
    let mut total = SchedulerStats::default();
    let mut other = Report::default();
    simulate(6 << 40, 200_000, |_, report| {
        let stats = report.stats;
        total.num_mixed_steps += stats.num_mixed_steps;
        total.num_partial_prefills += stats.num_partial_prefills;
        total.num_preemptions += stats.num_preemptions;
        total.num_swaps_out += stats.num_swaps_out;
        total.num_swaps_in += stats.num_swaps_in;
        total.num_failed_swaps += stats.num_failed_swaps;
        total.num_prefix_hit_tokens += stats.num_prefix_hit_tokens;
        total.num_published_blocks += stats.num_published_blocks;
        total.num_evicted_blocks += stats.num_evicted_blocks;
        total.num_set_asides += stats.num_set_asides;
        total.num_loads += stats.num_loads;
        total.num_split_loads += stats.num_split_loads;
        total.num_tokens_beside_loads += stats.num_tokens_beside_loads;
        total.num_loaded_tokens += stats.num_loaded_tokens;
        total.num_failed_loads += stats.num_failed_loads;
        total.num_draft_tokens += stats.num_draft_tokens;
        total.num_accepted_tokens += stats.num_accepted_tokens;
        total.num_failed_steps += stats.num_failed_steps;
        other.num_aborts += report.num_aborts;
        other.num_drains += report.num_drains;
        other.num_resets += report.num_resets;
        other.num_refusals += report.num_refusals;
        other.num_dropped_steps += report.num_dropped_steps;
    });
    let counts = [
        ("mixed steps", total.num_mixed_steps),
        ("partial prefills", total.num_partial_prefills),
        ("preemptions", total.num_preemptions),
        ("preemptions without swap", total.num_preemptions - total.num_swaps_out),
        ("swaps out", total.num_swaps_out),
        ("swaps in", total.num_swaps_in),
        ("failed swaps", total.num_failed_swaps),
        ("hit tokens", total.num_prefix_hit_tokens),
        ("published blocks", total.num_published_blocks),
        ("evicted blocks", total.num_evicted_blocks),
        ("set-asides", total.num_set_asides),
        ("loads", total.num_loads),
        ("loads behind what is computed", total.num_split_loads),
        ("tokens computed beside a load", total.num_tokens_beside_loads),
        ("loaded tokens", total.num_loaded_tokens),
        ("failed loads", total.num_failed_loads),
        ("loads that outlive their sequence", other.num_drains),
        ("rejected guesses", total.num_draft_tokens - total.num_accepted_tokens),
        ("accepted guesses", total.num_accepted_tokens),
        ("failed steps", total.num_failed_steps),
        ("aborts", other.num_aborts),
        ("resets", other.num_resets),
        ("refusals", other.num_refusals),
        ("dropped steps", other.num_dropped_steps),
    ];
    println!("{counts:?}");
    for (name, count) in counts {
        assert!(count >= 100, "{name}: {count}");
    }
}

/// Rust sources below a folder, one after the other.
fn sources(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: PathBuf| match path.is_dir() {
        true => sources(&path),
        false => fs::read_to_string(path).unwrap(),
    };
    entries.map(text).collect()
}

/// What a failure is told by can be looked up, and each invariant of the core is checked.
#[test]
fn the_document_has_every_invariant() {
    let engine_core = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(engine_core.join("../../docs/invariants.md")).unwrap();
    let sources = sources(&engine_core.join("tests/simulation/sim"));
    let calls = sources.split("ensure!(").skip(1).filter_map(|call| call.split('"').nth(1));
    let checked: BTreeSet<&str> = calls.collect();
    for name in &checked {
        assert!(document.contains(&format!("\n| {name} |")), "{name} is in no row");
    }
    // An assertion of the pool, what follows from others, texts, and two runs compared.
    let elsewhere = ["4", "9", "15", "17", "24", "29", "30", "32"];
    for number in 1..=32 {
        let name = number.to_string();
        let is_checked = checked.contains(name.as_str()) || elsewhere.contains(&name.as_str());
        assert!(is_checked && document.contains(&format!("\n| {name} |")), "{name}");
    }
}
