//! A Chromium and the driver that a program controls it by: the machine's, installed where that is allowed.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process;

/// Debian's packages, and those of what descends from it.
const PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];

/// Names of the browser, by who packages it.
const BROWSERS: &[&str] = &["chromium", "chromium-browser", "google-chrome"];

const DRIVER: &str = "chromedriver";

/// The two programs, which must be of one version.
#[derive(Debug)]
pub struct Chromium {
    /// The browser.
    pub browser: PathBuf,
    /// Its driver.
    pub driver: PathBuf,
}

impl Chromium {
    /// Finds both on the path; where they are missing, has apt install them if it may.
    ///
    /// # Errors
    /// Says what to install.
    pub fn ensure() -> Result<Chromium> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if let Some(found) = Chromium::find(&path) {
            return Ok(found);
        }
        install().context(
            "no chromium and chromedriver on the path; install them (Debian: apt-get install chromium chromium-driver)",
        )?;
        Chromium::find(&path).context("apt-get installed chromium, but it is not on the path")
    }

    fn find(path: &OsStr) -> Option<Chromium> {
        let folders: Vec<PathBuf> = std::env::split_paths(path).collect();
        let find =
            |name: &str| folders.iter().map(|dir| dir.join(name)).find(|file| file.is_file());
        let browser = BROWSERS.iter().find_map(|name| find(name))?;
        Some(Chromium { browser, driver: find(DRIVER)? })
    }
}

fn install() -> Result<()> {
    if process::stdout_of(Command::new("id").arg("-u"))?.trim() != "0" {
        bail!("only root can install packages");
    }
    println!("installing {}", PACKAGES.join(" and "));
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.arg("-qq").env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    process::run(apt().arg("update"))?;
    process::run(apt().args(["install", "--yes", "--no-install-recommends"]).args(PACKAGES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_programs_are_wanted() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = std::env::join_paths([one.path(), two.path()]).unwrap();
        assert!(Chromium::find(&path).is_none());
        std::fs::write(two.path().join("chromium-browser"), "").unwrap();
        assert!(Chromium::find(&path).is_none());
        std::fs::write(one.path().join(DRIVER), "").unwrap();
        let found = Chromium::find(&path).unwrap();
        assert_eq!(found.browser, two.path().join("chromium-browser"));
        assert_eq!(found.driver, one.path().join(DRIVER));
    }
}
