//! The engine: weights, tokenizer, chat template and the run loop that joins them to a backend.
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate self as engine;

mod async_llm;
mod bad_words;
mod block_map;
mod builder;
mod calibrate;
mod convert;
mod error;
mod glue;
pub mod hub;
mod kv_cache;
mod kv_memory;
mod kv_scales;
mod kv_tier;
mod llm;
pub mod output;
mod prompt;
mod record;
pub mod request_json;
mod request_state;
mod run_loop;
mod sampler;
mod sequence_state;
mod status;
mod structured;
pub mod text;
pub mod weights;

pub use async_llm::{AsyncLlm, RequestStream};
pub use block_map::{BlockMap, BlockState};
pub use builder::{Backend, LlmBuilder};
pub use calibrate::{CalibrateProgress, Calibration, calibrate};
pub use convert::convert_to_hf_dir;
pub use engine_core::dtype::DType;
pub use engine_core::formats::Fp8Flavour;
pub use engine_core::request::{FinishReason, SamplingParams, StructuredOutputs, TokenId};
pub use engine_core::sampling::LogprobsMode;
pub use engine_core::scheduler::{Refusal, SchedulerConfig, SchedulerStats, SchedulingPolicy};
pub use engine_core::speculative::NgramConfig;
pub use error::LlmError;
pub use glue::{encode, tokenizer};
pub use kernels_cpu::CpuIsa;
pub use kv_cache::{KvCacheDType, UnknownKvCacheDType};
pub use kv_memory::{host_act_size_bytes, host_memory_bytes};
pub use kv_scales::{ScaleFileError, write_kv_scales};
pub use kv_store;
pub use kv_store::config::KvConfig;
pub use kv_store::store::StoreConfig as KvStoreConfig;
pub use kv_store::tier::{DirectoryConfig, HostConfig};
pub use kv_tier::{
    KvStoreUse, KvTierStats, LoadPolicy, LoadedTokens, OpenKvStore, OpenKvStoreError, TierReport,
};
pub use llm::{
    AttachedPrefix, Llm, RequestId, RequestOptions, RequestUpdate, StepOutcome, TokenTime,
};
pub use output::RequestOutput;
pub use prompt::{Conversation, Prompt};
pub use record::{Difference, DifferentPart, RecordSummary, Replay, ReplayError, ReplayReport};
pub use run_loop::StepError;
pub use status::EngineStatus;
pub use structured::StructuredError;
