//! What can be wrong with a model's configuration, and the checks that hold for every source.

use engine_core::config::{ModelConfig, RopeScaling};

use super::gguf::MetadataError;

/// Model families that can be read, for error messages.
pub(super) const KNOWN_ARCHITECTURES: &str = "llama, mistral, qwen2, qwen3";

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not JSON, or not an object.
    #[error("not a JSON object: {problem}")]
    Json {
        /// The parser's words.
        problem: String,
    },
    /// A required key is absent.
    #[error("key `{key}` is missing")]
    Missing {
        /// Its name.
        key: String,
    },
    /// A value of another type, or out of range.
    #[error("key `{key}` is {found}, but must be {expected}")]
    WrongValue {
        /// Its name.
        key: String,
        /// As found.
        found: String,
        /// What would do.
        expected: String,
    },
    /// A model of another family.
    #[error("architecture `{found}` is not known; known are {KNOWN_ARCHITECTURES}")]
    UnknownArchitecture {
        /// As found.
        found: String,
    },
    /// A feature that changes the answer and that this engine does not have.
    #[error("`{key}` = {found} is not supported; supported: {supported}")]
    Unsupported {
        /// The key that asks for it.
        key: String,
        /// As found.
        found: String,
        /// What can be used instead.
        supported: String,
    },
    /// GGUF metadata without the value, or with another type.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

impl ConfigError {
    pub(super) fn wrong(
        key: impl Into<String>,
        found: impl ToString,
        expected: impl Into<String>,
    ) -> Self {
        ConfigError::WrongValue {
            key: key.into(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    pub(super) fn unsupported(
        key: impl Into<String>,
        found: impl ToString,
        supported: impl Into<String>,
    ) -> Self {
        ConfigError::Unsupported {
            key: key.into(),
            found: found.to_string(),
            supported: supported.into(),
        }
    }
}

/// Sizes beyond any model, so that products of them cannot overflow and nothing is allocated for
/// a damaged file. The largest open models stay far below: 126 layers, hidden 16384, vocabulary 262144.
const MAX_LAYERS: usize = 4096;
const MAX_WIDTH: usize = 1 << 20;
const MAX_VOCAB: usize = 1 << 24;
const MAX_POSITIONS: usize = 1 << 30;

/// `num_layers`, before a list as long as that is made.
pub(super) fn check_num_layers(key: &str, num_layers: usize) -> Result<usize, ConfigError> {
    check_size(key, num_layers, MAX_LAYERS)
}

/// Refuses sizes that contradict each other or that no model has.
pub(super) fn validate(config: &ModelConfig) -> Result<(), ConfigError> {
    check_num_layers("num_hidden_layers", config.num_layers)?;
    check_size("hidden_size", config.hidden_size, MAX_WIDTH)?;
    check_size("intermediate_size", config.intermediate_size, MAX_WIDTH)?;
    check_size("num_attention_heads", config.num_qo_heads, MAX_WIDTH)?;
    check_size("num_key_value_heads", config.num_kv_heads, MAX_WIDTH)?;
    check_size("head_dim", config.head_dim, MAX_WIDTH)?;
    check_size("vocab_size", config.vocab_size, MAX_VOCAB)?;
    check_size("max_position_embeddings", config.max_position_embeddings, MAX_POSITIONS)?;
    if !config.num_qo_heads.is_multiple_of(config.num_kv_heads) {
        return Err(ConfigError::wrong(
            "num_key_value_heads",
            config.num_kv_heads,
            format!("a divisor of num_attention_heads, {}", config.num_qo_heads),
        ));
    }
    if !config.head_dim.is_multiple_of(2) {
        return Err(ConfigError::wrong("head_dim", config.head_dim, "even, for RoPE"));
    }
    let rms_norm_eps = config.rms_norm_eps;
    if !(rms_norm_eps.is_finite() && rms_norm_eps >= 0.0) {
        return Err(ConfigError::wrong("rms_norm_eps", rms_norm_eps, "a number from 0 up"));
    }
    if config.sliding_windows.contains(&Some(0)) {
        return Err(ConfigError::wrong("sliding_window", 0, "at least 1, or null for none"));
    }
    validate_rope(config)
}

fn check_size(key: &str, size: usize, max: usize) -> Result<usize, ConfigError> {
    if (1..=max).contains(&size) {
        Ok(size)
    } else {
        Err(ConfigError::wrong(key, size, format!("from 1 to {max}")))
    }
}

fn validate_rope(config: &ModelConfig) -> Result<(), ConfigError> {
    let rope = &config.rope;
    if !rope.rotary_dim.is_multiple_of(2)
        || rope.rotary_dim == 0
        || rope.rotary_dim > config.head_dim
    {
        return Err(ConfigError::wrong(
            "rotary dimension",
            rope.rotary_dim,
            format!("even, above 0, and at most head_dim, {}", config.head_dim),
        ));
    }
    check_above("rope_theta", rope.theta, 1.0)?;
    match &rope.scaling {
        RopeScaling::None => Ok(()),
        RopeScaling::Linear { factor } => check_above("factor", *factor, 0.0),
        RopeScaling::Dynamic { factor } => {
            if rope.rotary_dim == 2 {
                return Err(ConfigError::unsupported(
                    "rope_type",
                    "dynamic",
                    "more than 2 rotary dimensions",
                ));
            }
            check_above("factor", *factor, 0.0)
        }
        RopeScaling::Yarn {
            factor,
            original_max_position_embeddings,
            beta_fast,
            beta_slow,
            attention_factor,
            truncate: _,
        } => {
            check_above("factor", *factor, 0.0)?;
            check_original_length(*original_max_position_embeddings)?;
            check_above("beta_fast", *beta_fast, 0.0)?;
            check_above("beta_slow", *beta_slow, 0.0)?;
            check_above("attention_factor", *attention_factor, 0.0)
        }
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        } => {
            check_above("factor", *factor, 0.0)?;
            check_original_length(*original_max_position_embeddings)?;
            check_above("low_freq_factor", *low_freq_factor, 0.0)?;
            check_above("high_freq_factor", *high_freq_factor, *low_freq_factor)
        }
        RopeScaling::Factors(factors) => validate_factors(factors, rope.rotary_dim),
    }
}

fn validate_factors(factors: &[f32], rotary_dim: usize) -> Result<(), ConfigError> {
    if factors.len() != rotary_dim / 2 {
        return Err(ConfigError::wrong(
            "number of RoPE factors",
            factors.len(),
            format!("{}, half the rotary dimension", rotary_dim / 2),
        ));
    }
    factors.iter().try_for_each(|&factor| check_above("RoPE factor", factor.into(), 0.0))
}

fn check_original_length(length: usize) -> Result<(), ConfigError> {
    check_size("original_max_position_embeddings", length, MAX_POSITIONS).map(|_| ())
}

fn check_above(key: &str, value: f64, bound: f64) -> Result<(), ConfigError> {
    if value.is_finite() && value > bound {
        Ok(())
    } else {
        Err(ConfigError::wrong(key, value, format!("a number above {bound}")))
    }
}
