//! Must fail: it claims that no GGUF file is ever accepted, and its seed is one that is.
//!
//! A smoke run that finds nothing proves something only if the same harness, run in the same way,
//! reports a failure when there is one.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    assert!(!invariants::gguf(bytes), "the canary sings: a valid file was accepted");
});
