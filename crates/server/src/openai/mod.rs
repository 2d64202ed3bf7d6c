//! OpenAI's requests and answers, with vLLM's additions.

mod answer;
pub(crate) mod chat;
pub(crate) mod completions;
mod logprobs;
pub(crate) mod models;
#[cfg(test)]
mod reference;
pub(crate) mod responses;
mod sampling;
mod usage;
