//! Runs the simulation with one fault switched on: `runner ID TEXTS STEPS`. Prints, with tabs
//! between, the invariant by which the fault is seen, or nothing, the operations of the smallest
//! scenario that shows it, and how.

#[path = "../simulation/sim/mod.rs"]
mod sim;

use std::sync::atomic::Ordering::Relaxed;

use sim::scenario::Scenario;
use sim::{Failure, Options, try_run};

fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    let args: Vec<String> = std::env::args().collect();
    let id = args[1].parse().expect("the number of a fault");
    let is_distinct = args[2] == "distinct";
    let num_steps: u64 = args[3].parse().expect("a number of steps");
    engine_core::faults::ON.store(id, Relaxed);
    let (mut num_made, mut num_mismatches) = (0, 0);
    for seed in 0.. {
        let mut scenario = match is_distinct {
            true => Scenario::generate_distinct(seed),
            false => Scenario::generate(seed),
        };
        scenario.world.hashes_collide = is_distinct;
        match try_run(&scenario, Options::default()).0 {
            Ok(report) => {
                num_made += report.num_steps;
                num_mismatches += report.stats.num_hash_mismatches;
            }
            Err(violation) => {
                let invariant = violation.invariant;
                let failure = Failure { scenario, violation }.shrink();
                let (ops, what) = (failure.scenario.ops.len(), failure.violation.what);
                println!("{invariant}\t{ops}\tseed {seed}, {ops} operations: {}", what.replace('\n', " "));
                return;
            }
        }
        if num_made >= num_steps {
            println!("\t0\t{num_made} steps, {num_mismatches} mismatches");
            return;
        }
    }
}
