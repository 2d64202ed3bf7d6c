//! What the kernels do in a few tests, compared with `baselines/counters.json`: instructions, cycles of units, bytes,
//! misses of L2.

use std::process::Command;
use std::{env, fs};

use hip_sys::LIBRARY_VAR;
use hip_toolchain::for_tests;
use kernels_hip::registry;

use crate::baseline::Baseline;
use crate::counters::{ByKernel, Report, add};
use crate::{emulator, modes};

/// Tests that run every variant of their ops, on shapes and numbers that are the same each time.
const CASES: [&str; 12] = [
    "fp8_convert::",
    "fp8_quantize::",
    "fused_fp8::",
    "gemm::every_variant",
    "gemm_fp8::",
    "gemm_int4::",
    "kv_blocks::",
    "kv_paths::",
    "kv_write::",
    "rms_norm::",
    "rows::",
    "sample::",
];

/// Runs tests in a process of their own, which writes down what each launch did.
fn counted(case: &str) -> Vec<Report> {
    let file = tempfile(case);
    let mut child = Command::new(env::current_exe().unwrap());
    // One after the other: what lies where in L2 depends on what was allocated before.
    child.args([case, "--test-threads", "1", "--skip", "every_mode"]);
    child.env(modes::MODE_VAR, "1").env(LIBRARY_VAR, emulator());
    child.env("KVASIR_EMU_COUNTERS", &file);
    let output = child.output().unwrap();
    assert!(output.status.success(), "{case}: {}", String::from_utf8_lossy(&output.stdout));
    let lines = fs::read_to_string(&file).unwrap();
    let reports: Vec<Report> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!reports.is_empty(), "{case} launches nothing");
    reports
}

/// An empty place for a case's reports.
fn tempfile(case: &str) -> std::path::PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("counters");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("{}.jsonl", case.replace(':', "_")));
    let _ = fs::remove_file(&file);
    file
}

#[test]
fn no_counter_differs_from_the_baseline() {
    let Some(toolchain) = for_tests() else { return };
    if env::var_os(modes::MODE_VAR).is_some() {
        return;
    }
    if registry::rows().is_empty() {
        return eprintln!("skipped: no kernels in this build");
    }
    let mut sums = ByKernel::new();
    for case in CASES {
        add(&mut sums, case, counted(case));
    }
    let is_built = |variant: &str| registry::rows().iter().any(|row| row.variant == variant);
    Baseline::of(&toolchain, sums).check("counters", "device counted", is_built);
}
