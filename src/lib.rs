//! Kvasir: an LLM inference engine and kernel workspace.
#![forbid(unsafe_code)]
