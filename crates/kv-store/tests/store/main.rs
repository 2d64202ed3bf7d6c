//! The store as a library: what is put is found by its prompt, byte for byte, or missed with a reason.
#![forbid(unsafe_code)]

mod api;
mod directory;
mod support;
