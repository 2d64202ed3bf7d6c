//! `kvasir inspect`: what a model is made of.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;
use engine::DType;
use engine::weights::{self, Model};
use engine_core::config::{ModelConfig, RopeScaling};
use engine_core::device::KvCacheShape;
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::bars::DownloadBars;
use super::error::CliError;
use super::output;

/// `kvasir inspect`.
#[derive(Args, Debug)]
pub(crate) struct InspectArgs {
    /// A known name, a GGUF file, a model directory, or hf:ORG/MODEL[@REVISION][:FILE.gguf]
    pub model: String,
    /// List every tensor too
    #[arg(long)]
    pub tensors: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

pub(crate) fn run(args: &InspectArgs) -> Result<(), CliError> {
    let path = engine::hub::resolve(&args.model, &DownloadBars::new())?;
    let model = weights::open(&path).map_err(|error| CliError::from_usage_error(&error))?;
    if args.json {
        output::json(&as_json(&model, args.tensors))
    } else {
        output::text(&as_table(&model, args.tensors))
    }
}

/// K and V of one token over all layers.
fn kv_bytes_per_token(config: &ModelConfig, dtype: DType) -> u64 {
    KvCacheShape {
        num_layers: config.num_layers,
        num_blocks: 1,
        block_size: 1,
        num_kv_heads: config.num_kv_heads,
        head_dim: config.head_dim,
        dtype: dtype.into(),
    }
    .block_bytes()
}

/// Stored bytes of each format.
fn bytes_by_format(model: &Model) -> BTreeMap<&'static str, u64> {
    let mut bytes = BTreeMap::new();
    for tensor in model.tensors() {
        *bytes.entry(tensor.format.name()).or_insert(0) += tensor.num_bytes;
    }
    bytes
}

fn as_json(model: &Model, with_tensors: bool) -> Value {
    let config = model.config();
    let mut value = json!({
        "path": model.path().display().to_string(),
        "architecture": config.architecture.name(),
        "num_layers": config.num_layers,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_qo_heads": config.num_qo_heads,
        "num_kv_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "vocab_size": config.vocab_size,
        "rms_norm_eps": config.rms_norm_eps,
        "max_position_embeddings": config.max_position_embeddings,
        "tie_word_embeddings": config.tie_word_embeddings,
        "qkv_bias": config.qkv_bias,
        "o_bias": config.o_bias,
        "mlp_bias": config.mlp_bias,
        "qk_norm": config.qk_norm,
        "sliding_windows": config.sliding_windows,
        "rope": {
            "theta": config.rope.theta,
            "rotary_dim": config.rope.rotary_dim,
            "scaling": scaling_json(&config.rope.scaling),
        },
        "num_parameters": model.num_parameters(),
        "weight_bytes": model.weight_bytes(),
        "weight_bytes_by_format": bytes_by_format(model),
        "kv_bytes_per_token": {
            "float32": kv_bytes_per_token(config, DType::F32),
            "bfloat16": kv_bytes_per_token(config, DType::BF16),
            "float16": kv_bytes_per_token(config, DType::F16),
        },
    });
    if with_tensors {
        let tensors = model.tensors().iter().map(|tensor| {
            json!({
                "name": tensor.name,
                "format": tensor.format.name(),
                "shape": tensor.shape,
                "num_bytes": tensor.num_bytes,
            })
        });
        value["tensors"] = tensors.collect();
    }
    value
}

fn scaling_json(scaling: &RopeScaling) -> Value {
    match scaling {
        RopeScaling::None => Value::Null,
        RopeScaling::Linear { factor } => json!({"type": "linear", "factor": factor}),
        RopeScaling::Dynamic { factor } => json!({"type": "dynamic", "factor": factor}),
        RopeScaling::Yarn {
            factor,
            original_max_position_embeddings,
            beta_fast,
            beta_slow,
            attention_factor,
            truncate,
        } => json!({
            "type": "yarn",
            "factor": factor,
            "original_max_position_embeddings": original_max_position_embeddings,
            "beta_fast": beta_fast,
            "beta_slow": beta_slow,
            "attention_factor": attention_factor,
            "truncate": truncate,
        }),
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        } => json!({
            "type": "llama3",
            "factor": factor,
            "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor,
            "original_max_position_embeddings": original_max_position_embeddings,
        }),
        RopeScaling::Factors(factors) => json!({"type": "factors", "factors": factors}),
    }
}

