//! Any bytes into the reader of recorded runs.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    invariants::record(bytes);
});
