//! Random functions mean the same on this machine's processor and on the emulated gfx942, bit for bit.
//!
//! Two back ends that share nothing but C: the machine's own compiler makes x86 code, hipcc makes gfx942 code at three
//! levels of optimisation. `KVASIR_LONG=1` tries more, `KVASIR_FUZZ_SEED` others; `KVASIR_FUZZ_RANGE=25..50`
//! tries only those (in `part_0`), and `KVASIR_FUZZ_KEEP` names a folder in which what was generated and compiled stays.

mod device;
mod generate;
mod host;
mod inputs;

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use generate::NUM_OUTPUT_WORDS;
use gfx942_emulator::launch::{LaunchError, Order, Settings};
use hip_toolchain::Toolchain;
use tempfile::TempDir;

/// What generated functions call.
pub const PRELUDE: &str = include_str!("prelude.h");
/// Work-items of a work-group.
pub const BLOCK_SIZE: usize = 256;
/// Work-items in all, each with an input of its own.
pub const NUM_INPUTS: usize = 4096;

const LEVELS: [&str; 3] = ["-O0", "-O1", "-O3"];
/// Functions that are compiled together.
const NUM_IN_FILE: usize = 25;

fn seed() -> u64 {
    std::env::var("KVASIR_FUZZ_SEED").map_or(1, |seed| seed.parse().expect("a number"))
}

/// Where sources and code objects go.
fn folder(first: usize) -> (Option<TempDir>, PathBuf) {
    if let Some(kept) = std::env::var_os("KVASIR_FUZZ_KEEP") {
        let folder = PathBuf::from(kept).join(first.to_string());
        fs::create_dir_all(&folder).expect("KVASIR_FUZZ_KEEP can be written");
        return (None, folder);
    }
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let folder = temporary.path().to_owned();
    (Some(temporary), folder)
}

/// Compares `functions` with the host, all levels; the differences, in words.
fn differences(toolchain: &Toolchain, indices: Range<usize>) -> Vec<String> {
    let (_temporary, folder) = folder(indices.start);
    let folder = folder.as_path();
    let seed = seed();
    let make = |index: usize| generate::function(index - indices.start, seed << 32 | index as u64);
    let functions: Vec<_> = indices.clone().map(make).collect();
    let inputs = inputs::inputs(seed ^ indices.start as u64);
    let expected = host::run(folder, &functions, &inputs);
    let mut differences = Vec::new();
    for (i, level) in LEVELS.iter().enumerate() {
        let object = device::compile(toolchain, folder, &functions, level);
        // Neither the order of the waves nor what registers, LDS and scratch held before may show.
        let order = if i == 0 { Order::InOrder } else { Order::Seeded(seed + i as u64) };
        let settings =
            Settings { order, poison: [0xfffa_fffa, 0, 0x7f80_0001][i], ..Settings::default() };
        let found = device::run(&object, functions.len(), &inputs, &settings);
        let per_function = expected.len() / functions.len();
        for (index, (found, expected)) in
            found.iter().zip(expected.chunks(per_function)).enumerate()
        {
            if let Some(difference) = difference(found, expected) {
                differences
                    .push(format!("function {} {level}: {difference}", indices.start + index));
            }
        }
    }
    differences
}

/// How what a kernel gave is not what the host gave.
fn difference(found: &Result<Vec<u8>, LaunchError>, expected: &[u8]) -> Option<String> {
    let found = match found {
        Ok(found) => found,
        Err(error) => return Some(error.to_string()),
    };
    let words = |bytes: &[u8]| -> Vec<u64> {
        let (words, _) = bytes.as_chunks();
        words.iter().map(|word| u64::from_le_bytes(*word)).collect()
    };
    let (found, expected) = (words(found), words(expected));
    let pairs = found.chunks(NUM_OUTPUT_WORDS).zip(expected.chunks(NUM_OUTPUT_WORDS));
    let wrong: Vec<_> =
        pairs.enumerate().filter(|(_, (found, expected))| found != expected).collect();
    let (work_item, (found, expected)) = wrong.first()?;
    // The hash is right only if all variables are: the last word that differs says most.
    let word = (0..NUM_OUTPUT_WORDS).rev().find(|&word| found[word] != expected[word])?;
    let (found, expected, num_wrong) = (found[word], expected[word], wrong.len());
    Some(format!(
        "{num_wrong} of {NUM_INPUTS} work-items differ, first {work_item}: out[{word}] is {found:#x} on gfx942, \
         {expected:#x} here"
    ))
}

fn check(indices: Range<usize>) {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let mut all = Vec::new();
    for first in indices.clone().step_by(NUM_IN_FILE) {
        all.extend(differences(&toolchain, first..(first + NUM_IN_FILE).min(indices.end)));
    }
    assert!(all.is_empty(), "{} differences:\n{}", all.len(), all.join("\n"));
}

/// The functions that somebody wants to see again.
fn range() -> Option<Range<usize>> {
    let range = std::env::var("KVASIR_FUZZ_RANGE").ok()?;
    let (start, end) = range.split_once("..").expect("KVASIR_FUZZ_RANGE=START..END");
    let number = |text: &str| text.parse().expect("KVASIR_FUZZ_RANGE=START..END");
    Some(number(start)..number(end))
}

/// Functions of a part: five parts run at once, where there are as many processors.
fn part(number: usize) -> Range<usize> {
    let size = if std::env::var_os("KVASIR_LONG").is_some() { 300 } else { 100 };
    match range() {
        Some(range) if number == 0 => range,
        Some(_) => 0..0,
        None => number * size..(number + 1) * size,
    }
}

#[test]
fn part_0() {
    check(part(0));
}

#[test]
fn part_1() {
    check(part(1));
}

#[test]
fn part_2() {
    check(part(2));
}

#[test]
fn part_3() {
    check(part(3));
}

#[test]
fn part_4() {
    check(part(4));
}
