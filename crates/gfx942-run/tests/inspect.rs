//! `--list` and `--disasm` of what hipcc makes.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::{Command, Output};

use hip_toolchain::Toolchain;

const SOURCE: &str = r#"
#include <hip/hip_runtime.h>
extern "C" __global__ void __launch_bounds__(256) scale(float* x, float factor, int n) {
    __shared__ float tile[256];
    int i = blockIdx.x * 256 + threadIdx.x;
    tile[threadIdx.x] = i < n ? x[i] : 0.0f;
    __syncthreads();
    if (i < n) x[i] = tile[threadIdx.x ^ 1] * factor;
}
extern "C" __global__ void fill(double* x) { x[threadIdx.x] = __builtin_sqrt(x[blockIdx.y]); }
"#;

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gfx942-run")).args(args).output().unwrap()
}

fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn stderr(output: Output) -> String {
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

/// Compiles [`SOURCE`] in `dir`.
fn compile(toolchain: &Toolchain, dir: &Path) -> String {
    let (from, to) = (dir.join("k.hip"), dir.join("k.hsaco"));
    std::fs::write(&from, SOURCE).unwrap();
    toolchain.compile(&from, "gfx942", &["-O2"], &to).unwrap();
    to.to_str().unwrap().to_owned()
}

#[test]
fn the_list_says_what_kernels_take_and_need() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let dir = tempfile::tempdir().unwrap();
    let object = compile(&toolchain, dir.path());
    let list = stdout(run(&[&object, "--list"]));
    assert!(list.starts_with("code object V6 for gfx942\nfill\n"), "{list}");
    let scale = stdout(run(&[&object, "--list", "--kernel", "scale"]));
    assert!(scale.starts_with("scale\n  1024 bytes of LDS, 0 bytes of scratch"), "{scale}");
    assert!(scale.contains("up to 256 work-items"), "{scale}");
    let args = "  arg 0: pointer, 8 bytes at 0\n  arg 1: value, 4 bytes at 8\n  \
                arg 2: value, 4 bytes at 12\n";
    assert!(scale.ends_with(args), "{scale}");
    let error = stderr(run(&[&object, "--list", "--kernel", "scales"]));
    assert_eq!(error, "error: no kernel scales; there are: fill, scale\n");
}

/// The instructions and their encodings in a disassembly, without spacing and without what follows an encoding.
fn lines(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix('\t')?.split_once("// "));
    lines
        .map(|(inst, words)| (inst.trim().to_owned(), words.split(" <").next().unwrap().to_owned()))
        .collect()
}

#[test]
fn the_disassembly_is_llvms() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let dir = tempfile::tempdir().unwrap();
    let object = compile(&toolchain, dir.path());
    let mut objdump = Command::new(toolchain.llvm_tool("llvm-objdump").unwrap());
    let theirs = stdout(objdump.args(["-d", "--mcpu=gfx942", &object]).output().unwrap());
    let ours = stdout(run(&[&object, "--disasm"]));
    let (ours_lines, all) = (lines(&ours), lines(&theirs));
    assert!(ours_lines.len() > 20, "{ours}");
    // llvm-objdump goes on into the padding between functions.
    let mut rest = all.iter();
    for line in &ours_lines {
        assert!(rest.any(|theirs| theirs == line), "{line:?} is not in\n{theirs}");
    }
    for name in ["scale", "fill"] {
        assert!(ours.contains(&format!(" <{name}>:\n")), "{ours}");
    }
    let one = stdout(run(&[&object, "--disasm", "--kernel", "fill"]));
    assert!(ours.contains(one.trim()) && one.len() < ours.len());
    assert!(one.contains("s_endpgm") && one.contains("v_sqrt") || one.contains("v_rsq"), "{one}");
}

#[test]
fn what_cannot_be_read_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("k.hsaco");
    let name = path.to_str().unwrap();
    let error = stderr(run(&[name, "--list"]));
    assert!(error.contains("cannot read") && error.contains(name), "{error}");
    std::fs::write(&path, "int main() {}").unwrap();
    let error = stderr(run(&[name, "--list"]));
    assert!(error.contains("neither a code object nor an offload bundle"), "{error}");
    assert!(stderr(run(&[name])).contains("--kernel"));
}
