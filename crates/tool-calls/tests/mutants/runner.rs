//! Runs the checks without a fault, and with each of so many: `runner FAULTS`. Prints a line each, with the check that
//! failed first, or none.

#[path = "../answers/checks/mod.rs"]
mod checks;

use std::panic::catch_unwind;
use std::sync::atomic::Ordering::Relaxed;

fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    let num_faults = std::env::args().nth(1).and_then(|number| number.parse().ok());
    for id in 0..=num_faults.expect("a number of faults") {
        tool_calls::faults::ON.store(id, Relaxed);
        let failed = checks::CHECKS.iter().find(|(_, check)| catch_unwind(check).is_err());
        println!("{}", failed.map_or("", |(name, _)| name));
    }
}
