//! `config.json` and `generation_config.json`, written so that transformers 4 and 5 both read them.

use engine_core::config::{Architecture, ModelConfig, RopeConfig, RopeScaling};
use engine_core::dtype::DType;
use serde_json::{Map, Value, json};

use crate::weights::generation::GenerationConfig;

/// The configuration as `config.json`, for weights stored as `dtype`. `Err` says what the family's
/// config class has no key for.
pub(in crate::weights) fn config_json(
    config: &ModelConfig,
    dtype: DType,
    generation: &GenerationConfig,
) -> Result<Value, String> {
    check_biases(config)?;
    let mut map = Map::new();
    let mut set = |key: &str, value: Value| map.insert(key.to_owned(), value);
    set("architectures", json!([class_name(config.architecture)]));
    set("model_type", json!(config.architecture.name()));
    set("vocab_size", json!(config.vocab_size));
    set("hidden_size", json!(config.hidden_size));
    set("intermediate_size", json!(config.intermediate_size));
    set("num_hidden_layers", json!(config.num_layers));
    set("num_attention_heads", json!(config.num_qo_heads));
    set("num_key_value_heads", json!(config.num_kv_heads));
    set("head_dim", json!(config.head_dim));
    set("hidden_act", json!("silu"));
    set("max_position_embeddings", json!(config.max_position_embeddings));
    set("rms_norm_eps", json!(shortest(config.rms_norm_eps)));
    set("tie_word_embeddings", json!(config.tie_word_embeddings));
    // Under both names, as the older one is deprecated in transformers 5.
    set("dtype", json!(dtype.name()));
    set("torch_dtype", json!(dtype.name()));
    set("bos_token_id", json!(generation.bos_token_id));
    set("eos_token_id", token_ids(&generation.eos_token_ids));
    set("use_cache", json!(true));
    write_biases(config, &mut map);
    write_rope(&config.rope, config.head_dim, &mut map);
    write_windows(config, &mut map)?;
    Ok(Value::Object(map))
}

/// `generation_config.json`.
pub(in crate::weights) fn generation_json(generation: &GenerationConfig) -> Value {
    let mut map = Map::new();
    map.insert("bos_token_id".to_owned(), json!(generation.bos_token_id));
    map.insert("eos_token_id".to_owned(), token_ids(&generation.eos_token_ids));
    for (key, value) in [
        ("temperature", generation.temperature.map(|x| json!(shortest(x)))),
        ("top_p", generation.top_p.map(|x| json!(shortest(x)))),
        ("top_k", generation.top_k.map(|x| json!(x))),
        ("do_sample", generation.do_sample.map(|x| json!(x))),
    ] {
        map.extend(value.map(|value| (key.to_owned(), value)));
    }
    Value::Object(map)
}

const fn class_name(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::Llama => "LlamaForCausalLM",
        Architecture::Mistral => "MistralForCausalLM",
        Architecture::Qwen2 => "Qwen2ForCausalLM",
        Architecture::Qwen3 => "Qwen3ForCausalLM",
    }
}

/// The families differ in which biases and norms their config classes can ask for.
fn check_biases(config: &ModelConfig) -> Result<(), String> {
    let expressible = match config.architecture {
        Architecture::Llama => config.qkv_bias == config.o_bias,
        Architecture::Qwen3 => config.qkv_bias == config.o_bias && !config.mlp_bias,
        Architecture::Mistral => !config.qkv_bias && !config.o_bias && !config.mlp_bias,
        Architecture::Qwen2 => config.qkv_bias && !config.o_bias && !config.mlp_bias,
    };
    if expressible {
        Ok(())
    } else {
        Err(format!(
            "biases on (q, k and v: {}; attention output: {}; MLP: {})",
            config.qkv_bias, config.o_bias, config.mlp_bias
        ))
    }
}

/// The switches that the family's config class has; Mistral and Qwen2 have none.
fn write_biases(config: &ModelConfig, map: &mut Map<String, Value>) {
    let architecture = config.architecture;
    if matches!(architecture, Architecture::Llama | Architecture::Qwen3) {
        map.insert("attention_bias".to_owned(), json!(config.qkv_bias));
    }
    if architecture == Architecture::Llama {
        map.insert("mlp_bias".to_owned(), json!(config.mlp_bias));
    }
}

