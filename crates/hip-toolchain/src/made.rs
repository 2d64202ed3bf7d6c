//! The toolchain that `cargo xtask hip-toolchain` makes: where it lies, and where its parts are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;

/// Raised when the recipe changes what it makes, so that an older one is made anew.
const RECIPE: u32 = 1;

/// A toolchain in a folder of its own, with its own C library. It runs with no help from the
/// machine's libraries, and only where it was made: the paths in its programs are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    dir: PathBuf,
}

impl Made {
    /// The one in the user's cache folder, whether or not it has been made. `None` if there is no
    /// home folder.
    #[must_use]
    pub fn in_cache() -> Option<Self> {
        let base = etcetera::base_strategy::Xdg::new().ok()?;
        let tools = base.cache_dir().join("kvasir").join("tools");
        Some(Made::at(&tools.join(format!("hip-toolchain-{RECIPE}"))))
    }

    /// One in `dir`.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Made { dir: dir.to_owned() }
    }

    /// The folder that holds all of it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file system that the packages were unpacked into.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// The compiler driver.
    #[must_use]
    pub fn hipcc(&self) -> PathBuf {
        self.dir.join("bin").join("hipcc")
    }

    /// Where its shared libraries are, libamdhip64 among them.
    #[must_use]
    pub fn library_dir(&self) -> PathBuf {
        self.root().join("usr/lib/x86_64-linux-gnu")
    }

    /// Its program loader, which runs a program on its C library rather than the machine's.
    #[must_use]
    pub fn loader(&self) -> PathBuf {
        self.library_dir().join("ld-linux-x86-64.so.2")
    }

    /// Whether it was made to the end.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.marker().is_file()
    }

    /// Says that it was made to the end and works. The last step of making it.
    ///
    /// # Errors
    ///
    /// If the folder cannot be written.
    pub fn mark_complete(&self) -> io::Result<()> {
        fs::write(self.marker(), "made by `cargo xtask hip-toolchain`\n")
    }

    fn marker(&self) -> PathBuf {
        self.dir.join("complete")
    }
}
