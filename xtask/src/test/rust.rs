//! The parts that are one cargo command each.
//!
//! Property tests begin at one seed, so that two runs over the same code agree; with `--long` at another
//! one each time, which is printed.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;

use super::Options;
use crate::context::{Context, TEST_MODEL_VAR};
use crate::process;

/// Cases per property test with `--long`; proptest's own default is 256.
const LONG_PROPTEST_CASES: &str = "4096";

/// All is tested, whatever is compiled in by default: every variant of every HIP kernel, and OpenTelemetry.
pub const ALL_FEATURES: &str = "--features=kvasir/all-variants,kvasir/otel";

/// What proptest reads the seed of its cases from.
const PROPTEST_SEED_VAR: &str = "PROPTEST_RNG_SEED";

/// Where CI searches: a change is judged by what it changed, and new cases are searched for by `--long`.
const PROPTEST_SEED: u64 = 1;

/// The bench beside foyer, which brings a hundred packages along: built by those who run it, and with `--long`.
const FOYER_BENCH: &str = "benches/foyer/Cargo.toml";

/// rustfmt, over the workspace, and over those that are workspaces of their own.
pub fn fmt(context: &Context, _: &Options) -> Result<()> {
    process::run(process::cargo(&context.root).args(["fmt", "--all", "--check"]))?;
    for manifest in ["fuzz/Cargo.toml", FOYER_BENCH] {
        let mut other = process::cargo(&context.root);
        process::run(other.args(["fmt", "--manifest-path", manifest, "--check"]))?;
    }
    Ok(())
}

/// clippy.
pub fn clippy(context: &Context, options: &Options) -> Result<()> {
    let mut clippy = process::cargo(&context.root);
    clippy.args(["clippy", "--locked", "--workspace", "--all-targets", ALL_FEATURES]);
    process::run(clippy.args(["--", "-D", "warnings"]))?;
    if options.long {
        let mut bench = process::cargo(&context.root);
        bench.args(["clippy", "--locked", "--manifest-path", FOYER_BENCH, "--target-dir"]);
        bench.arg(context.target_dir.join("foyer")).args(["--", "-D", "warnings"]);
        process::run(&mut bench)?;
    }
    Ok(())
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
        tests.args(["nextest", "run", "--locked", "--workspace", ALL_FEATURES]);
        tests.args(["--profile", if options.long { "long" } else { "default" }]);
    } else {
        println!("cargo-nextest is not installed: running the same tests with cargo test");
        tests.args(["test", "--locked", "--workspace", ALL_FEATURES, "--no-fail-fast"]);
        tests.args(["--lib", "--bins", "--tests", "--examples"]);
    }
    process::run(prepared(&mut tests, context, options)?)
}

/// Examples in the documentation, which nextest does not run.
pub fn doctest(context: &Context, options: &Options) -> Result<()> {
    let mut tests = process::cargo(&context.root);
    tests.args(["test", "--locked", "--workspace", ALL_FEATURES, "--doc", "--no-fail-fast"]);
    process::run(prepared(&mut tests, context, options)?)
}

/// Gives tests the real model, the number of property-test cases, and what they may not skip.
fn prepared<'a>(
    command: &'a mut Command,
    context: &Context,
    options: &Options,
) -> Result<&'a mut Command> {
    command.env(TEST_MODEL_VAR, context.test_model()?);
    if std::env::var_os(PROPTEST_SEED_VAR).is_none() {
        let seed = proptest_seed(options.long);
        println!("{PROPTEST_SEED_VAR}={seed}");
        command.env(PROPTEST_SEED_VAR, seed.to_string());
    }
    if options.long {
        command.env("PROPTEST_CASES", LONG_PROPTEST_CASES);
        command.env("KVASIR_LONG", "1");
    }
    if options.require_hip {
        command.env(hip_toolchain::REQUIRE_HIP_VAR, "1");
    }
    Ok(command)
}

fn proptest_seed(is_long: bool) -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH);
    if is_long { now().map_or(0, |now| now.as_nanos() as u64) } else { PROPTEST_SEED }
}

#[cfg(test)]
mod tests {
    use proptest::strategy::{Strategy as _, ValueTree as _};
    use proptest::test_runner::{Config, TestRunner};

    use super::*;

    #[test]
    fn seeds_are_equal_unless_the_search_is_long() {
        assert_eq!(proptest_seed(false), proptest_seed(false));
        assert_ne!(proptest_seed(true), proptest_seed(false));
    }

    /// Prints the first cases of a runner made as property tests make theirs, for the test below.
    #[test]
    fn cases() {
        let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
        let mut case = || proptest::num::u64::ANY.new_tree(&mut runner).unwrap().current();
        println!("cases {:x?}", [case(), case(), case()]);
    }

    /// In processes of their own, for proptest reads the variable once.
    #[test]
    fn the_seed_decides_on_the_cases() {
        let cases = |seed: Option<&str>| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "--nocapture", "test::rust::tests::cases"]);
            command.env_remove(PROPTEST_SEED_VAR);
            command.envs(seed.map(|seed| (PROPTEST_SEED_VAR, seed)));
            let printed = process::stdout_of(&mut command).unwrap();
            let line = printed.lines().find_map(|line| line.split_once("cases "));
            line.expect("they are printed").1.to_owned()
        };
        assert_eq!(cases(Some("7")), cases(Some("7")));
        assert_ne!(cases(Some("7")), cases(Some("8")));
        assert_ne!(cases(None), cases(None));
    }
}
