//! Any bytes into the readers of `config.json`, `generation_config.json` and shard indices.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    invariants::config(bytes);
});