fn as_table(model: &Model, with_tensors: bool) -> String {
    let config = model.config();
    let mut rows = vec![
        ("model", model.path().display().to_string()),
        ("architecture", config.architecture.name().to_owned()),
        ("layers", config.num_layers.to_string()),
        ("hidden size", config.hidden_size.to_string()),
        ("feed-forward size", config.intermediate_size.to_string()),
        (
            "heads",
            format!(
                "{} query, {} key/value, {} elements each",
                config.num_qo_heads, config.num_kv_heads, config.head_dim
            ),
        ),
        ("vocabulary", config.vocab_size.to_string()),
        ("context", format!("{} tokens", config.max_position_embeddings)),
        ("sliding window", window_text(&config.sliding_windows)),
        ("rope", rope_text(config)),
        ("output projection", tied_text(config)),
        ("extras", extras_text(config)),
        ("parameters", model.num_parameters().to_string()),
        ("weights", weights_text(model)),
    ];
    let kv_bytes = |dtype| kv_bytes_per_token(config, dtype);
    rows.push((
        "KV cache",
        format!(
            "{} bytes per token in 16 bits, {} in float32",
            kv_bytes(DType::BF16),
            kv_bytes(DType::F32)
        ),
    ));
    let mut text = String::new();
    // Writing to a string cannot fail.
    for (name, value) in rows {
        let _ = writeln!(text, "{name:<18} {value}");
    }
    if with_tensors {
        text.push('\n');
        for tensor in model.tensors() {
            let name = tensor.format.name();
            let shape = format!("{:?}", tensor.shape);
            let _ =
                writeln!(text, "{name:<5} {shape:<16} {:>12}  {}", tensor.num_bytes, tensor.name);
        }
    }
    text
}

fn window_text(windows: &[Option<u32>]) -> String {
    let windowed: Vec<u32> = windows.iter().flatten().copied().collect();
    match windowed.first() {
        None => "none".to_owned(),
        Some(window) => {
            format!("{window} tokens in {} of {} layers", windowed.len(), windows.len())
        }
    }
}

fn rope_text(config: &ModelConfig) -> String {
    let scaling = match &config.rope.scaling {
        RopeScaling::None => "no scaling".to_owned(),
        RopeScaling::Linear { factor } => format!("linear × {factor}"),
        RopeScaling::Dynamic { factor } => format!("dynamic × {factor}"),
        RopeScaling::Yarn { factor, .. } => format!("yarn × {factor}"),
        RopeScaling::Llama3 { factor, .. } => format!("llama3 × {factor}"),
        RopeScaling::Factors(_) => "a factor for each frequency".to_owned(),
    };
    let rope = &config.rope;
    format!("base {}, {} elements of a head, {scaling}", rope.theta, rope.rotary_dim)
}

fn tied_text(config: &ModelConfig) -> String {
    let text = if config.tie_word_embeddings { "the embedding" } else { "its own" };
    text.to_owned()
}

fn extras_text(config: &ModelConfig) -> String {
    let extras = [
        (config.qkv_bias, "bias on q, k, v"),
        (config.o_bias, "bias on the attention output"),
        (config.mlp_bias, "bias in the feed-forward block"),
        (config.qk_norm, "q and k normalised"),
    ];
    let present: Vec<&str> = extras.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    if present.is_empty() { "none".to_owned() } else { present.join(", ") }
}

fn weights_text(model: &Model) -> String {
    let by_format = bytes_by_format(model);
    let parts: Vec<String> = by_format
        .iter()
        .map(|(format, bytes)| format!("{format} {}", HumanBytes(*bytes)))
        .collect();
    format!("{} bytes ({})", model.weight_bytes(), parts.join(", "))
}
