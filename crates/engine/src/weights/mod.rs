//! Models on disk: GGUF files and Hugging Face directories, behind one entry, [`open`].
//!
//! Whatever the file calls its tensors and however it stores them, the engine sees Hugging Face's
//! names and row order and reads f32 rows. Files are memory-mapped; nothing is widened before it is
//! asked for. Readers work on byte slices, so that tests and fuzzers can feed them anything.

pub mod convert;
pub mod gguf;
pub mod hf;

mod config_error;
mod dequant;
mod generation;
mod identity;
pub(crate) mod kv_scales;
mod model;
mod names;
mod rope_defaults;
mod store;

pub use config_error::ConfigError;
pub use dequant::TensorFormat;
pub use generation::GenerationConfig;
pub use kv_scales::KvScalesError;
pub use model::{Model, TensorSummary, WeightsError, open};
pub use names::{ExpectedTensor, expected_tensors};
