//! Runs random histories with one fault switched on: `runner ID HISTORIES`. Prints, with a tab between, what the
//! fault was seen by, or nothing, and how.

#[path = "../crash/sim/mod.rs"]
#[allow(dead_code, reason = "the exhaustive histories are not run here")]
mod sim;

use std::sync::atomic::Ordering::Relaxed;

use sim::scenario::Scenario;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let id = args[1].parse().expect("the number of a fault");
    let num_histories: u64 = args[2].parse().expect("a number of histories");
    kv_store::faults::ON.store(id, Relaxed);
    for seed in 0..num_histories {
        if let Err(violation) = sim::run(&Scenario::random(seed)) {
            println!("{}\thistory {seed}: {}", violation.what, violation.detail);
            return;
        }
    }
    println!("\t{num_histories} histories");
}
