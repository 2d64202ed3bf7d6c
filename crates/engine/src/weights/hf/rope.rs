//! RoPE in `config.json`, in both dialects: `rope_theta` with `rope_scaling`, and transformers 5's
//! `rope_parameters`. Precedence and defaults are those of transformers' `modeling_rope_utils.py`.

use engine_core::config::{RopeConfig, RopeScaling};

use super::fields::{Field, Fields};
use crate::weights::config_error::ConfigError;
use crate::weights::rope_defaults;

const KNOWN_TYPES: &str = "default, linear, dynamic, yarn, llama3";

/// The RoPE part of a configuration.
pub(super) fn rope_config(
    fields: &Fields<'_>,
    head_dim: usize,
    max_position_embeddings: usize,
) -> Result<RopeConfig, ConfigError> {
    let reader = RopeReader { top: fields, rope: rope_object(fields)?, max_position_embeddings };
    let theta = reader.number_or("rope_theta", rope_defaults::THETA)?;
    let partial_rotary_factor = reader.number_or("partial_rotary_factor", 1.0)?;
    if !(partial_rotary_factor > 0.0 && partial_rotary_factor <= 1.0) {
        return Err(ConfigError::wrong(
            "partial_rotary_factor",
            partial_rotary_factor,
            "above 0 and at most 1",
        ));
    }
    Ok(RopeConfig {
        theta,
        rotary_dim: (head_dim as f64 * partial_rotary_factor) as usize,
        scaling: reader.scaling()?,
    })
}

/// `rope_scaling` unless it is absent, null or empty, then `rope_parameters`.
fn rope_object<'a>(fields: &Fields<'a>) -> Result<Option<Fields<'a>>, ConfigError> {
    let scaling = fields.object("rope_scaling")?.value();
    let parameters = fields.object("rope_parameters")?.value();
    let rope = scaling.filter(|scaling| !scaling.is_empty()).or(parameters);
    if let Some(rope) = &rope {
        for layer_type in ["full_attention", "sliding_attention"] {
            if rope.object(layer_type)?.value().is_some() {
                return Err(ConfigError::unsupported(
                    "rope_parameters",
                    format!("one set for `{layer_type}`"),
                    "the same for every layer",
                ));
            }
        }
    }
    Ok(rope)
}

struct RopeReader<'a> {
    /// All of the config.
    top: &'a Fields<'a>,
    /// Its RoPE object.
    rope: Option<Fields<'a>>,
    max_position_embeddings: usize,
}

impl RopeReader<'_> {
    /// A number from the RoPE object, from beside it, or `default`.
    fn number_or(&self, key: &str, default: f64) -> Result<f64, ConfigError> {
        let inner = match &self.rope {
            Some(rope) => rope.f64(key)?,
            None => Field::Absent,
        };
        match inner {
            Field::Is(number) => Ok(number),
            Field::Absent | Field::Null => Ok(self.top.f64(key)?.value().unwrap_or(default)),
        }
    }

    fn scaling(&self) -> Result<RopeScaling, ConfigError> {
        let Some(rope) = &self.rope else {
            return Ok(RopeScaling::None);
        };
        let kind = match rope.str("rope_type")?.value() {
            None => rope.str("type")?.value().unwrap_or("default"),
            Some(kind) => kind,
        };
        let number = |key: &str| {
            rope.f64(key)?.value().ok_or_else(|| ConfigError::Missing { key: key.to_owned() })
        };
        match kind {
            "default" => Ok(RopeScaling::None),
            "linear" => Ok(RopeScaling::Linear { factor: number("factor")? }),
            "dynamic" => Ok(RopeScaling::Dynamic { factor: number("factor")? }),
            "yarn" => self.yarn(rope),
            "llama3" => Ok(RopeScaling::Llama3 {
                factor: number("factor")?,
                low_freq_factor: number("low_freq_factor")?,
                high_freq_factor: number("high_freq_factor")?,
                original_max_position_embeddings: self.original_length(rope)?,
            }),
            "longrope" => longrope(rope),
            other => Err(ConfigError::unsupported("rope_type", other, KNOWN_TYPES)),
        }
    }

    /// Beside the RoPE object first, then in it, then the whole context.
    fn original_length(&self, rope: &Fields<'_>) -> Result<usize, ConfigError> {
        const KEY: &str = "original_max_position_embeddings";
        let given = match self.top.usize(KEY)?.value() {
            None => rope.usize(KEY)?.value(),
            some => some,
        };
        Ok(given.unwrap_or(self.max_position_embeddings))
    }

    fn yarn(&self, rope: &Fields<'_>) -> Result<RopeScaling, ConfigError> {
        let original_max_position_embeddings = self.original_length(rope)?;
        let factor = rope.f64("factor")?.value().unwrap_or(
            self.max_position_embeddings as f64 / original_max_position_embeddings as f64,
        );
        // Python's `or`: zero counts as not given.
        let non_zero = |key| Ok::<_, ConfigError>(rope.f64(key)?.value().filter(|&x| x != 0.0));
        let mscale = rope_defaults::yarn_mscale;
        let default_attention_factor = match (non_zero("mscale")?, non_zero("mscale_all_dim")?) {
            (Some(one), Some(all)) => mscale(factor, one) / mscale(factor, all),
            _ => mscale(factor, 1.0),
        };
        Ok(RopeScaling::Yarn {
            factor,
            original_max_position_embeddings,
            beta_fast: non_zero("beta_fast")?.unwrap_or(rope_defaults::BETA_FAST),
            beta_slow: non_zero("beta_slow")?.unwrap_or(rope_defaults::BETA_SLOW),
            attention_factor: rope
                .f64("attention_factor")?
                .value()
                .unwrap_or(default_attention_factor),
            truncate: rope.bool("truncate")?.value().unwrap_or(true),
        })
    }
}

/// LongRoPE switches between two sets of divisors with the length of the sequence, which would
/// change keys that are cached already. Equal sets are one fixed set, which is how GGUF's
/// `rope_freqs` are written to a Hugging Face directory.
fn longrope(rope: &Fields<'_>) -> Result<RopeScaling, ConfigError> {
    let short = rope.f64_list("short_factor")?.value();
    let long = rope.f64_list("long_factor")?.value();
    let attention_factor = rope.f64("attention_factor")?.value();
    match (short, long) {
        (Some(short), Some(long)) if short == long && attention_factor == Some(1.0) => {
            Ok(RopeScaling::Factors(short.into_iter().map(|factor| factor as f32).collect()))
        }
        _ => Err(ConfigError::unsupported("rope_type", "longrope", KNOWN_TYPES)),
    }
}
