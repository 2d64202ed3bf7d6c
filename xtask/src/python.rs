//! A virtual environment with pinned packages, so that nothing depends on what a machine has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process;

/// Makes the virtual environment `dir` hold exactly what `requirements` pins, and returns its
/// `bin` folder. A finished one is kept until the pins change.
pub fn environment(dir: &Path, requirements: &str) -> Result<PathBuf> {
    let bin = dir.join("bin");
    if is_current(dir, requirements) {
        return Ok(bin);
    }
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot replace {}", dir.display()))?;
    }
    process::run(Command::new("python3").args(["-m", "venv"]).arg(dir)).context(
        "cannot make a Python virtual environment: install Python 3.10 or later with its venv \
         module and pip (Debian: apt-get install python3-venv)",
    )?;
    install(dir, requirements)?;
    Ok(bin)
}

/// The pins of a finished environment. Written last: an interrupted installation has none and is
/// made anew.
fn marker(dir: &Path) -> PathBuf {
    dir.join("requirements.txt")
}

fn is_current(dir: &Path, requirements: &str) -> bool {
    fs::read_to_string(marker(dir)).is_ok_and(|installed| installed == requirements)
        // Its interpreter is a link, which an upgrade of Python may have broken.
        && process::succeeds(Command::new(dir.join("bin/python")).arg("--version"))
}

fn install(dir: &Path, requirements: &str) -> Result<()> {
    let pins = dir.join("pins.txt");
    fs::write(&pins, requirements)?;
    let mut pip = Command::new(dir.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-input"]);
    pip.args(["--disable-pip-version-check", "--requirement"]);
    process::run(pip.arg(&pins))
        .context("pip cannot install the pinned packages; is its package index reachable?")?;
    fs::rename(&pins, marker(dir))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, because making an environment takes seconds.
    #[test]
    fn an_environment_is_finished_only_with_exactly_its_pins() {
        let dir = tempfile::tempdir().unwrap();
        let venv = dir.path().join("venv");
        assert!(!is_current(&venv, ""));
        // A requirement that pip refuses without asking any index.
        let error = environment(&venv, "./no-such-folder\n").unwrap_err();
        assert!(format!("{error:#}").contains("pip"), "{error:#}");
        assert!(!is_current(&venv, "./no-such-folder\n"));
        install(&venv, "# nothing\n").unwrap();
        assert!(is_current(&venv, "# nothing\n"));
        assert!(!is_current(&venv, "# nothing, but changed\n"));
        fs::remove_file(venv.join("bin/python")).unwrap();
        assert!(!is_current(&venv, "# nothing\n"));
    }
}
