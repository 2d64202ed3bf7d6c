//! The `kvasir` command, run as a user runs it.

mod command;
mod convert;
mod errors;
mod generate;
