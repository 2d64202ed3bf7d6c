//! `config.json`, as transformers 5 reads it: the same keys, the same defaults.
//!
//! A key that transformers does not read for these families changes nothing here either.

use engine_core::config::{Architecture, ModelConfig};

use super::fields::{Field, Fields, parse_object};
use super::rope::rope_config;
use crate::weights::config_error::{ConfigError, check_num_layers, validate};

/// What `config.json` says.
#[derive(Clone, Debug, PartialEq)]
pub struct HfConfig {
    /// The model's shape.
    pub model: ModelConfig,
    /// Tokens that end a text.
    pub eos_token_ids: Vec<u32>,
    /// The token that begins a text.
    pub bos_token_id: Option<u32>,
}

impl HfConfig {
    /// Reads `bytes`, a whole `config.json`.
    ///
    /// # Errors
    /// [`ConfigError`] that names the key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ConfigError> {
        let map = parse_object(bytes)?;
        let fields = Fields::new(&map);
        let family = architecture(&fields)?;
        refuse_unsupported(&fields)?;
        let defaults = Defaults::of(family);
        let model = model_config(&fields, family, &defaults)?;
        validate(&model)?;
        let token_or = |field, default: Option<u32>| match field {
            Field::Absent => default,
            Field::Null => None,
            Field::Is(id) => Some(id),
        };
        let eos_token_ids = match fields.token_ids("eos_token_id")? {
            Field::Absent => defaults.eos_token_id.into_iter().collect(),
            Field::Null => Vec::new(),
            Field::Is(ids) => ids,
        };
        Ok(HfConfig {
            model,
            eos_token_ids,
            bos_token_id: token_or(fields.u32("bos_token_id")?, defaults.bos_token_id),
        })
    }
}

/// Values of absent keys, from transformers' `configuration_*.py`.
struct Defaults {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_layers: usize,
    num_qo_heads: usize,
    /// `None`: as many as query heads.
    num_kv_heads: Option<usize>,
    /// `None`: hidden size over query heads.
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    rms_norm_eps: f64,
    sliding_window: u32,
    max_window_layers: usize,
    bos_token_id: Option<u32>,
    eos_token_id: Option<u32>,
}

impl Defaults {
    const LLAMA: Defaults = Defaults {
        vocab_size: 32_000,
        hidden_size: 4096,
        intermediate_size: 11_008,
        num_layers: 32,
        num_qo_heads: 32,
        num_kv_heads: None,
        head_dim: None,
        max_position_embeddings: 2048,
        rms_norm_eps: 1e-6,
        sliding_window: 4096,
        max_window_layers: 28,
        bos_token_id: Some(1),
        eos_token_id: Some(2),
    };
    const MISTRAL: Defaults = Defaults {
        intermediate_size: 14_336,
        num_kv_heads: Some(8),
        max_position_embeddings: 4096 * 32,
        ..Defaults::LLAMA
    };
    const QWEN2: Defaults = Defaults {
        vocab_size: 151_936,
        intermediate_size: 22_016,
        num_kv_heads: Some(32),
        max_position_embeddings: 32_768,
        bos_token_id: None,
        eos_token_id: None,
        ..Defaults::LLAMA
    };
    const QWEN3: Defaults = Defaults { head_dim: Some(128), ..Defaults::QWEN2 };

    const fn of(family: Architecture) -> Self {
        match family {
            Architecture::Llama => Defaults::LLAMA,
            Architecture::Mistral => Defaults::MISTRAL,
            Architecture::Qwen2 => Defaults::QWEN2,
            Architecture::Qwen3 => Defaults::QWEN3,
        }
    }
}

