//! Any bytes into the reader of code objects, offload bundles and host programs.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../src/code_object.rs"]
mod invariants;

fuzz_target!(|bytes: &[u8]| {
    invariants::code_object(bytes);
});
