//! A bounded run of every fuzz target. The target `canary` crashes on purpose: it proves, each
//! time, that a crash would be seen.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::Options;
use super::nightly::{Compiler, cargo_fuzz};
use crate::context::Context;
use crate::process;

/// The target that must crash.
const CANARY: &str = "canary";

/// Bounds of a run, in libFuzzer's words.
struct Bounds {
    runs: i64,
    max_total_time_s: u32,
}

/// Enough to replay the seeds and some thousands of mutations of each reader.
const SMOKE: Bounds = Bounds { runs: 20_000, max_total_time_s: 15 };

/// With `--long`: as many runs as fit in five minutes.
const LONG: Bounds = Bounds { runs: -1, max_total_time_s: 300 };

/// Largest input, bytes: headers are far smaller, and longer ones only slow the search.
const MAX_LEN: usize = 65_536;

/// An input of `MAX_LEN` bytes must not take more memory than this (AddressSanitizer's included).
const RSS_LIMIT_MB: u32 = 2_048;

/// One input that takes longer is a finding.
const TIMEOUT_S: u32 = 10;

struct Fuzzer {
    program: PathBuf,
    compiler: Compiler,
    root: PathBuf,
    /// Built binaries; kept between runs.
    target_dir: PathBuf,
    /// Logs, corpora and crashing inputs of this run.
    work_dir: PathBuf,
}

/// Builds and runs every target of `fuzz/Cargo.toml`.
pub fn smoke(context: &Context, options: &Options) -> Result<()> {
    let targets = targets(&context.root)?;
    let fuzzer = Fuzzer::new(context)?;
    process::run_logged(&mut fuzzer.command("build"), &fuzzer.work_dir.join("build.log"))?;
    let bounds = if options.long { &LONG } else { &SMOKE };
    let mut failed = Vec::new();
    for target in &targets {
        match fuzzer.run(target, bounds) {
            Ok(line) => println!("{target}: {line}"),
            Err(error) => {
                println!("{target}: {error:#}");
                failed.push(target.as_str());
            }
        }
    }
    if !failed.is_empty() {
        bail!("fuzz targets failed: {}", failed.join(", "));
    }
    Ok(())
}

/// The names of the fuzz targets, from the manifest, so that none is forgotten.
fn targets(root: &Path) -> Result<Vec<String>> {
    let mut metadata = process::cargo(root);
    metadata.args(["metadata", "--format-version", "1", "--no-deps"]);
    metadata.args(["--manifest-path", "fuzz/Cargo.toml"]);
    let metadata: serde_json::Value = serde_json::from_str(&process::stdout_of(&mut metadata)?)?;
    let targets = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|package| package["targets"].as_array().into_iter().flatten())
        .filter(|target| target["kind"][0] == "bin")
        .filter_map(|target| target["name"].as_str().map(str::to_owned))
        .collect::<Vec<_>>();
    ensure!(
        targets.iter().any(|target| target == CANARY) && targets.len() > 1,
        "fuzz/Cargo.toml must have the target `{CANARY}`, which crashes on purpose, and others; \
         it has {targets:?}"
    );
    Ok(targets)
}

impl Fuzzer {
    fn new(context: &Context) -> Result<Self> {
        let work_dir = context.target_dir.join("fuzz-smoke");
        if work_dir.exists() {
            fs::remove_dir_all(&work_dir)?;
        }
        fs::create_dir_all(&work_dir)?;
        Ok(Fuzzer {
            program: cargo_fuzz(context)?,
            compiler: Compiler::find(),
            root: context.root.clone(),
            target_dir: context.target_dir.join("fuzz"),
            work_dir,
        })
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args([verb, "--fuzz-dir", "fuzz", "--target-dir"]);
        command.arg(&self.target_dir).current_dir(&self.root);
        self.compiler.apply(&mut command);
        command
    }

    /// Runs one target from its seeds; what it did, or why it failed.
    fn run(&self, target: &str, bounds: &Bounds) -> Result<String> {
        let seeds = seed_folders(&self.root.join("fuzz/seeds"), target)?;
        let num_seeds = num_files(&seeds)?;
        ensure!(num_seeds > 0, "no seeds in fuzz/seeds/{target}");
        // New inputs go to a corpus of this run, so that every run starts from the seeds alone.
        let corpus = self.work_dir.join(format!("{target}-corpus"));
        let artifacts = self.work_dir.join(format!("{target}-artifacts"));
        fs::create_dir_all(&corpus)?;
        fs::create_dir_all(&artifacts)?;
        let mut command = self.command("run");
        command.arg(target).arg(&corpus).args(&seeds);
        command.args(["--", "-seed=1", "-print_final_stats=1"]);
        command.arg(format!("-runs={}", bounds.runs));
        command.arg(format!("-max_total_time={}", bounds.max_total_time_s));
        command.arg(format!("-max_len={MAX_LEN}"));
        command.arg(format!("-rss_limit_mb={RSS_LIMIT_MB}"));
        command.arg(format!("-timeout={TIMEOUT_S}"));
        command.arg(format!("-artifact_prefix={}/", artifacts.display()));
        let log = self.work_dir.join(format!("{target}.log"));
        let (success, text) = process::run_to_log(&mut command, &log)
            .with_context(|| format!("cannot run the fuzz target {target}"))?;
        verdict(target, success, &text, num_seeds)
    }
}

