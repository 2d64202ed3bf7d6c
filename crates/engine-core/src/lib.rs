//! What runs next, and where its KV lives.
//!
//! This crate decides; it never touches a clock, a thread, a file or a device. Time and seeds
//! come in as arguments, so the same inputs give the same batches, byte for byte.
//!
//! The way of the data: [`request`] → [`scheduler`] → [`batch`] → [`model`] → [`ops`], with
//! [`block_pool`] lending the KV blocks, [`prefix_cache`] finding those that hold a prompt's KV
//! already, [`speculative`] guessing tokens ahead and [`sampling`] turning logits into tokens.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::alloc_instead_of_core, clippy::std_instead_of_alloc, clippy::std_instead_of_core)]

extern crate alloc;

pub mod batch;
pub mod block_pool;
pub mod capacity;
pub mod checkpoint;
pub mod config;
pub mod device;
pub mod dtype;
pub mod formats;
pub mod kv_check;
pub mod kv_dtype;
pub mod kv_run;
pub mod kv_scales;
pub mod kv_tier;
pub mod limits;
pub mod model;
pub mod ops;
pub mod prefix_cache;
pub mod request;
pub mod rope;
pub mod sampling;
pub mod scheduler;
pub mod sequence;
pub mod speculative;
