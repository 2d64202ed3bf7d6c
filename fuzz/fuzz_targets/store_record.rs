//! Any bytes into the reader of a KV store's records.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../src/store_record.rs"]
mod invariants;

fuzz_target!(|bytes: &[u8]| {
    invariants::store_record(bytes);
});
