//! `generation_config.json`.

use super::config::HfConfig;
use super::fields::{Fields, parse_object};
use crate::weights::config_error::ConfigError;
use crate::weights::generation::GenerationConfig;

/// What `bytes`, a whole `generation_config.json`, says. Where it does not name the first or last
/// token of a text, `config` does.
///
/// # Errors
/// [`ConfigError`] that names the key.
pub fn generation_config_from_bytes(
    bytes: &[u8],
    config: &HfConfig,
) -> Result<GenerationConfig, ConfigError> {
    let map = parse_object(bytes)?;
    let fields = Fields::new(&map);
    let eos_token_ids = fields.token_ids("eos_token_id")?.value();
    let generation = GenerationConfig {
        eos_token_ids: eos_token_ids.unwrap_or_else(|| config.eos_token_ids.clone()),
        bos_token_id: fields.u32("bos_token_id")?.value().or(config.bos_token_id),
        temperature: fields.f64("temperature")?.value().map(|x| x as f32),
        top_p: fields.f64("top_p")?.value().map(|x| x as f32),
        top_k: fields.u32("top_k")?.value(),
        do_sample: fields.bool("do_sample")?.value(),
    };
    generation.validate()?;
    Ok(generation)
}

/// For a directory without `generation_config.json`.
pub(super) fn generation_config_without_file(config: &HfConfig) -> GenerationConfig {
    GenerationConfig {
        eos_token_ids: config.eos_token_ids.clone(),
        bos_token_id: config.bos_token_id,
        ..GenerationConfig::default()
    }
}
