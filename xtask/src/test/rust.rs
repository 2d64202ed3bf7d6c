//! The parts that are one cargo command each.

use std::process::Command;

use anyhow::Result;

use super::Options;
use crate::context::{Context, TEST_MODEL_VAR};
use crate::process;

/// Cases per property test with `--long`; proptest's own default is 256.
const LONG_PROPTEST_CASES: &str = "4096";

/// rustfmt, over the workspace and the fuzz targets, which are a workspace of their own.
pub fn fmt(context: &Context, _: &Options) -> Result<()> {
    process::run(process::cargo(&context.root).args(["fmt", "--all", "--check"]))?;
    let mut fuzz = process::cargo(&context.root);
    fuzz.args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]);
    process::run(&mut fuzz)
}

/// clippy.
pub fn clippy(context: &Context, _: &Options) -> Result<()> {
    let mut clippy = process::cargo(&context.root);
    clippy.args(["clippy", "--locked", "--workspace", "--all-targets"]);
    process::run(clippy.args(["--", "-D", "warnings"]))
}

/// rustdoc.
pub fn doc(context: &Context, _: &Options) -> Result<()> {
    let mut doc = process::cargo(&context.root);
    doc.args(["doc", "--locked", "--workspace", "--no-deps"]);
    process::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Unit and integration tests, by cargo-nextest where it is installed.
pub fn test(context: &Context, options: &Options) -> Result<()> {
    let mut tests = process::cargo(&context.root);
    if process::succeeds(process::cargo(&context.root).args(["nextest", "--version"])) {
        tests.args(["nextest", "run", "--locked", "--workspace"]);
        tests.args(["--profile", if options.long { "long" } else { "default" }]);
    } else {
        println!("cargo-nextest is not installed: running the same tests with cargo test");
        tests.args(["test", "--locked", "--workspace", "--no-fail-fast"]);
        tests.args(["--lib", "--bins", "--tests", "--examples"]);
    }
    process::run(prepared(&mut tests, context, options)?)
}

/// Examples in the documentation, which nextest does not run.
pub fn doctest(context: &Context, options: &Options) -> Result<()> {
    let mut tests = process::cargo(&context.root);
    tests.args(["test", "--locked", "--workspace", "--doc", "--no-fail-fast"]);
    process::run(prepared(&mut tests, context, options)?)
}

/// Gives tests the real model, the number of property-test cases, and what they may not skip.
fn prepared<'a>(
    command: &'a mut Command,
    context: &Context,
    options: &Options,
) -> Result<&'a mut Command> {
    command.env(TEST_MODEL_VAR, context.test_model()?);
    if options.long {
        command.env("PROPTEST_CASES", LONG_PROPTEST_CASES);
        command.env("KVASIR_LONG", "1");
    }
    if options.require_hip {
        command.env(hip_toolchain::REQUIRE_HIP_VAR, "1");
    }
    Ok(command)
}
