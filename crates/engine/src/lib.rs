//! The engine: weights, tokenizer, chat template and the run loop that joins them to a backend.

pub mod output;
mod prompt;
mod run_loop;
pub mod text;
pub mod weights;