/// `model_type`, or the class in `architectures` where there is none; both must agree.
fn architecture(fields: &Fields<'_>) -> Result<Architecture, ConfigError> {
    let class =
        fields.str_list("architectures")?.value().and_then(|classes| classes.first().copied());
    let model_type = fields.str("model_type")?.value();
    let named = model_type
        .map(str::to_ascii_lowercase)
        .or_else(|| class.map(|class| class.to_ascii_lowercase().replace("forcausallm", "")));
    let found = || match (model_type, class) {
        (Some(model_type), Some(class)) => format!("{model_type}/{class}"),
        (Some(name), None) | (None, Some(name)) => name.to_owned(),
        (None, None) => "(neither `model_type` nor `architectures` given)".to_owned(),
    };
    let family =
        [Architecture::Llama, Architecture::Mistral, Architecture::Qwen2, Architecture::Qwen3]
            .into_iter()
            .find(|family| named.as_deref() == Some(family.name()));
    // Another class of the family has another head: a classifier, a reward model, no head at all.
    let is_language_model = |family: Architecture| {
        class.is_none_or(|class| {
            class.eq_ignore_ascii_case(&format!("{}ForCausalLM", family.name()))
        })
    };
    family
        .filter(|&family| is_language_model(family))
        .ok_or_else(|| ConfigError::UnknownArchitecture { found: found() })
}

fn refuse_unsupported(fields: &Fields<'_>) -> Result<(), ConfigError> {
    if let Some(found) = fields.describe("quantization_config") {
        return Err(ConfigError::unsupported(
            "quantization_config",
            found,
            "unquantized float32, float16 or bfloat16 weights, or a GGUF file",
        ));
    }
    match fields.str("hidden_act")?.value() {
        // Two names of one function.
        None | Some("silu" | "swish") => Ok(()),
        Some(other) => Err(ConfigError::unsupported("hidden_act", other, "silu")),
    }
}

fn model_config(
    fields: &Fields<'_>,
    family: Architecture,
    defaults: &Defaults,
) -> Result<ModelConfig, ConfigError> {
    let usize_or = |key, default| required(key, fields.usize(key)?, default);
    let num_layers =
        check_num_layers("num_hidden_layers", usize_or("num_hidden_layers", defaults.num_layers)?)?;
    let hidden_size = usize_or("hidden_size", defaults.hidden_size)?;
    let num_qo_heads = usize_or("num_attention_heads", defaults.num_qo_heads)?;
    let head_dim = head_dim(fields, defaults, hidden_size, num_qo_heads)?;
    let max_position_embeddings =
        usize_or("max_position_embeddings", defaults.max_position_embeddings)?;
    let flag = |key| required(key, fields.bool(key)?, false);
    let attention_bias = match family {
        Architecture::Llama | Architecture::Qwen3 => flag("attention_bias")?,
        Architecture::Mistral | Architecture::Qwen2 => false,
    };
    Ok(ModelConfig {
        architecture: family,
        num_layers,
        hidden_size,
        intermediate_size: usize_or("intermediate_size", defaults.intermediate_size)?,
        num_qo_heads,
        num_kv_heads: match fields.usize("num_key_value_heads")? {
            Field::Is(num) => num,
            Field::Null => num_qo_heads,
            Field::Absent => defaults.num_kv_heads.unwrap_or(num_qo_heads),
        },
        head_dim,
        vocab_size: usize_or("vocab_size", defaults.vocab_size)?,
        rms_norm_eps: required("rms_norm_eps", fields.f64("rms_norm_eps")?, defaults.rms_norm_eps)?
            as f32,
        rope: rope_config(fields, head_dim, max_position_embeddings)?,
        sliding_windows: sliding_windows(fields, family, defaults, num_layers)?,
        max_position_embeddings,
        tie_word_embeddings: flag("tie_word_embeddings")?,
        qkv_bias: attention_bias || family == Architecture::Qwen2,
        o_bias: attention_bias,
        mlp_bias: family == Architecture::Llama && flag("mlp_bias")?,
        qk_norm: family == Architecture::Qwen3,
    })
}

