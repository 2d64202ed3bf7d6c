//! OpenAI's requests and answers, with vLLM's additions.

mod answer;
pub(crate) mod chat;
pub(crate) mod completions;
mod logprobs;
pub(crate) mod models;
mod prompt;
#[cfg(test)]
mod reference;
pub(crate) mod responses;
mod sampling;
pub(crate) mod template;
mod usage;
