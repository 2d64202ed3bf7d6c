//! engine-core links without the standard library: proved by a program that has none.

use std::path::Path;
use std::process::{Command, Output};
use std::{env, fs};

/// The package around `no-std-link/program.rs`. It stands outside the workspace, so that no feature
/// that another crate turns on reaches it.
const MANIFEST: &str = r#"
[package]
name = "no-std-link"
version = "0.0.0"
edition = "2024"

[workspace]

[[bin]]
name = "no-std-link"
path = "program.rs"

[dependencies]
engine-core = { path = ENGINE_CORE }

[profile.dev]
panic = "abort"
debug = false
"#;

/// Parts of symbol names, in both mangling schemes, that only code of std has.
const STD_SYMBOLS: [&[u8]; 3] = [b"_ZN3std", b"$LT$std..", b"_3std"];

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn has_any(program: &Path, symbols: &[&[u8]]) -> bool {
    let bytes = fs::read(program).unwrap();
    symbols.iter().any(|symbol| contains(&bytes, symbol))
}

fn assert_success(output: &Output, what: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what} failed with {}:\n{stderr}", output.status);
}

/// Writes the package below the workspace's target directory and builds it with the workspace's
/// locked dependencies, which building this test has already fetched.
#[test]
fn links_and_runs_without_std() {
    let engine_core = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-std-link");
    fs::create_dir_all(&package).unwrap();
    let manifest = MANIFEST.replace("ENGINE_CORE", &format!("{engine_core:?}"));
    fs::write(package.join("Cargo.toml"), manifest).unwrap();
    fs::copy(engine_core.join("../../Cargo.lock"), package.join("Cargo.lock")).unwrap();
    fs::copy(engine_core.join("tests/no-std-link/program.rs"), package.join("program.rs")).unwrap();

    let target_dir = package.join("target");
    let output = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--manifest-path"])
        .arg(package.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target_dir)
        // A wrapper or flags meant for the outer build (coverage, sanitizers) may need std.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .unwrap();
    assert_success(&output, "cargo build");

    let program = target_dir.join("debug").join(format!("no-std-link{}", env::consts::EXE_SUFFIX));
    let output = Command::new(&program).output().unwrap();
    assert_success(&output, "no-std-link");
    assert!(has_any(&program, &[b"engine_core"]), "{} has no symbols", program.display());
    assert!(!has_any(&program, &STD_SYMBOLS), "std is linked into {}", program.display());
    // The search finds std where it is: in this test.
    assert!(has_any(&env::current_exe().unwrap(), &STD_SYMBOLS));
}
