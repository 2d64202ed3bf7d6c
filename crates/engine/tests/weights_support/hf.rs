//! Small `config.json` texts.

use engine::weights::ConfigError;
use engine::weights::hf::HfConfig;
use engine_core::config::ModelConfig;
use serde_json::{Value, json};

/// A small config of `model_type` with `changes` laid over it; `"__absent__"` removes a key.
pub fn config_with(model_type: &str, changes: Value) -> Result<HfConfig, ConfigError> {
    let mut config = json!({
        "model_type": model_type,
        "vocab_size": 256,
        "hidden_size": 96,
        "intermediate_size": 160,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
    });
    for (key, value) in changes.as_object().unwrap() {
        if value == "__absent__" {
            config.as_object_mut().unwrap().remove(key);
        } else {
            config[key] = value.clone();
        }
    }
    HfConfig::from_bytes(config.to_string().as_bytes())
}

pub fn model(model_type: &str, changes: Value) -> ModelConfig {
    config_with(model_type, changes.clone())
        .unwrap_or_else(|error| panic!("{model_type} {changes}: {error}"))
        .model
}

pub fn error(model_type: &str, changes: Value) -> String {
    match config_with(model_type, changes.clone()) {
        Ok(config) => panic!("{changes} gave {config:?}"),
        Err(error) => error.to_string(),
    }
}
