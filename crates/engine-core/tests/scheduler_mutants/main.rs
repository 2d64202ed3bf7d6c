//! The simulation on trial: each fault, put into the scheduler, the pool, the cache, the swap or the
//! guessing, must be seen.
//!
//! The sources of engine-core are copied below the target directory with all faults of `faults` in
//! them, each behind a switch, and built once with `runner`, which runs the simulation with one
//! fault switched on. A fault whose text is no longer in the sources fails the test.

mod faults;
mod load_faults;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use faults::{FAULTS, Fault, Texts};
use load_faults::LOAD_FAULTS;
use mutation::{KillRate, Package, in_parallel};

const PACKAGE: Package<'_> = Package {
    name: "engine-core",
    folder: env!("CARGO_MANIFEST_DIR"),
    tmp: env!("CARGO_TARGET_TMPDIR"),
    program: "scheduler-mutants",
    runner: "tests/scheduler_mutants/runner.rs",
    module: ["../simulation/sim/mod.rs", "tests/simulation/sim/mod.rs"],
    features: &["serde"],
};

/// What the runner says of one fault.
#[derive(Clone, Debug)]
struct Verdict {
    /// The invariant by which it was seen; empty if it was not.
    invariant: String,
    /// Operations of the scenario that shows it.
    num_ops: usize,
    text: String,
}

/// Steps until a fault must have been seen.
const NUM_STEPS: u64 = 2_000_000;
/// A fault that makes the scheduler go round for ever is ended.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs the simulation with fault `id` switched on; 0 is none.
fn run(runner: &Path, id: usize, texts: Texts, num_steps: u64) -> Verdict {
    let start = Instant::now();
    let mut child = Command::new(runner)
        .args([id.to_string(), texts.name().to_owned(), num_steps.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > TIMEOUT {
            child.kill().unwrap();
            child.wait().unwrap();
            let text = "a call never returned".into();
            return Verdict { invariant: "25".into(), num_ops: 0, text };
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "the runner failed for fault {id}: {text}");
    let mut parts = text.trim_end().splitn(3, '\t');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    Verdict { invariant: part(), num_ops: part().parse().unwrap(), text: part() }
}

#[test]
fn every_fault_is_seen() {
    let faults = [FAULTS, LOAD_FAULTS].concat();
    let edits: Vec<_> = faults.iter().map(|fault| fault.edits).collect();
    let runner = PACKAGE.build(&edits);
    for texts in [Texts::Usual, Texts::Distinct] {
        let verdict = run(&runner, 0, texts, 50_000);
        assert!(verdict.invariant.is_empty(), "without a fault: {verdict:?}");
    }
    let verdicts = Mutex::new(Vec::new());
    in_parallel(&faults, |idx, fault| {
        let verdict = run(&runner, 1 + idx, fault.texts, NUM_STEPS);
        verdicts.lock().unwrap().push((idx, verdict));
    });
    let mut verdicts = verdicts.into_inner().unwrap();
    verdicts.sort_by_key(|(idx, _)| *idx);
    let mut kill_rate = KillRate::default();
    for (idx, Verdict { invariant, num_ops, text }) in verdicts {
        let Fault { name, seen_by, .. } = faults[idx];
        // A failure is made so small that it can be read.
        assert!(num_ops < 30, "{name}: {num_ops} operations: {text}");
        if !seen_by.contains(&invariant.as_str()) {
            kill_rate.survived(name, format!("by {invariant:?}, not {seen_by:?}: {text}"));
        } else if invariant.is_empty() {
            println!("no fault  {name}\n          {text}");
        } else {
            kill_rate.killed(name, format!("{invariant}: {text}"));
        }
    }
    assert!(kill_rate.num_faults() >= 20, "{} faults", kill_rate.num_faults());
    kill_rate.require_all();
}
