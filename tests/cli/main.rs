//! The `kvasir` command, run as a user runs it.

mod calibrate;
mod command;
mod convert;
mod errors;
mod generate;
mod kernels;
mod store;
