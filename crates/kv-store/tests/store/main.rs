//! The store as a library: what is put is found by its prompt, byte for byte, or missed with a reason.
#![forbid(unsafe_code)]

mod api;
mod directory;
mod incidents;
mod support;
mod write_back;

#[path = "../../examples/library.rs"]
#[allow(dead_code, reason = "its main is the example's")]
mod library;

#[test]
fn the_example_runs() {
    let dir = tempfile::tempdir().unwrap();
    library::run(dir.path()).unwrap();
}
