//! `src/bindings.rs` is what bindgen makes of `hip/hip_runtime_api.h`.
//!
//! `cargo xtask hip-bindings` runs this with `KVASIR_UPDATE_BINDINGS=1`, which writes the file rather than
//! compare it.
#![forbid(unsafe_code)]

mod generate;

use std::path::Path;
use std::{env, fs};

use hip_toolchain::for_tests;

/// Set for the process that bindgen runs in: where it writes.
const OUT_VAR: &str = "KVASIR_BINDINGS_OUT";

/// Where it reads headers.
const INCLUDE_VAR: &str = "KVASIR_BINDINGS_INCLUDE";

/// The line of the generated file that says which headers it was made of.
fn version_line(bindings: &str) -> Option<&str> {
    bindings.lines().find(|line| line.starts_with("// HIP "))
}

/// Runs bindgen where it can load the toolchain's libclang: on the toolchain's C library.
#[test]
fn in_child() {
    let (Some(out), Some(include)) = (env::var_os(OUT_VAR), env::var_os(INCLUDE_VAR)) else {
        return;
    };
    fs::write(out, generate::bindings(Path::new(&include))).unwrap();
}

#[test]
fn the_committed_bindings_are_those_of_the_headers() {
    let Some(toolchain) = for_tests() else { return };
    let Some(libclang) = toolchain.libclang() else {
        eprintln!("skipped: no libclang");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("bindings.rs");
    let mut child = toolchain.command(&env::current_exe().unwrap());
    child.args(["--exact", "in_child", "--nocapture"]).env("LIBCLANG_PATH", libclang);
    child.env(OUT_VAR, &out).env(INCLUDE_VAR, toolchain.include_dir());
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made = fs::read_to_string(out).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bindings.rs");
    if env::var_os("KVASIR_UPDATE_BINDINGS").is_some_and(|value| value == "1") {
        fs::write(path, made).unwrap();
        return;
    }
    let committed = fs::read_to_string(path).unwrap();
    let (now, then) = (version_line(&made), version_line(&committed));
    assert!(now.is_some() && then.is_some(), "no line `// HIP MAJOR.MINOR`");
    if now != then {
        eprintln!("skipped: the headers here are {now:?}, the bindings are of {then:?}");
        return;
    }
    let differing = made.lines().zip(committed.lines()).find(|(made, committed)| made != committed);
    let told = "src/bindings.rs is not what bindgen makes: run `cargo xtask hip-bindings`";
    assert!(made == committed, "{told}; the first difference: {differing:?}");
}
