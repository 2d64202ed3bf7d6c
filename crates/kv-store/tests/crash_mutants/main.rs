//! The crash simulation on trial: each fault, put into the protocol of the directory tier, must be seen.
//!
//! The sources of kv-store are copied below the target directory with all faults of `faults` in them, each
//! behind a switch, and built once with `runner`. A fault whose text is no longer in the sources fails the
//! test.
#![forbid(unsafe_code)]

mod faults;

use std::path::Path;
use std::process::Command;

use faults::FAULTS;
use mutation::{KillRate, Package};

const PACKAGE: Package<'_> = Package {
    name: "kv-store",
    folder: env!("CARGO_MANIFEST_DIR"),
    tmp: env!("CARGO_TARGET_TMPDIR"),
    program: "kv-store-mutants",
    runner: "tests/crash_mutants/runner.rs",
    module: ["../crash/sim/mod.rs", "tests/crash/sim/mod.rs"],
    features: &["metrics"],
};

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
    let edits: Vec<_> = FAULTS.iter().map(|fault| std::slice::from_ref(&fault.edit)).collect();
    let runner = PACKAGE.build(&edits);
    let (what, how) = run(&runner, 0, 3_000);
    assert!(what.is_empty(), "without a fault: {what}: {how}");
    let mut kill_rate = KillRate::default();
    for (idx, fault) in FAULTS.iter().enumerate() {
        let (what, how) = run(&runner, 1 + idx, NUM_HISTORIES);
        if fault.seen_by.contains(&what.as_str()) {
            kill_rate.killed(fault.name, format!("{what}: {how}"));
        } else {
            kill_rate.survived(fault.name, format!("by {what:?}, not {:?}: {how}", fault.seen_by));
        }
    }
    kill_rate.require_all();
}
