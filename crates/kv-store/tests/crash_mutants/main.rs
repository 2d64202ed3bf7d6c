//! The crash simulation on trial: each fault, put into the protocol of the directory tier, must be seen.
//!
//! The sources of kv-store are copied below the target directory with all faults of `faults` in them, each
//! behind a switch, and built once with `runner`. A fault whose text is no longer in the sources fails the
//! test.
#![forbid(unsafe_code)]

mod faults;
mod package;

use std::path::Path;
use std::process::Command;

use faults::FAULTS;

/// Histories until a fault must have been seen.
const NUM_HISTORIES: u64 = 60_000;

fn run(runner: &Path, id: usize, num_histories: u64) -> (String, String) {
    let args = [id.to_string(), num_histories.to_string()];
    let output = Command::new(runner).args(args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "the runner failed for fault {id}: {output:?}");
    let (what, how) = text.trim_end_matches('\n').split_once('\t').unwrap();
    (what.to_owned(), how.to_owned())
}

#[test]
fn every_fault_is_seen() {
    let runner = package::build(FAULTS);
    let (what, how) = run(&runner, 0, 3_000);
    assert!(what.is_empty(), "without a fault: {what}: {how}");
    let mut unseen = Vec::new();
    for (idx, fault) in FAULTS.iter().enumerate() {
        let (what, how) = run(&runner, 1 + idx, NUM_HISTORIES);
        println!("{}: {what}: {how}", fault.name);
        if !fault.seen_by.contains(&what.as_str()) {
            unseen.push(format!("{}: by {what:?}, not {:?}: {how}", fault.name, fault.seen_by));
        }
    }
    assert!(unseen.is_empty(), "{}", unseen.join("\n"));
}