/// A key whose absence means `default` and that cannot be null.
fn required<T>(key: &str, field: Field<T>, default: T) -> Result<T, ConfigError> {
    match field {
        Field::Absent => Ok(default),
        Field::Is(value) => Ok(value),
        Field::Null => Err(ConfigError::Missing { key: key.to_owned() }),
    }
}

fn head_dim(
    fields: &Fields<'_>,
    defaults: &Defaults,
    hidden_size: usize,
    num_qo_heads: usize,
) -> Result<usize, ConfigError> {
    match (fields.usize("head_dim")?, defaults.head_dim) {
        (Field::Is(head_dim), _) | (Field::Absent, Some(head_dim)) => Ok(head_dim),
        _ if num_qo_heads != 0 && hidden_size.is_multiple_of(num_qo_heads) => {
            Ok(hidden_size / num_qo_heads)
        }
        _ => Err(ConfigError::wrong(
            "hidden_size",
            hidden_size,
            format!(
                "a multiple of num_attention_heads, {num_qo_heads}, where head_dim is not given"
            ),
        )),
    }
}

/// The window of each layer.
///
/// Mistral: one for all. Qwen: `layer_types` where given, else the layers from `max_window_layers`
/// on when `use_sliding_window`. Llama has none; its config and Mistral's have no `layer_types`,
/// so a list there must not contradict.
fn sliding_windows(
    fields: &Fields<'_>,
    family: Architecture,
    defaults: &Defaults,
    num_layers: usize,
) -> Result<Vec<Option<u32>>, ConfigError> {
    let layer_types = fields.str_list("layer_types")?.value();
    let given = match family {
        Architecture::Llama => None,
        _ => match fields.u32("sliding_window")? {
            Field::Absent => Some(defaults.sliding_window),
            Field::Null => None,
            Field::Is(window) => Some(window),
        },
    };
    let windows = match family {
        Architecture::Llama | Architecture::Mistral => vec![given; num_layers],
        Architecture::Qwen2 | Architecture::Qwen3 => {
            let used = required("use_sliding_window", fields.bool("use_sliding_window")?, false)?;
            let window = given.filter(|_| used);
            if let Some(layer_types) = layer_types {
                return windows_of_types(&layer_types, window, num_layers);
            }
            let max_window_layers = required(
                "max_window_layers",
                fields.usize("max_window_layers")?,
                defaults.max_window_layers,
            )?;
            return Ok((0..num_layers)
                .map(|layer_idx| window.filter(|_| layer_idx >= max_window_layers))
                .collect());
        }
    };
    if let Some(layer_types) = layer_types
        && windows_of_types(&layer_types, given, num_layers).ok().as_ref() != Some(&windows)
    {
        return Err(ConfigError::unsupported(
            "layer_types",
            format!("{layer_types:?}"),
            format!("the same attention in every layer of a {} model", family.name()),
        ));
    }
    Ok(windows)
}

fn windows_of_types(
    layer_types: &[&str],
    window: Option<u32>,
    num_layers: usize,
) -> Result<Vec<Option<u32>>, ConfigError> {
    if layer_types.len() != num_layers {
        return Err(ConfigError::wrong(
            "layer_types",
            format!("a list of {}", layer_types.len()),
            format!("as long as num_hidden_layers, {num_layers}"),
        ));
    }
    let window_of = |&kind: &&str| match (kind, window) {
        // The older name is `attention`.
        ("full_attention" | "attention", _) => Ok(None),
        ("sliding_attention", Some(window)) => Ok(Some(window)),
        ("sliding_attention", None) => Err(ConfigError::wrong(
            "layer_types",
            "sliding_attention",
            "full_attention, as sliding_window or use_sliding_window says that there is no window",
        )),
        (other, _) => {
            Err(ConfigError::unsupported("layer_types", other, "full_attention, sliding_attention"))
        }
    };
    layer_types.iter().map(window_of).collect()
}
