//! Any text into the readers of tool calls.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../src/tool_calls.rs"]
mod invariants;

fuzz_target!(|bytes: &[u8]| {
    invariants::tool_calls(bytes);
});
