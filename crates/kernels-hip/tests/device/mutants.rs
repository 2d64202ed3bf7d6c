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
use std::{env, fs, thread};

use faults::{FAULTS, Fault};
use hip_sys::LIBRARY_VAR;
use hip_toolchain::Toolchain;
use kernels_hip::{Device, registry};

use crate::{emulator, modes};

/// `variant=file`, for the processes that the test starts.
const MUTANT_VAR: &str = "KVASIR_TEST_MUTANT";

/// The build's flags: a mutant is no faster and no slower than the kernel.
const FLAGS: [&str; 3] = ["-O3", "-Wall", "-I"];

/// The code object of a variant: the build's, or the mutant that stands in its place.
pub fn code_object(device: &Device, variant: &str) -> Vec<u8> {
    let mutant = env::var(MUTANT_VAR).unwrap_or_default();
    match mutant.split_once('=') {
        Some((of, file)) if of == variant => fs::read(file).unwrap(),
        _ => registry::code_object(variant, &device.info().arch).unwrap().bytes.to_vec(),
    }
}

fn kernels() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels")
}

/// Copies the op's source and all headers to `folder`, one of them patched, and compiles.
fn compile(toolchain: &Toolchain, fault: &Fault, folder: &Path) -> PathBuf {
    let op = fault.variant.split("_v").next().unwrap();
    let source = format!("{}.hip", fault.variant);
    let mut was_patched = false;
    let mut copy = |from: &Path, to: &Path| {
        let mut text = fs::read_to_string(from).unwrap();
        if from.file_name().unwrap().to_str() == Some(fault.file(&source)) {
            let count = text.matches(fault.find).count();
            assert_eq!(count, 1, "{}: the text to replace is there {count} times", fault.name);
            text = text.replace(fault.find, fault.replace);
            was_patched = true;
        }
        fs::write(to, text).unwrap();
    };
    let include = folder.join("include");
    fs::create_dir_all(&include).unwrap();
    for header in fs::read_dir(kernels().join("include")).unwrap() {
        let header = header.unwrap().path();
        copy(&header, &include.join(header.file_name().unwrap()));
    }
    copy(&kernels().join(op).join(&source), &folder.join(&source));
    assert!(was_patched, "{}: there is no {}", fault.name, fault.file(&source));
    let object = folder.join("mutant.hsaco");
    let flags = [FLAGS[0], FLAGS[1], FLAGS[2], include.to_str().unwrap()];
    let compiled = toolchain.compile(&folder.join(&source), "gfx942", &flags, &object);
    compiled.unwrap_or_else(|error| panic!("{}: {error}", fault.name));
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
    // Every variant as it is, found by a text that any kernel has and replaced by itself.
    let mut jobs: Vec<Fault> = Vec::new();
    let faults = [FAULTS, step_faults::FAULTS].concat();
    for fault in &faults {
        let is_known =
            jobs.iter().any(|job| (job.variant, job.sanitized) == (fault.variant, fault.sanitized));
        if !is_known {
            jobs.push(Fault { name: "no fault", replace: fault.find, ..*fault });
        }
    }
    let num_kernels = jobs.len();
    jobs.extend(&faults);
    let next = Mutex::new((0..jobs.len()).collect::<Vec<_>>());
    let wrong = Mutex::new(Vec::new());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants");
    let work = || {
        while let Some(idx) = { next.lock().unwrap().pop() } {
            let fault = &jobs[idx];
            let object = compile(&toolchain, fault, &folder.join(idx.to_string()));
            let (passed, said) = passes(fault, &object);
            if passed != (idx < num_kernels) {
                wrong.lock().unwrap().push(format!("{}, {}: {said}", fault.variant, fault.name));
            }
        }
    };
    thread::scope(|scope| {
        let num_threads = thread::available_parallelism().map_or(1, |n| n.get());
        (0..num_threads).for_each(|_| drop(scope.spawn(work)));
    });
    let wrong = wrong.into_inner().unwrap();
    println!("{} faults in {num_kernels} kernels, {} wrong", faults.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
