//! Seeded faults: sources with one thing wrong, which tests must reject. Tests of other crates use this one; nothing that
//! is shipped does.
//!
//! A fault is a text of a source file and what takes its place ([`Edit`]). The text must be there exactly once: if it is
//! not, the source has changed, the fault is gone, and the table of faults has to follow. What is wrong enters a copy,
//! either one at a time ([`copy_with`]) or all of them behind a switch, in a package that is built once ([`Package`]).
//! Who rejects what is the business of each test; [`KillRate`] says how many were. With `KVASIR_MUTANTS=PART`
//! only faults whose names have the part are looked for.
#![forbid(unsafe_code)]

mod edit;
mod kill_rate;
mod package;

pub use edit::{Edit, copy_with};
pub use kill_rate::{KillRate, in_parallel, is_wanted};
pub use package::Package;
