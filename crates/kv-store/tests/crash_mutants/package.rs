//! kv-store with faults in it, as a package of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::faults::Fault;

/// The switch, at the end of the copy's `lib.rs`.
const SWITCH: &str = "
pub mod faults {
    use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    /// The fault that is switched on.
    pub static ON: AtomicUsize = AtomicUsize::new(0);

    pub fn is_on(id: usize) -> bool {
        ON.load(Relaxed) == id
    }
}
";

const MANIFEST: &str = r#"
[package]
name = "kv-store"
version = "0.0.0"
edition = "2024"

[workspace]

[[bin]]
name = "kv-store-mutants"
path = "runner.rs"

# Faults are to be seen by the simulation, not by assertions.
[profile.dev]
opt-level = 2
debug = false
debug-assertions = false
overflow-checks = false

# As in the workspace, so that its dependencies need not be built again.
[profile.dev.package."*"]
opt-level = 1
debug = false
debug-assertions = true
overflow-checks = true

[profile.dev.package.libm]
opt-level = 3
"#;

/// Writes the package below the workspace's target directory, and builds it with the workspace's
/// locked dependencies, which building this test has already fetched. Answers the runner.
pub fn build(faults: &[Fault]) -> PathBuf {
    let kv_store = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kv-store-mutants");
    fs::create_dir_all(&package).unwrap();
    copy_sources(&kv_store.join("src"), &package.join("src"), Path::new(""), faults);
    let manifest = format!("{MANIFEST}\n[dependencies]\n{}", dependencies(kv_store));
    write_if_new(&package.join("Cargo.toml"), &manifest);
    let lock = fs::read_to_string(kv_store.join("../../Cargo.lock")).unwrap();
    if !package.join("Cargo.lock").exists() {
        fs::write(package.join("Cargo.lock"), lock).unwrap();
    }
    let runner = fs::read_to_string(kv_store.join("tests/crash_mutants/runner.rs")).unwrap();
    let sim = kv_store.join("tests/crash/sim/mod.rs");
    let runner = runner.replace("\"../crash/sim/mod.rs\"", &format!("{sim:?}"));
    write_if_new(&package.join("runner.rs"), &runner);

    let target_dir = package.parent().and_then(Path::parent).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--bin", "kv-store-mutants", "--manifest-path"])
        .arg(package.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target_dir)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo build failed with {}:\n{stderr}", output.status);
    target_dir.join("debug").join(format!("kv-store-mutants{}", env::consts::EXE_SUFFIX))
}

/// The workspace's lines for what is always among the dependencies of kv-store.
fn dependencies(kv_store: &Path) -> String {
    let manifest = fs::read_to_string(kv_store.join("Cargo.toml")).unwrap();
    let workspace = fs::read_to_string(kv_store.join("../../Cargo.toml")).unwrap();
    let lines = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let lines = lines.take_while(|line| !line.is_empty() && !line.starts_with('['));
    let names = lines.filter(|line| !line.starts_with('#')).map(|line| {
        line.strip_suffix(".workspace = true").expect("dependencies are the workspace's")
    });
    let line = |name: &str| {
        let start = format!("{name} = ");
        let line = workspace.lines().find(|line| line.starts_with(&start));
        let line = line.expect("the workspace names it");
        let crates = kv_store.parent().unwrap().display();
        format!("{}\n", line.replace("path = \"crates/", &format!("path = \"{crates}/")))
    };
    names.map(line).collect()
}

/// Leaves a file alone whose contents are right, so that cargo does not build it again.
fn write_if_new(path: &Path, contents: &str) {
    if fs::read_to_string(path).ok().as_deref() != Some(contents) {
        fs::write(path, contents).unwrap();
    }
}

fn copy_sources(from: &Path, to: &Path, folder: &Path, faults: &[Fault]) {
    fs::create_dir_all(to.join(folder)).unwrap();
    for entry in fs::read_dir(from.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = folder.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_sources(from, to, &path, faults);
            continue;
        }
        let mut text = fs::read_to_string(entry.path()).unwrap();
        let name = path.to_str().unwrap().replace('\\', "/");
        put_faults(&mut text, &name, faults);
        if name == "lib.rs" {
            text.push_str(SWITCH);
        }
        write_if_new(&to.join(&path), &text);
    }
}

/// Replaces each text that a fault is in by a choice between the right one and the faulty ones.
fn put_faults(text: &mut String, file: &str, faults: &[Fault]) {
    let edits = faults.iter().enumerate().filter(|(_, fault)| fault.file == file);
    // Choices by where they begin, so that what is replaced moves nothing that is still to be.
    let mut choices: BTreeMap<usize, (&str, String)> = BTreeMap::new();
    for (idx, Fault { right, wrong, .. }) in edits {
        let id = 1 + idx;
        let num_found = text.matches(right).count();
        assert_eq!(num_found, 1, "{file}: there is no one place of `{right}`: update the fault");
        let place = text.find(right).unwrap_or_default();
        let (other, choice) = choices.entry(place).or_insert((right, String::new()));
        assert_eq!(other, right, "{file}: two faults overlap");
        choice.push_str(&format!("if crate::faults::is_on({id}) {{ {wrong} }} else "));
    }
    for (place, (right, choice)) in choices.into_iter().rev() {
        let end = place + right.len();
        assert!(text.is_char_boundary(end), "{file}: faults overlap at `{right}`");
        let choice = format!("{choice}{{ {right} }}");
        let is_statement = right.ends_with([';', '}']);
        let choice = if is_statement { choice } else { format!("({choice})") };
        text.replace_range(place..end, &choice);
    }
}
