//! Getting models: from a local server, and with a stand-in for pip.

mod huggingface;
#[cfg(unix)]
mod pip;
mod server;
