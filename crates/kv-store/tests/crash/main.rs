//! The directory tier on a machine that loses power, reorders, fails, and answers from stale caches.
//!
//! The very code that runs on real files runs here above a simulated disk. What must hold: a read gives the
//! exact bytes or a miss; what `strict` acknowledged is found after a loss of power; what the dead leave
//! behind is removed; the cap holds. `crates/kv-store/tests/crash_mutants/main.rs` proves that this sees.
#![forbid(unsafe_code)]

mod sim;

use sim::scenario::{self, Scenario};

/// Histories of a run, over all threads.
const NUM_HISTORIES: u64 = 100_000;

#[test]
fn random_histories() {
    let num_threads = 2;
    let totals = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..num_threads)
            .map(|thread| {
                scope.spawn(move || {
                    let mut total = sim::Report::default();
                    for seed in (thread..NUM_HISTORIES).step_by(num_threads as usize) {
                        let scenario = Scenario::random(seed);
                        match sim::run(&scenario) {
                            Ok(report) => total += report,
                            Err(violation) => panic!("{violation:?} in {scenario:?}"),
                        }
                    }
                    total
                })
            })
            .collect();
        let mut total = sim::Report::default();
        runs.into_iter().for_each(|run| total += run.join().unwrap());
        total
    });
    println!("{totals:?}");
    // What was to be tested has happened.
    assert!(totals.num_hits > NUM_HISTORIES && totals.num_power_losses > NUM_HISTORIES / 2);
    assert!(totals.num_corrupt > 1000 && totals.num_strict_kept > NUM_HISTORIES / 4);
    assert!(totals.num_evicted > 1000 && totals.num_swept > 1000 && totals.num_faults > 10_000);
}

#[test]
fn a_crash_at_every_boundary_of_small_histories() {
    let mut total = sim::Report::default();
    let mut num_histories = 0;
    for small in scenario::small() {
        num_histories += sim::exhaust(&small, &mut total).unwrap_or_else(|v| panic!("{v:?}"));
    }
    println!("{num_histories} histories: {total:?}");
    assert!(num_histories > 5_000, "{num_histories}");
}

#[test]
fn one_fault_at_every_boundary_of_small_histories() {
    let mut num_histories = 0;
    for small in scenario::small() {
        num_histories += sim::exhaust_faults(&small).unwrap_or_else(|v| panic!("{v:?}"));
    }
    println!("{num_histories} histories");
    assert!(num_histories > 1_000, "{num_histories}");
}
