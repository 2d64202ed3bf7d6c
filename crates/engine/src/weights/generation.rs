//! How a checkpoint wants to be sampled from.

use super::config_error::ConfigError;

/// The part of `generation_config.json` (or of GGUF metadata) that the engine uses. `None`: the
/// checkpoint does not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationConfig {
    /// Tokens that end a text; may be empty.
    pub eos_token_ids: Vec<u32>,
    /// The token that begins a text.
    pub bos_token_id: Option<u32>,
    /// Sampling temperature.
    pub temperature: Option<f32>,
    /// Nucleus sampling.
    pub top_p: Option<f32>,
    /// Number of likeliest tokens that are kept; 0 keeps all.
    pub top_k: Option<u32>,
    /// `false`: greedy, whatever the other values are.
    pub do_sample: Option<bool>,
}

impl GenerationConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if let Some(temperature) = self.temperature
            && !(temperature.is_finite() && temperature >= 0.0)
        {
            return Err(ConfigError::wrong("temperature", temperature, "a number from 0 up"));
        }
        if let Some(top_p) = self.top_p
            && !(0.0..=1.0).contains(&top_p)
        {
            return Err(ConfigError::wrong("top_p", top_p, "a number from 0 to 1"));
        }
        Ok(())
    }
}
