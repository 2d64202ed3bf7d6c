//! The functions on this machine's processor, compiled by its C compiler.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::generate::NUM_OUTPUT_WORDS;
use crate::{BLOCK_SIZE, PRELUDE};

/// Where the host's program begins; `COUNT`, `BLOCK` and the tables come before it.
const MAIN: &str = include_str!("host_main.c");

/// Runs every function over `inputs` (little-endian words) and returns the outputs, function by function.
pub fn run(folder: &Path, functions: &[String], inputs: &[u8]) -> Vec<u8> {
    let source = folder.join("host.c");
    let program = folder.join("host");
    fs::write(&source, text(functions)).expect("the folder is writable");
    // One optimisation level, another compiler's: -O1 keeps the build short.
    let mut compiler = Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".into()));
    compiler.args(["-std=gnu11", "-O1", "-w", "-ffp-contract=off", "-fexcess-precision=16"]);
    compiler.args(["-fno-strict-aliasing", "-o"]).arg(&program).arg(&source).arg("-lm");
    let built = compiler.output().expect("a C compiler is installed: Rust links with it");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));

    let (input, output) = (folder.join("inputs"), folder.join("host.out"));
    fs::write(&input, inputs).expect("the folder is writable");
    let status = Command::new(&program).args([&input, &output]).status().expect("it was built");
    assert!(status.success(), "the host's program: {status}");
    fs::read(&output).expect("the program wrote it")
}

fn text(functions: &[String]) -> String {
    let mut text = format!("{PRELUDE}\n{}", functions.concat());
    let names = |prefix: &str| {
        (0..functions.len()).fold(String::new(), |mut list, i| {
            write!(list, "{prefix}_{i}, ").unwrap();
            list
        })
    };
    writeln!(text, "#define BLOCK {BLOCK_SIZE}").unwrap();
    writeln!(text, "#define OUTPUT_WORDS {NUM_OUTPUT_WORDS}").unwrap();
    writeln!(text, "static u64 (*const BEFORE[])(const u32 *) = {{{}}};", names("before")).unwrap();
    let signature = "const u32 *, u64, u64, u64 *";
    writeln!(text, "static u64 (*const AFTER[])({signature}) = {{{}}};", names("after")).unwrap();
    text + MAIN
}
