//! The simulation on trial: each fault, put into the scheduler, the pool, the cache, the swap or the
//! guessing, must be seen.
//!
//! The sources of engine-core are copied below the target directory with all faults of `faults` in
//! them, each behind a switch, and built once with `runner`, which runs the simulation with one
//! fault switched on. A fault whose text is no longer in the sources fails the test.

mod faults;
mod load_faults;
mod package;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use faults::{FAULTS, Fault, Texts};
use load_faults::LOAD_FAULTS;

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
    let runner = package::build(&faults);
    for texts in [Texts::Usual, Texts::Distinct] {
        let verdict = run(&runner, 0, texts, 50_000);
        assert!(verdict.invariant.is_empty(), "without a fault: {verdict:?}");
    }
    // Two at a time: the test may not take more than its share of a machine.
    let next = Mutex::new(faults.iter().enumerate());
    let verdicts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some((idx, fault)) = next.lock().unwrap().next() else { return };
                    let verdict = run(&runner, 1 + idx, fault.texts, NUM_STEPS);
                    verdicts.lock().unwrap().push((idx, verdict));
                }
            });
        }
    });
    let mut verdicts = verdicts.into_inner().unwrap();
    verdicts.sort_by_key(|(idx, _)| *idx);
    let mut unexpected = Vec::new();
    for (idx, Verdict { invariant, num_ops, text }) in &verdicts {
        let Fault { name, seen_by, .. } = &faults[*idx];
        println!("{name}: {} {text}", if invariant.is_empty() { "unseen" } else { invariant });
        // A failure is made so small that it can be read.
        assert!(*num_ops < 30, "{name}: {num_ops} operations: {text}");
        if !seen_by.contains(&invariant.as_str()) {
            unexpected.push(format!("{name}: by {invariant:?}, not {seen_by:?}: {text}"));
        }
    }
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
    let num_faults = faults.iter().filter(|fault| !fault.seen_by.contains(&"")).count();
    assert!(num_faults >= 20, "{num_faults} faults");
}
