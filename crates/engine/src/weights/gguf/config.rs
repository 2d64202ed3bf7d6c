//! A model's configuration from GGUF metadata.

use engine_core::config::{Architecture, ModelConfig, RopeConfig, RopeScaling};

use super::metadata::{Metadata, OptionalKey};
use super::names::ROPE_FREQS;
use super::{Gguf, TensorInfo};
use crate::weights::config_error::{ConfigError, check_num_layers, validate};
use crate::weights::dequant::TensorFormat;
use crate::weights::generation::GenerationConfig;
use crate::weights::rope_defaults;

/// Metadata under the prefix of the file's architecture.
struct ArchKeys<'a> {
    metadata: &'a Metadata,
    arch: &'a str,
}

impl ArchKeys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.arch)
    }

    fn usize(&self, name: &str) -> Result<usize, ConfigError> {
        Ok(self.metadata.usize(&self.key(name))?)
    }

    fn usize_or(&self, name: &str, default: usize) -> Result<usize, ConfigError> {
        let value = self.metadata.usize(&self.key(name)).optional()?;
        Ok(value.unwrap_or(default))
    }

    fn f32_opt(&self, name: &str) -> Result<Option<f64>, ConfigError> {
        let value = self.metadata.f32(&self.key(name)).optional()?;
        Ok(value.map(f64::from))
    }
}

/// The configuration of the model in `gguf`, which holds the bytes `file`.
///
/// # Errors
/// [`ConfigError`] that names the key.
pub fn model_config(gguf: &Gguf, file: &[u8]) -> Result<ModelConfig, ConfigError> {
    let arch = gguf.metadata.str("general.architecture")?;
    let family = family(arch)?;
    let keys = ArchKeys { metadata: &gguf.metadata, arch };
    refuse_unsupported(&keys)?;
    let num_layers = check_num_layers(&keys.key("block_count"), keys.usize("block_count")?)?;
    let num_qo_heads = keys.usize("attention.head_count")?;
    let hidden_size = keys.usize("embedding_length")?;
    let head_dim = head_dim(&keys, hidden_size, num_qo_heads)?;
    let max_position_embeddings = keys.usize("context_length")?;
    let window = keys.usize_or("attention.sliding_window", 0)?;
    let config = ModelConfig {
        // llama.cpp calls Mistral `llama`; the window is what tells them apart.
        architecture: match family {
            Architecture::Llama if window != 0 => Architecture::Mistral,
            other => other,
        },
        num_layers,
        hidden_size,
        intermediate_size: keys.usize("feed_forward_length")?,
        num_qo_heads,
        num_kv_heads: keys.usize_or("attention.head_count_kv", num_qo_heads)?,
        head_dim,
        vocab_size: vocab_size(&keys, gguf)?,
        rms_norm_eps: gguf.metadata.f32(&keys.key("attention.layer_norm_rms_epsilon"))?,
        rope: rope(&keys, gguf, file, head_dim, max_position_embeddings)?,
        sliding_windows: vec![sliding_window(&keys, window)?; num_layers],
        max_position_embeddings,
        tie_word_embeddings: gguf.tensor("output.weight").is_none(),
        qkv_bias: family == Architecture::Qwen2 || gguf.tensor("blk.0.attn_q.bias").is_some(),
        o_bias: gguf.tensor("blk.0.attn_output.bias").is_some(),
        mlp_bias: gguf.tensor("blk.0.ffn_down.bias").is_some(),
        qk_norm: family == Architecture::Qwen3,
    };
    validate(&config)?;
    Ok(config)
}

/// What the metadata say of sampling and of the ends of texts.
///
/// # Errors
/// [`ConfigError`] for a value of the wrong type.
pub fn generation_config(metadata: &Metadata) -> Result<GenerationConfig, ConfigError> {
    let mut eos_token_ids = Vec::new();
    // llama.cpp ends at each of the three: end of text, of turn, of message.
    for name in ["eos_token_id", "eot_token_id", "eom_token_id"] {
        let id = metadata.u32(&format!("tokenizer.ggml.{name}")).optional()?;
        eos_token_ids.extend(id.filter(|id| !eos_token_ids.contains(id)));
    }
    let config = GenerationConfig {
        eos_token_ids,
        bos_token_id: metadata.u32("tokenizer.ggml.bos_token_id").optional()?,
        temperature: metadata.f32("general.sampling.temp").optional()?,
        top_p: metadata.f32("general.sampling.top_p").optional()?,
        top_k: metadata.u32("general.sampling.top_k").optional()?,
        do_sample: None,
    };
    config.validate()?;
    Ok(config)
}

fn family(arch: &str) -> Result<Architecture, ConfigError> {
    match arch {
        "llama" => Ok(Architecture::Llama),
        "qwen2" => Ok(Architecture::Qwen2),
        "qwen3" => Ok(Architecture::Qwen3),
        other => Err(ConfigError::UnknownArchitecture { found: other.to_owned() }),
    }
}

/// Keys that change the answer in a way that no code here computes. Each has a value that means
/// "off", which is fine.
fn refuse_unsupported(keys: &ArchKeys<'_>) -> Result<(), ConfigError> {
    for name in ["expert_count", "pooling_type", "attention.sliding_window_pattern"] {
        let key = keys.key(name);
        match keys.metadata.get(&key) {
            None => {}
            Some(value) if value.as_int() == Some(0) => {}
            Some(value) => return Err(ConfigError::unsupported(key, value.describe(), "none")),
        }
    }
    for name in [
        "attention.scale",
        "attention.clamp_kqv",
        "attention.max_alibi_bias",
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "embedding_scale",
        "residual_scale",
        "logit_scale",
        "rope.scaling.yarn_log_multiplier",
    ] {
        if let Some(value) = keys.f32_opt(name)?
            && value != 0.0
        {
            return Err(ConfigError::unsupported(keys.key(name), value, "none"));
        }
    }
    let causal = keys.metadata.bool(&keys.key("attention.causal")).optional()?;
    if causal == Some(false) {
        return Err(ConfigError::unsupported(keys.key("attention.causal"), "false", "true"));
    }
    Ok(())
}

