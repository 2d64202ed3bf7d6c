//! The checks of answers on trial: each fault, put into the readers of calls, must be seen.
//!
//! The sources are copied below the target directory with all faults of `faults` in them, each behind a switch, and built
//! once with `runner`, which runs the checks with one fault after the other. A fault whose text is no longer in the
//! sources fails the test.

mod faults;

use std::process::Command;

use faults::FAULTS;
use mutation::{KillRate, Package, is_wanted};

const PACKAGE: Package<'_> = Package {
    name: "tool-calls",
    folder: env!("CARGO_MANIFEST_DIR"),
    tmp: env!("CARGO_TARGET_TMPDIR"),
    program: "tool-call-mutants",
    runner: "tests/mutants/runner.rs",
    module: ["../answers/checks/mod.rs", "tests/answers/checks/mod.rs"],
    features: &[],
};

#[test]
fn every_fault_is_seen() {
    let edits: Vec<_> = FAULTS.iter().map(|(_, edit)| std::slice::from_ref(edit)).collect();
    let runner = PACKAGE.build(&edits);
    let output = Command::new(runner).arg(FAULTS.len().to_string()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8(output.stdout).unwrap();
    // For no fault, and for each, the check that failed first.
    let failed: Vec<&str> = told.lines().collect();
    assert_eq!((failed.len(), failed[0]), (1 + FAULTS.len(), ""), "without a fault all holds");
    let mut kill_rate = KillRate::default();
    for ((name, _), check) in
        FAULTS.iter().zip(&failed[1..]).filter(|((name, _), _)| is_wanted(name))
    {
        match *check {
            "" => kill_rate.survived(name, "all checks hold"),
            check => kill_rate.killed(name, check),
        }
    }
    kill_rate.require_all();
}
