//! Where things are: the repository, the build folder, the cache folder, the test model.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use etcetera::BaseStrategy as _;

use crate::process;

/// The variable that tells tests where the real model is.
pub const TEST_MODEL_VAR: &str = "KVASIR_TEST_MODEL";

/// The model that the golden data was made with, by its `kvasir pull` name.
const TEST_MODEL: &str = "smollm2-135m";

/// The folders that tasks work in.
pub struct Context {
    /// The repository's root.
    pub root: PathBuf,
    /// Cargo's build folder, which `CARGO_TARGET_DIR` may have moved.
    pub target_dir: PathBuf,
    /// Kvasir's part of the XDG cache folder: what is made once and outlives `cargo clean`.
    pub cache_dir: PathBuf,
    test_model: OnceCell<PathBuf>,
}

impl Context {
    /// Finds the folders.
    pub fn new() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask lies in the repository's root")?
            .to_path_buf();
        let mut metadata = process::cargo(&root);
        metadata.args(["metadata", "--format-version", "1", "--no-deps"]);
        let metadata: serde_json::Value = serde_json::from_str(&process::stdout_of(&mut metadata)?)
            .context("`cargo metadata` printed something other than JSON")?;
        let target_dir = metadata["target_directory"]
            .as_str()
            .context("`cargo metadata` names no target_directory")?;
        let base = etcetera::base_strategy::Xdg::new()
            .context("no home folder: set HOME or XDG_CACHE_HOME")?;
        Ok(Context {
            target_dir: PathBuf::from(target_dir),
            cache_dir: base.cache_dir().join("kvasir"),
            root,
            test_model: OnceCell::new(),
        })
    }

    /// The real model that tests, oracles and peers read. Fetched by the project's own
    /// `kvasir pull` on first use, unless `KVASIR_TEST_MODEL` names a file.
    pub fn test_model(&self) -> Result<&Path> {
        if let Some(path) = self.test_model.get() {
            return Ok(path);
        }
        let path = match std::env::var_os(TEST_MODEL_VAR) {
            Some(path) => given_model(PathBuf::from(path))?,
            None => self.pull_model()?,
        };
        Ok(self.test_model.get_or_init(|| path))
    }

    fn pull_model(&self) -> Result<PathBuf> {
        let mut pull = process::cargo(&self.root);
        pull.args(["run", "--locked", "--quiet", "-p", "kvasir", "--", "pull", TEST_MODEL]);
        let printed = process::stdout_of(&mut pull)
            .with_context(|| format!("cannot get the test model {TEST_MODEL}"))?;
        pulled_path(&printed)
    }
}

fn given_model(path: PathBuf) -> Result<PathBuf> {
    if !path.is_file() {
        bail!(
            "{TEST_MODEL_VAR} names {}, which is no file; unset it to fetch the model",
            path.display()
        );
    }
    println!("using {} ({TEST_MODEL_VAR})", path.display());
    Ok(path)
}

/// `kvasir pull` prints the model's path as its last line.
fn pulled_path(printed: &str) -> Result<PathBuf> {
    let last = printed.lines().rev().find(|line| !line.trim().is_empty());
    let path = PathBuf::from(last.context("`kvasir pull` printed no path")?.trim());
    if !path.exists() {
        bail!("`kvasir pull` printed {:?} last, which is no path to a file", path);
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_pull_is_the_path() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_path_buf();
        let printed = format!("fetching\n{}\n\n", path.display());
        assert_eq!(pulled_path(&printed).unwrap(), path);
    }

    #[test]
    fn a_pull_without_a_path_is_an_error() {
        assert!(pulled_path("").is_err());
        assert!(pulled_path("all is well\n").is_err());
    }

    #[test]
    fn a_given_model_must_be_a_file() {
        assert!(given_model(PathBuf::from("no/such/model.gguf")).is_err());
    }
}
