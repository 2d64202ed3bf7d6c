//! Load on an OpenAI endpoint: what is asked, when, by whom, and what came back.

pub(super) mod arrivals;
pub(super) mod client;
pub(super) mod dataset;
pub(super) mod drive;
pub(super) mod metrics;
mod sse;
