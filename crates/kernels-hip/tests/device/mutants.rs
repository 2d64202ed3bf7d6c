//! Seeded faults: each is a patch of a kernel or of a header it includes, compiled as the build does it, and must be rejected
//! by the tests of its op, which run in a process of their own with the mutant in the variant's place. So must every
//! variant that is patched pass them as it is: a rejection would mean nothing else.
//!
//! A patch whose text is not there exactly once is a failure of its own: the kernel has changed, and the fault is gone.

mod faults;
mod step_faults;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::{env, fs};

use faults::{FAULTS, Fault};
use hip_sys::LIBRARY_VAR;
use hip_toolchain::Toolchain;
use kernels_hip::{Device, registry};
use mutation::{Edit, KillRate, in_parallel, is_wanted};

use crate::patch::Patch;
use crate::{emulator, modes};

/// `variant=file`, for the processes that the test starts.
const MUTANT_VAR: &str = "KVASIR_TEST_MUTANT";

/// The code object of a variant: the build's, or the mutant that stands in its place.
pub fn code_object(device: &Device, variant: &str) -> Vec<u8> {
    let mutant = env::var(MUTANT_VAR).unwrap_or_default();
    match mutant.split_once('=') {
        Some((of, file)) if of == variant => fs::read(file).unwrap(),
        _ => registry::code_object(variant, &device.info().arch).unwrap().bytes.to_vec(),
    }
}

/// Compiles the variant of a fault with it, or as it is.
fn compile(toolchain: &Toolchain, fault: &Fault, is_whole: bool, folder: &Path) -> PathBuf {
    let Fault { variant, name, find, replace, .. } = *fault;
    let object = folder.join("mutant.hsaco");
    let file = fault.file();
    let patch =
        if is_whole { Patch::None } else { Patch::Text(Edit { file: &file, find, replace }) };
    let compiled = patch.compile(toolchain, variant, None, &object);
    compiled.unwrap_or_else(|error| panic!("{variant}, {name}: {error}"));
    object
}

/// Whether the tests of the op pass with the mutant, and what they said.
fn passes(fault: &Fault, object: &Path) -> (bool, String) {
    let mut child = Command::new(env::current_exe().unwrap());
    child.arg(fault.tests).args(["--test-threads", "1", "--skip", "mutants::"]);
    child.env(LIBRARY_VAR, emulator());
    child.env(MUTANT_VAR, format!("{}={}", fault.variant, object.display()));
    if fault.sanitized {
        child.env("KVASIR_EMU_SANITIZE", "fail");
    }
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("running"), "{}: {said}", fault.name);
    assert!(!said.contains("running 0 tests"), "{}: no test is named {}", fault.name, fault.tests);
    (output.status.success(), said)
}

#[test]
fn every_fault_is_rejected_and_no_kernel_is() {
    if env::var_os(MUTANT_VAR).is_some() || env::var_os(modes::MODE_VAR).is_some() {
        return;
    }
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    // Every variant as it is, then the faults.
    let mut jobs: Vec<Fault> = Vec::new();
    let mut faults = [FAULTS, step_faults::FAULTS].concat();
    faults.retain(|fault| is_wanted(&format!("{}: {}", fault.variant, fault.name)));
    for fault in &faults {
        let is_known =
            jobs.iter().any(|job| (job.variant, job.sanitized) == (fault.variant, fault.sanitized));
        if !is_known {
            jobs.push(*fault);
        }
    }
    let num_kernels = jobs.len();
    jobs.extend(&faults);
    let kill_rate = Mutex::new(KillRate::default());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants");
    in_parallel(&jobs, |idx, fault| {
        let is_whole = idx < num_kernels;
        let object = compile(&toolchain, fault, is_whole, &folder.join(idx.to_string()));
        let (passed, said) = passes(fault, &object);
        let Fault { variant, name, tests, .. } = fault;
        let what = format!("{variant}: {name}");
        if is_whole {
            assert!(passed, "{variant} itself is rejected: {said}");
        } else if passed {
            kill_rate.lock().unwrap().survived(what, format!("{tests} passed"));
        } else {
            kill_rate.lock().unwrap().killed(what, tests);
        }
    });
    kill_rate.into_inner().unwrap().require_all();
}
