//! The rules of ARCHITECTURE.md that a reader would otherwise have to check: who may depend on
//! whom, where `unsafe` may be, what no file may contain. Each rule is a function of names and
//! texts that returns what breaks it, and has a second test that shows it a breach.
#![forbid(unsafe_code)]

mod code;
mod documents;
mod edges;
mod source_files;
mod unsafe_code;
mod workspace;

/// Fails with every violation, one a line.
#[track_caller]
fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}
