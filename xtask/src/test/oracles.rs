//! Runs every `tests/oracles/*.py --check`: the convention is in `tests/oracles/README.md`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::Options;
use crate::context::{Context, TEST_MODEL_VAR};
use crate::{process, python};

/// The pinned packages' file, and the folder of the scripts.
const FOLDER: &str = "tests/oracles";

/// Checks every committed fixture against the implementation it came from.
pub fn check(context: &Context, _: &Options) -> Result<()> {
    let folder = context.root.join(FOLDER);
    let scripts = scripts(&folder)?;
    let pins = folder.join("requirements.txt");
    let pins = fs::read_to_string(&pins).with_context(|| format!("no {}", pins.display()))?;
    let bin = python::environment(&context.target_dir.join("oracles-venv"), &pins)?;
    let model = context.test_model()?;
    let mut failed = Vec::new();
    for script in &scripts {
        let mut python = Command::new(bin.join("python"));
        python.arg(script).arg("--check");
        python.current_dir(&context.root).env(TEST_MODEL_VAR, model);
        // Reads nothing from a model hub: a fixture must not depend on what a hub serves today.
        python.env("HF_HUB_OFFLINE", "1");
        if let Err(error) = process::run(&mut python) {
            println!("{}: {error:#}", script.display());
            failed.push(script.display().to_string());
        }
    }
    if !failed.is_empty() {
        bail!(
            "{} of {} oracles disagree with their fixtures: {}",
            failed.len(),
            scripts.len(),
            failed.join(", ")
        );
    }
    println!("{} oracles agree with their fixtures", scripts.len());
    Ok(())
}

/// The oracles in `folder`, by name. Files that begin with `_` are modules that oracles share.
fn scripts(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))?;
    let mut scripts = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let shared = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('_'));
        if !shared && path.extension().is_some_and(|ext| ext == "py") {
            scripts.push(path);
        }
    }
    // A check of nothing must not pass.
    if scripts.is_empty() {
        bail!("{} holds no oracle", folder.display());
    }
    scripts.sort();
    Ok(scripts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_found_by_name_without_shared_modules() {
        let dir = tempfile::tempdir().unwrap();
        assert!(scripts(dir.path()).is_err(), "an empty folder must fail");
        for name in ["b.py", "a.py", "_shared.py", "README.md"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let names = [dir.path().join("a.py"), dir.path().join("b.py")];
        assert_eq!(scripts(dir.path()).unwrap(), names);
    }
}
