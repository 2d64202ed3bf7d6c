//! The `kvasir` command, run as a user runs it.

mod bench;
mod calibrate;
mod command;
mod configuration;
mod convert;
mod errors;
mod generate;
#[path = "../golden_model/mod.rs"]
mod golden_model;
mod kernels;
mod kv_store;
mod plan;
mod store;
