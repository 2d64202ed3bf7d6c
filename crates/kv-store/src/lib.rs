//! KV of prefixes, computed once: chunks of tokens by what they are made of, each verified where it is used.
//!
//! - [`identity`]: everything that KV's bits depend on besides tokens, and [`keys`], which name a chunk by it
//! - [`config`]: what a store is made of, from the files and variables that LMCache's users have
//! - [`chunk`]: the bytes of a chunk, the same for every engine layout
//! - [`codec`]: how the bytes of a layer are packed, without loss
//! - [`record`]: a chunk as a file or an object, with the digests that verify it
//! - [`disk`]: what the directory tier asks of a machine, so that tests can crash it
//! - [`tier`]: where chunks live, and [`eviction`], what leaves when a tier is full
//! - [`store`]: lookup, get, put over the tiers, and the same by worker threads
//! - [`inventory`]: all records of a place, for those who look after it
//! - [`planner`]: whether to load what is stored, or to compute it again, or both
//! - [`outcome`] and [`counters`]: what comes of asking, and how often; [`metrics`] tells it over HTTP
//!
//! A failure is a miss with a reason and a counter, never an answer.
#![forbid(unsafe_code)]

pub mod chunk;
pub mod clock;
pub mod codec;
pub mod config;
pub mod counters;
pub mod digest;
pub mod disk;
pub mod eviction;
pub mod identity;
pub mod inventory;
pub mod keys;
pub mod metrics;
pub mod outcome;
pub mod planner;
pub mod record;
pub mod store;
pub mod tier;
