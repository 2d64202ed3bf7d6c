//! Silence on what compilers make of kernels without faults.

use code_object::CodeObject;
use gfx942_emulator::sanitize::Finding;

use crate::device::{Shape, compile, findings};

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
