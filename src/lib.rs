//! Kvasir: an LLM inference engine and kernel workspace.