fn head_dim(
    keys: &ArchKeys<'_>,
    hidden_size: usize,
    num_qo_heads: usize,
) -> Result<usize, ConfigError> {
    let derived = hidden_size.checked_div(num_qo_heads).unwrap_or(0);
    let head_dim = keys.usize_or("attention.key_length", derived)?;
    let value_length = keys.usize_or("attention.value_length", head_dim)?;
    if value_length != head_dim {
        return Err(ConfigError::unsupported(
            keys.key("attention.value_length"),
            value_length,
            format!("the same as attention.key_length, {head_dim}"),
        ));
    }
    Ok(head_dim)
}

/// The embedding's rows where no key says it: older converters did not write it.
fn vocab_size(keys: &ArchKeys<'_>, gguf: &Gguf) -> Result<usize, ConfigError> {
    let rows = gguf.tensor("token_embd.weight").and_then(|tensor| tensor.shape.first().copied());
    keys.usize_or("vocab_size", rows.unwrap_or(0))
}

fn sliding_window(keys: &ArchKeys<'_>, window: usize) -> Result<Option<u32>, ConfigError> {
    match u32::try_from(window) {
        Ok(0) => Ok(None),
        Ok(window) => Ok(Some(window)),
        Err(_) => Err(ConfigError::wrong(
            keys.key("attention.sliding_window"),
            window,
            "an unsigned 32-bit integer",
        )),
    }
}

fn rope(
    keys: &ArchKeys<'_>,
    gguf: &Gguf,
    file: &[u8],
    head_dim: usize,
    context_length: usize,
) -> Result<RopeConfig, ConfigError> {
    let mut scaling = rope_scaling(keys, context_length)?;
    if let Some(tensor) = gguf.tensor(ROPE_FREQS) {
        if scaling != RopeScaling::None {
            return Err(ConfigError::unsupported(
                keys.key("rope.scaling.type"),
                "a scaling type next to the tensor `rope_freqs.weight`",
                "one of the two",
            ));
        }
        scaling = RopeScaling::Factors(rope_factors(tensor, file)?);
    }
    Ok(RopeConfig {
        theta: keys.f32_opt("rope.freq_base")?.unwrap_or(rope_defaults::THETA),
        rotary_dim: keys.usize_or("rope.dimension_count", head_dim)?,
        scaling,
    })
}

fn rope_scaling(keys: &ArchKeys<'_>, context_length: usize) -> Result<RopeScaling, ConfigError> {
    let type_key = keys.key("rope.scaling.type");
    // As llama.cpp: a factor without a type is linear, and 0 is no factor.
    let kind = keys.metadata.str(&type_key).optional()?.unwrap_or("linear");
    let factor = match keys.f32_opt("rope.scaling.factor")? {
        None => keys.f32_opt("rope.scale_linear")?,
        some => some,
    };
    let factor = factor.filter(|&factor| factor != 0.0).unwrap_or(1.0);
    match kind {
        "none" => Ok(RopeScaling::None),
        "linear" if factor == 1.0 => Ok(RopeScaling::None),
        "linear" => Ok(RopeScaling::Linear { factor }),
        "yarn" => yarn(keys, factor, context_length),
        other => Err(ConfigError::unsupported(type_key, other, "none, linear, yarn")),
    }
}

/// `yarn_attn_factor` is where converters put Hugging Face's `attention_factor`, the whole factor;
/// `attn_factor` comes on top of it.
fn yarn(
    keys: &ArchKeys<'_>,
    factor: f64,
    context_length: usize,
) -> Result<RopeScaling, ConfigError> {
    let ext_factor = keys.f32_opt("rope.scaling.yarn_ext_factor")?;
    // Negative: not set.
    if let Some(ext_factor) = ext_factor.filter(|&x| x >= 0.0 && x != 1.0) {
        let key = keys.key("rope.scaling.yarn_ext_factor");
        return Err(ConfigError::unsupported(key, ext_factor, "1"));
    }
    let whole = keys.f32_opt("rope.scaling.yarn_attn_factor")?;
    let on_top = keys.f32_opt("rope.scaling.attn_factor")?.unwrap_or(1.0);
    Ok(RopeScaling::Yarn {
        factor,
        original_max_position_embeddings: keys
            .usize_or("rope.scaling.original_context_length", context_length)?,
        beta_fast: keys.f32_opt("rope.scaling.yarn_beta_fast")?.unwrap_or(rope_defaults::BETA_FAST),
        beta_slow: keys.f32_opt("rope.scaling.yarn_beta_slow")?.unwrap_or(rope_defaults::BETA_SLOW),
        attention_factor: whole.unwrap_or(rope_defaults::yarn_mscale(factor, 1.0)) * on_top,
        truncate: true,
    })
}

fn rope_factors(tensor: &TensorInfo, file: &[u8]) -> Result<Vec<f32>, ConfigError> {
    let [len] = tensor.shape[..] else {
        return Err(ConfigError::wrong(ROPE_FREQS, format!("{:?}", tensor.shape), "a vector"));
    };
    if tensor.format != TensorFormat::F32 {
        return Err(ConfigError::wrong(ROPE_FREQS, tensor.format, "F32"));
    }
    let mut factors = vec![0.0; len];
    tensor.format.dequantize_row(&file[tensor.range.clone()], &mut factors);
    Ok(factors)
}
