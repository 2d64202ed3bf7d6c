//! The engine: weights, tokenizer, chat template and the run loop that joins them to a backend.
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate self as engine;

mod async_llm;
mod bad_words;
mod builder;
mod convert;
mod error;
mod glue;
pub mod hub;
mod kv_memory;
mod llm;
pub mod output;
mod prompt;
mod record;
mod request_state;
mod run_loop;
mod sampler;
mod sequence_state;
mod structured;
pub mod text;
pub mod weights;

pub use async_llm::{AsyncLlm, RequestStream};
pub use builder::{Backend, LlmBuilder};
pub use convert::convert_to_hf_dir;
pub use engine_core::dtype::DType;
pub use engine_core::request::{FinishReason, SamplingParams, StructuredOutputs, TokenId};
pub use engine_core::sampling::LogprobsMode;
pub use engine_core::scheduler::{SchedulerConfig, SchedulerStats, SchedulingPolicy};
pub use engine_core::speculative::NgramConfig;
pub use error::LlmError;
pub use kernels_cpu::CpuIsa;
pub use llm::{Llm, RequestId, RequestOptions, RequestUpdate};
pub use output::RequestOutput;
pub use prompt::Prompt;
pub use record::{Difference, DifferentPart, Replay, ReplayError, ReplayReport};
pub use run_loop::StepError;
pub use structured::StructuredError;
