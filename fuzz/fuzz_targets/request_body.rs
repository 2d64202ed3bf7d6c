//! Any bytes into the readers of the server's requests.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../src/request_body.rs"]
mod invariants;

fuzz_target!(|bytes: &[u8]| {
    invariants::request_body(bytes);
});
