//! Any bytes into the safetensors header.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    invariants::safetensors(bytes);
});
