//! Hugging Face model directories: `config.json`, `generation_config.json`, safetensors.

mod checkpoint;
mod config;
mod fields;
mod generation;
mod rope;
mod safetensors;
mod shards;
mod write;

pub use checkpoint::checkpoint_from_bytes;
pub use config::HfConfig;
pub use generation::generation_config_from_bytes;
pub use safetensors::{
    MAX_HEADER_BYTES, SafetensorsEntry, SafetensorsError, safetensors_from_bytes,
};
pub use shards::ShardIndex;

pub(super) use checkpoint::open_directory;
pub(super) use write::{config_json, generation_json};
