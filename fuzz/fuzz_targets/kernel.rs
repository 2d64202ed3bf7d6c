//! Any descriptor and any code into a launch: sanitized, counted, with few steps and little memory.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../src/kernel.rs"]
mod invariants;

fuzz_target!(|bytes: &[u8]| {
    let _ = invariants::kernel(bytes);
});
