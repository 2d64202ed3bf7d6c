//! Every variant of `paged_attention` and `prefill_attention` against the oracle.
#![forbid(unsafe_code)]

#[path = "../support/attention/mod.rs"]
mod bench;
#[path = "../support/device.rs"]
mod support;

mod features;
mod invariance;
mod main_loop;
mod sweep;
mod variants;
