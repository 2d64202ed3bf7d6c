//! The compiler and the cargo-fuzz that the fuzz targets are built with.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::process;

/// The nightly that fuzzing is known to work with.
const NIGHTLY: &str = "nightly-2026-05-20";

/// The cargo-fuzz that is installed where there is none.
const CARGO_FUZZ_VERSION: &str = "0.13.2";

/// Something that accepts `-Zsanitizer`.
#[derive(Debug, PartialEq, Eq)]
pub enum Compiler {
    /// A rustup toolchain.
    Toolchain(&'static str),
    /// The default compiler, told to accept unstable flags.
    Bootstrap,
}

impl Compiler {
    /// The pinned nightly if rustup has it or can fetch it, else what is here.
    pub fn find() -> Self {
        let installed = |name: &str| {
            process::succeeds(Command::new("rustup").args(["run", name, "rustc", "--version"]))
        };
        let install = || {
            let mut install = Command::new("rustup");
            install.args(["toolchain", "install", NIGHTLY, "--no-self-update"]);
            process::run(install.args(["--profile", "minimal"])).is_ok()
        };
        let compiler = choose(installed, install);
        match &compiler {
            Compiler::Toolchain(name) => println!("fuzzing with {name}"),
            Compiler::Bootstrap => println!(
                "fuzzing with the default compiler and RUSTC_BOOTSTRAP=1: rustup has no nightly \
                 and cannot fetch {NIGHTLY}"
            ),
        }
        compiler
    }

    /// Makes `command`, which may start cargo, use this compiler rather than the one that
    /// cargo chose for this program.
    pub fn apply(&self, command: &mut Command) {
        for set_by_cargo in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
            command.env_remove(set_by_cargo);
        }
        match self {
            Compiler::Toolchain(name) => command.env("RUSTUP_TOOLCHAIN", name),
            Compiler::Bootstrap => command.env("RUSTC_BOOTSTRAP", "1"),
        };
    }
}

fn choose(installed: impl Fn(&str) -> bool, install: impl FnOnce() -> bool) -> Compiler {
    if installed(NIGHTLY) || (install() && installed(NIGHTLY)) {
        return Compiler::Toolchain(NIGHTLY);
    }
    if installed("nightly") {
        return Compiler::Toolchain("nightly");
    }
    Compiler::Bootstrap
}

/// The cargo-fuzz on PATH, or one installed in the cache folder.
pub fn cargo_fuzz(context: &Context) -> Result<PathBuf> {
    if process::succeeds(Command::new("cargo-fuzz").arg("--version")) {
        return Ok(PathBuf::from("cargo-fuzz"));
    }
    let tools = format!("cargo-fuzz-{CARGO_FUZZ_VERSION}");
    let tools = context.cache_dir.join("tools").join(tools);
    let program = tools.join("bin").join("cargo-fuzz");
    if !program.exists() {
        let mut install = process::cargo(&context.root);
        install.args(["install", "cargo-fuzz", "--locked", "--quiet"]);
        install.args(["--version", CARGO_FUZZ_VERSION, "--root"]);
        process::run(install.arg(&tools)).context("cannot install cargo-fuzz")?;
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_nightly_comes_first_and_the_bootstrap_last() {
        let pinned = Compiler::Toolchain(NIGHTLY);
        assert_eq!(choose(|_| true, || panic!("it is installed")), pinned);
        let any = Compiler::Toolchain("nightly");
        assert_eq!(choose(|name| name == "nightly", || false), any);
        assert_eq!(choose(|_| false, || true), Compiler::Bootstrap);
    }

    #[test]
    fn an_installed_pin_is_used() {
        let present = std::cell::Cell::new(false);
        let chosen = choose(|_| present.get(), || present.replace(true) || present.get());
        assert_eq!(chosen, Compiler::Toolchain(NIGHTLY));
    }
}
