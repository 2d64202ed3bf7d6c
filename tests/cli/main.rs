//! The `kvasir` command, run as a user runs it.

mod bench;
mod bench_serve;
mod bucket;
#[path = "../byte_model/mod.rs"]
mod byte_model;
mod calibrate;
mod command;
mod configuration;
mod convert;
mod doctor;
mod errors;
mod generate;
#[path = "../golden_model/mod.rs"]
mod golden_model;
mod kernels;
mod kv_store;
#[path = "../server/listening.rs"]
mod listening;
mod logs;
mod manual;
mod page;
mod plan;
mod presets;
#[path = "../server/running.rs"]
#[allow(dead_code, reason = "most of what can be asked is asked by the server's own tests")]
mod running;
#[path = "../../crates/kv-store-object/tests/bucket/server.rs"]
#[allow(dead_code, reason = "a server in trouble is for the tier's own tests")]
mod server;
mod store;
