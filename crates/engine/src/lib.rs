//! The engine: weights, tokenizer, chat template and the run loop that joins them to a backend.

pub mod output;
pub mod text;
