//! Any bytes into the GGUF reader.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    invariants::gguf(bytes);
});
