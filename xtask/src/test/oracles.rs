//! Runs every oracle with `--check`: the convention is in `tests/oracles/README.md`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::Options;
use crate::context::{Context, TEST_MODEL_VAR};
use crate::{process, python};

/// The pinned packages, the module that oracles share, and the oracles of more than one crate.
const FOLDER: &str = "tests/oracles";

/// What every oracle's last line calls, which gives it its `--check`.
const ENTRY_POINT: &str = "_fixtures.run(";

/// Checks every committed fixture against the implementation it came from.
pub fn check(context: &Context, _: &Options) -> Result<()> {
    let oracles = oracles(&context.root)?;
    let folder = context.root.join(FOLDER);
    let pins = folder.join("requirements.txt");
    let pins = fs::read_to_string(&pins).with_context(|| format!("no {}", pins.display()))?;
    let bin = python::environment(&context.target_dir.join("oracles-venv"), &pins)?;
    let model = context.test_model()?;
    let mut failed = Vec::new();
    for oracle in &oracles {
        let mut python = Command::new(bin.join("python"));
        python.arg(oracle).arg("--check").current_dir(&context.root);
        python.env("PYTHONPATH", &folder).env(TEST_MODEL_VAR, model);
        // A fixture must not depend on what a model hub serves today.
        python.env("HF_HUB_OFFLINE", "1");
        python.env("PYTHONDONTWRITEBYTECODE", "1");
        if let Err(error) = process::run(&mut python) {
            println!("{}: {error:#}", oracle.display());
            failed.push(oracle.display().to_string());
        }
    }
    if !failed.is_empty() {
        let (num_failed, num_oracles) = (failed.len(), oracles.len());
        bail!("{num_failed} of {num_oracles} oracles failed: {}", failed.join(", "));
    }
    println!("{} oracles make the committed fixtures", oracles.len());
    Ok(())
}

/// The oracles below `root`, relative to it, by name.
fn oracles(root: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = vec![PathBuf::from(FOLDER)];
    for entry in fs::read_dir(root.join("crates"))? {
        folders.push(Path::new("crates").join(entry?.file_name()).join(FOLDER));
    }
    let mut oracles = Vec::new();
    for folder in folders.iter().filter(|folder| root.join(folder).is_dir()) {
        for entry in fs::read_dir(root.join(folder))? {
            let name = entry?.file_name();
            // Names that begin with `_` are those of modules that oracles share.
            let name = name.to_string_lossy();
            if name.ends_with(".py") && !name.starts_with('_') {
                oracles.push(folder.join(name.as_ref()));
            }
        }
    }
    for oracle in &oracles {
        if !fs::read_to_string(root.join(oracle))?.contains(ENTRY_POINT) {
            let oracle = oracle.display();
            bail!("{oracle} does not call {ENTRY_POINT}…), so it checks nothing");
        }
    }
    // A check of nothing must not pass.
    if oracles.is_empty() {
        bail!("{FOLDER} holds no oracle");
    }
    oracles.sort();
    Ok(oracles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_of_every_crate_must_be_an_oracle_or_say_that_it_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("tests/oracles/_fixtures.py", "def run(script, make):");
        write("tests/oracles/b.json", "{}");
        write("crates/plain/src/lib.rs", "");
        assert!(oracles(dir.path()).is_err(), "no oracle must fail");
        let main = "_fixtures.run(__file__, make)";
        write("tests/oracles/b.py", main);
        write("crates/x/tests/oracles/a.py", main);
        let found = ["crates/x/tests/oracles/a.py", "tests/oracles/b.py"].map(PathBuf::from);
        assert_eq!(oracles(dir.path()).unwrap(), found);
        write("tests/oracles/c.py", "print('all is well')");
        let error = oracles(dir.path()).unwrap_err().to_string();
        assert!(error.starts_with("tests/oracles/c.py"), "{error}");
    }
}
