//! A real hipcc compiles a kernel, refuses a wrong one, and has the tools that come with it.

use std::fs;
use std::path::Path;
use std::process::Command;

use hip_toolchain::{Error, Toolchain, for_tests};

const ADD_ONE: &str = "\
#include <hip/hip_runtime.h>
extern \"C\" __global__ void add_one(float *x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] += 1.0f;
}
";

fn compile(toolchain: &Toolchain, dir: &Path, text: &str) -> Result<Vec<u8>, Error> {
    let (source, object) = (dir.join("k.hip"), dir.join("k.hsaco"));
    fs::write(&source, text).unwrap();
    toolchain.compile(&source, "gfx942", &["-O1"], &object)?;
    Ok(fs::read(object).unwrap())
}

#[test]
fn a_kernel_becomes_a_code_object_that_llvm_disassembles() {
    let Some(toolchain) = for_tests() else { return };
    let dir = tempfile::tempdir().unwrap();
    let object = compile(&toolchain, dir.path(), ADD_ONE).unwrap();
    // ELF for machine 0xe0 (AMDGPU), whose low flag byte 0x4c is gfx942.
    assert_eq!((&object[..4], object[18], object[48]), (&b"\x7fELF"[..], 0xe0, 0x4c));
    let mut objdump = Command::new(toolchain.llvm_tool("llvm-objdump").unwrap());
    let listing = objdump.args(["-d", "--mcpu=gfx942"]).arg(dir.path().join("k.hsaco")).output();
    let listing = String::from_utf8(listing.unwrap().stdout).unwrap();
    assert!(listing.contains("v_add_f32"), "{listing}");
}

#[test]
fn the_bytes_do_not_depend_on_the_folder() {
    let Some(toolchain) = for_tests() else { return };
    let [a, b] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let object = compile(&toolchain, a.path(), ADD_ONE).unwrap();
    assert_eq!(object, compile(&toolchain, b.path(), ADD_ONE).unwrap());
}

#[test]
fn errors_are_the_compilers_own_words() {
    let Some(toolchain) = for_tests() else { return };
    let dir = tempfile::tempdir().unwrap();
    let error = compile(&toolchain, dir.path(), "__global__ void f() { g(); }").unwrap_err();
    assert!(error.to_string().contains("undeclared identifier 'g'"), "{error}");
    let error = toolchain.llvm_tool("llvm-no-such-tool").unwrap_err();
    assert!(error.to_string().contains("llvm-no-such-tool"), "{error}");
}

#[test]
fn headers_and_libraries_are_found_and_programs_run_on_them() {
    let Some(toolchain) = for_tests() else { return };
    assert!(toolchain.include_dir().join("hip/hip_runtime_api.h").is_file());
    assert!(toolchain.library("libno-such-library.so").is_none());
    let run = toolchain.command(Path::new("/bin/sh")).args(["-c", "echo ran"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&run.stdout), "ran\n", "{run:?}");
}
