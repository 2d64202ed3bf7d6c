//! Every variant of `paged_attention` and `prefill_attention` against the oracle.
#![forbid(unsafe_code)]

#[path = "../support/baseline.rs"]
mod baseline;
#[path = "../support/attention/mod.rs"]
mod bench;
#[path = "../support/counters.rs"]
mod counters;
#[path = "../support/device.rs"]
mod support;

mod counted;
mod features;
mod invariance;
mod main_loop;
mod sweep;
mod variants;
