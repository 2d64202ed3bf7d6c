//! Seeded faults: each kernel below, with one thing wrong, must be rejected by the checks that pass on the real one.
//!
//! A fault is a text patch of a kernel or header, compiled here, or an edit of the machine code. It is killed by a wrong
//! result, by a fault of the device, or, if results are right, by a sanitizer. Every run is a process of its own: a
//! device that faulted is of no more use.
#![forbid(unsafe_code)]

mod attention;
// Shared with tests/attention, which uses the rest of it.
#[allow(dead_code, unused_imports)]
#[path = "../support/attention/mod.rs"]
mod bench;
#[path = "../support/patch.rs"]
mod patch;
#[path = "../support/device.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use hip_sys::LIBRARY_VAR;
use kernels_hip::{Device, Stream, registry};
use mutation::{KillRate, is_wanted};
use patch::Patch;

/// One thing wrong with a variant.
struct Mutant {
    variant: &'static str,
    name: &'static str,
    patch: Patch<'static>,
}

/// Takes a device, a variant and its code object.
type Check = fn((&Device, &Stream), &str, &[u8]) -> Result<(), String>;

/// An op's faults and what must see them.
struct Suite {
    mutants: &'static [Mutant],
    /// What replaces the kernels of a variant, so that only those that the check needs are compiled.
    narrow: fn(variant: &str) -> Option<(&'static str, &'static str)>,
    /// Nothing, or what is wrong with a variant's code object.
    check: Check,
}

/// Other ops add theirs here.
const SUITES: &[Suite] =
    &[Suite { mutants: attention::MUTANTS, narrow: attention::narrow, check: attention::check }];

/// What tells the process that a test starts what to check: suite, variant, code object.
const CHILD_VAR: &str = "KVASIR_TEST_MUTANT";

#[test]
fn in_child() {
    let Ok(what) = env::var(CHILD_VAR) else { return };
    let mut parts = what.splitn(3, ':');
    let mut part = || parts.next().unwrap();
    let (suite, variant, object) = (part().parse::<usize>().unwrap(), part(), part());
    let (device, stream) = support::device().expect("the parent has looked");
    let object = fs::read(object).unwrap();
    if let Err(error) = (SUITES[suite].check)((&device, &stream), variant, &object) {
        panic!("rejected: {error}");
    }
}

/// How the checks took a code object: `None` if they passed it.
fn rejection(suite: usize, variant: &str, object: &Path) -> Option<String> {
    for sanitize in [false, true] {
        let mut child = Command::new(env::current_exe().unwrap());
        child.args(["--exact", "in_child", "--nocapture"]);
        child.env(CHILD_VAR, format!("{suite}:{variant}:{}", object.display()));
        child.env(LIBRARY_VAR, support::emulator());
        child.env("RUST_BACKTRACE", "0");
        if sanitize {
            child.env("KVASIR_EMU_SANITIZE", "fail");
        }
        let output = child.output().unwrap();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            let what = errors
                .lines()
                .find(|line| line.contains("rejected: ") || line.starts_with("hip-emulator"));
            let by = if sanitize { "sanitizer" } else { "check" };
            return Some(format!("{by}: {}", what.unwrap_or("the process ended")));
        }
    }
    None
}

/// Where a variant's code object goes.
fn object_path(variant: &str, name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants");
    fs::create_dir_all(&folder).unwrap();
    folder.join(format!("{variant}.{}.hsaco", name.replace(' ', "_")))
}

#[test]
fn every_fault_is_seen() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let is_built = |name| registry::rows().iter().any(|row| row.variant == name);
    if !SUITES.iter().flat_map(|suite| suite.mutants).all(|mutant| is_built(mutant.variant)) {
        // Checks compare variants with each other.
        eprintln!(
            "skipped: not all variants are in this build; --features kernels-hip/all-variants"
        );
        return;
    }
    let mut kill_rate = KillRate::default();
    for (suite_idx, suite) in SUITES.iter().enumerate() {
        let is_wanted =
            |mutant: &&Mutant| is_wanted(&format!("{}: {}", mutant.variant, mutant.name));
        let mutants: Vec<_> = suite.mutants.iter().filter(is_wanted).collect();
        let mut variants: Vec<_> = mutants.iter().map(|mutant| mutant.variant).collect();
        variants.dedup();
        for variant in variants {
            let narrow = (suite.narrow)(variant);
            let whole = object_path(variant, "whole");
            Patch::None.compile(&toolchain, variant, narrow, &whole).unwrap();
            if let Some(why) = rejection(suite_idx, variant, &whole) {
                panic!("{variant} itself is rejected: {why}");
            }
        }
        for Mutant { variant, name, patch } in mutants {
            let object = object_path(variant, name);
            let narrow = (suite.narrow)(variant);
            patch
                .compile(&toolchain, variant, narrow, &object)
                .unwrap_or_else(|error| panic!("{variant}, {name}: {error}"));
            let what = format!("{variant}: {name}");
            match rejection(suite_idx, variant, &object) {
                Some(why) => kill_rate.killed(what, why),
                None => kill_rate.survived(what, "the checks passed"),
            }
        }
    }
    kill_rate.require_all();
}