/// Where a target's first inputs are. The canary gets everyone's, for it must find what it claims
/// does not exist.
fn seed_folders(seeds: &Path, target: &str) -> Result<Vec<PathBuf>> {
    if target != CANARY {
        return Ok(vec![seeds.join(target)]);
    }
    let entries = fs::read_dir(seeds).with_context(|| format!("no {}", seeds.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn num_files(folders: &[PathBuf]) -> Result<usize> {
    let mut num_files = 0;
    for folder in folders {
        let entries = fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))?;
        num_files += entries.count();
    }
    Ok(num_files)
}

/// Judges a run by its exit status and libFuzzer's own words.
fn verdict(target: &str, success: bool, log: &str, num_seeds: usize) -> Result<String> {
    let crashed = log.contains("ERROR: libFuzzer:") || log.contains("ERROR: AddressSanitizer");
    if target == CANARY {
        ensure!(
            !success && crashed,
            "the canary did not crash: a real crash would not be seen either\n{}",
            process::tail(log)
        );
        return Ok("crashed, as it must".to_owned());
    }
    if !success || crashed {
        bail!("a crash or an error:\n{}", finding(log));
    }
    let num_runs = executed_units(log).context("no count of runs in libFuzzer's output")?;
    ensure!(
        num_runs > num_seeds,
        "only {num_runs} runs from {num_seeds} seeds: nothing was mutated"
    );
    Ok(format!("{num_runs} runs from {num_seeds} seeds, no crash"))
}

/// What a reader needs of a crash: the panic, what libFuzzer calls it, where the input is. The end
/// of the log if it is no crash.
fn finding(log: &str) -> String {
    let told = ["panicked at", "ERROR: ", "SUMMARY: ", "Test unit written to"];
    let mut found: Vec<&str> = Vec::new();
    let mut lines = log.lines();
    while let Some(line) = lines.next() {
        if told.iter().any(|words| line.contains(words)) {
            found.push(line);
        }
        if line.contains("panicked at") {
            // The message is on its own line.
            found.extend(lines.next());
        }
    }
    if found.is_empty() {
        return process::tail(log);
    }
    found.join("\n")
}

fn executed_units(log: &str) -> Option<usize> {
    let count =
        log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))?;
    count.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRASH: &str = "==7== ERROR: libFuzzer: deadly signal\n";
    const DONE: &str = "Done 900 runs\nstat::number_of_executed_units: 900\n";

    #[test]
    fn a_crash_fails_every_target_but_the_canary() {
        assert!(verdict("gguf", false, CRASH, 3).is_err());
        assert!(verdict("gguf", true, CRASH, 3).is_err());
        assert!(verdict(CANARY, false, CRASH, 0).is_ok());
    }

    #[test]
    fn the_canary_gets_the_seeds_of_every_target() {
        let dir = tempfile::tempdir().unwrap();
        for target in ["config", "gguf"] {
            fs::create_dir(dir.path().join(target)).unwrap();
            fs::write(dir.path().join(target).join("seed"), "x").unwrap();
        }
        let own = seed_folders(dir.path(), "gguf").unwrap();
        assert_eq!(own, [dir.path().join("gguf")]);
        let all = seed_folders(dir.path(), CANARY).unwrap();
        assert_eq!((num_files(&own).unwrap(), num_files(&all).unwrap()), (1, 2));
        assert!(num_files(&seed_folders(dir.path(), "gone").unwrap()).is_err());
    }

    #[test]
    fn a_finding_is_the_panic_and_the_input() {
        let log = "#5 frame\nthread 'x' panicked at reader.rs:3:5:\nindex out of bounds\n#6 frame\n\
            ==7== ERROR: libFuzzer: deadly signal\n#7 frame\nTest unit written to crash-a7";
        let found = finding(log);
        assert_eq!(found.lines().count(), 4, "{found}");
        assert!(found.contains("index out of bounds") && found.ends_with("crash-a7"));
        assert_eq!(finding("error: no such target"), "error: no such target");
    }

    #[test]
    fn a_canary_that_lives_or_does_not_build_fails() {
        assert!(verdict(CANARY, true, DONE, 0).is_err());
        assert!(verdict(CANARY, false, "error: could not compile", 0).is_err());
    }

    #[test]
    fn a_run_must_do_more_than_replay_its_seeds() {
        assert!(verdict("gguf", true, DONE, 3).is_ok());
        assert!(verdict("gguf", true, DONE, 900).is_err());
        assert!(verdict("gguf", true, "", 3).is_err());
        assert!(verdict("gguf", false, DONE, 3).is_err());
    }
}
