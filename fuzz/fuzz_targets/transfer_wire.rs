//! Any bytes into the reader of peers' messages.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../src/transfer_wire.rs"]
mod invariants;

fuzz_target!(|bytes: &[u8]| {
    invariants::transfer_wire(bytes);
});
