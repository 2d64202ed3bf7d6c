//! Any bytes into the decoder and the disassembler.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../src/instruction.rs"]
mod invariants;

fuzz_target!(|bytes: &[u8]| {
    invariants::instructions(bytes);
});
