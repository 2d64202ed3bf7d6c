//! Any bytes into the reader of a KV store's configuration.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../src/store_config.rs"]
mod invariants;

fuzz_target!(|bytes: &[u8]| {
    invariants::store_config(bytes);
});
