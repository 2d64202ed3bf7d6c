//! Silence on what compilers make of kernels without faults.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use code_object::CodeObject;
use gfx942_emulator::sanitize::{Finding, Kind};

use crate::device::{Shape, compile, findings, findings_of_any};

fn lines(level: &str, findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("  {level} {finding}\n")).collect()
}

#[test]
fn clean_kernels_are_silent() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let mut wrong = String::new();
    for level in ["-O0", "-O1", "-O3"] {
        let object = compile(&toolchain, include_str!("clean.hip"), &[level]);
        let kernels = CodeObject::parse(&object).expect("clang's output is well-formed").kernels;
        assert!(kernels.len() > 10);
        for kernel in kernels {
            // Waves with all lanes, and one with some.
            for block in [128, 40] {
                let shape = Shape { grid: 2, block, num_threads: 2 };
                // A wave is as wide as its matrices, and a tile as the work-group.
                if block == 40
                    && ["matrix", "tiled", "reduce", "padded", "atomics"]
                        .contains(&kernel.name.as_str())
                {
                    continue;
                }
                wrong += &lines(level, &findings(&object, &kernel.name, shape));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn our_kernels_are_silent() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels-hip/kernels");
    let include = format!("-I{}", folder.join("include").display());
    let mut wrong = String::new();
    for (family, block) in
        [("fp8_quantize", None), ("mfma_probe", Some(64)), ("rms_norm", None), ("vector_add", None)]
    {
        let files = fs::read_dir(folder.join(family)).expect("kernels-hip is beside this crate");
        for file in files.map(|file| file.expect("it can be listed").path()) {
            let text = fs::read_to_string(file).expect("it can be read");
            for level in ["-O0", "-O3"] {
                let object = compile(&toolchain, &text, &[level, &include]);
                let kernels = CodeObject::parse(&object).expect("it is well-formed").kernels;
                for kernel in kernels {
                    let most = kernel.metadata.map_or(64, |m| m.max_flat_workgroup_size);
                    let shape = Shape { grid: 2, block: block.unwrap_or(most), num_threads: 1 };
                    wrong += &lines(level, &findings_of_any(&object, &kernel.name, shape));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// What else is compiled for tests. Two of those kernels do read LDS that they never write.
#[test]
fn of_the_decoders_kernels_those_that_read_unwritten_lds_are_found() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels");
    let mut found = BTreeSet::new();
    for file in fs::read_dir(folder).expect("the kernels are there") {
        let text = fs::read_to_string(file.expect("it can be listed").path()).expect("a text");
        for level in ["-O0", "-O3"] {
            let object = compile(&toolchain, &text, &[level, "-w"]);
            for kernel in CodeObject::parse(&object).expect("it is well-formed").kernels {
                let findings = findings_of_any(&object, &kernel.name, Shape::WAVE);
                found.extend(findings.into_iter().map(|finding| (finding.kernel, finding.kind)));
            }
        }
    }
    let expected = ["direct", "shared"].map(|kernel| (kernel.to_owned(), Kind::Uninitialized));
    assert_eq!(found, BTreeSet::from(expected));
}