/// Both dialects: `rope_parameters`, and `rope_theta` with `rope_scaling`. Readers that know both
/// merge them to the same values.
fn write_rope(rope: &RopeConfig, head_dim: usize, map: &mut Map<String, Value>) {
    let scaling = scaling_json(&rope.scaling);
    let mut parameters = match &scaling {
        Some(Value::Object(scaling)) => scaling.clone(),
        _ => Map::from_iter([("rope_type".to_owned(), json!("default"))]),
    };
    parameters.insert("rope_theta".to_owned(), json!(rope.theta));
    if rope.rotary_dim != head_dim {
        let factor = partial_rotary_factor(rope.rotary_dim, head_dim);
        parameters.insert("partial_rotary_factor".to_owned(), json!(factor));
        map.insert("partial_rotary_factor".to_owned(), json!(factor));
    }
    map.insert("rope_parameters".to_owned(), Value::Object(parameters));
    map.insert("rope_theta".to_owned(), json!(rope.theta));
    map.insert("rope_scaling".to_owned(), scaling.unwrap_or(Value::Null));
}

fn scaling_json(scaling: &RopeScaling) -> Option<Value> {
    Some(match scaling {
        RopeScaling::None => return None,
        RopeScaling::Linear { factor } => json!({ "rope_type": "linear", "factor": factor }),
        RopeScaling::Dynamic { factor } => json!({ "rope_type": "dynamic", "factor": factor }),
        RopeScaling::Yarn {
            factor,
            original_max_position_embeddings,
            beta_fast,
            beta_slow,
            attention_factor,
            truncate,
        } => json!({
            "rope_type": "yarn",
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
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor,
            "original_max_position_embeddings": original_max_position_embeddings,
        }),
        // LongRoPE with one set of divisors for short and long sequences is these divisors.
        RopeScaling::Factors(factors) => json!({
            "rope_type": "longrope",
            "short_factor": factors,
            "long_factor": factors,
            "factor": 1.0,
            "attention_factor": 1.0,
        }),
    })
}

/// The fraction whose product with `head_dim`, cut to an integer, is `rotary_dim`.
fn partial_rotary_factor(rotary_dim: usize, head_dim: usize) -> f64 {
    let factor = rotary_dim as f64 / head_dim as f64;
    if (factor * head_dim as f64) as usize == rotary_dim { factor } else { factor.next_up() }
}

fn write_windows(config: &ModelConfig, map: &mut Map<String, Value>) -> Result<(), String> {
    let windows = &config.sliding_windows;
    let window = windows.iter().copied().flatten().next();
    if windows.iter().flatten().any(|&other| Some(other) != window) {
        return Err("sliding windows of different sizes".to_owned());
    }
    match config.architecture {
        Architecture::Llama if window.is_none() => {}
        Architecture::Mistral if windows.iter().all(|&each| each == window) => {
            map.insert("sliding_window".to_owned(), json!(window));
        }
        Architecture::Qwen2 | Architecture::Qwen3 => {
            let first = windows.iter().position(Option::is_some);
            let layer_types: Vec<&str> = windows
                .iter()
                .map(|window| match window {
                    Some(_) => "sliding_attention",
                    None => "full_attention",
                })
                .collect();
            map.insert("use_sliding_window".to_owned(), json!(window.is_some()));
            map.insert("sliding_window".to_owned(), json!(window));
            map.insert("max_window_layers".to_owned(), json!(first.unwrap_or(windows.len())));
            map.insert("layer_types".to_owned(), json!(layer_types));
        }
        Architecture::Llama | Architecture::Mistral => {
            return Err("sliding windows in some of the layers".to_owned());
        }
    }
    Ok(())
}

/// One id as a number, several as a list: how transformers writes them.
fn token_ids(ids: &[u32]) -> Value {
    match ids {
        [] => Value::Null,
        [id] => json!(id),
        ids => json!(ids),
    }
}

/// The f64 that prints as the f32 does: 1e-5, not 9.999999747378752e-6.
fn shortest(x: f32) -> f64 {
    x.to_string().parse().unwrap_or_else(|_| x.into())
}
