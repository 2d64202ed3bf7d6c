//! `config.json` in both dialects, with transformers 5's defaults; what cannot be computed is
//! refused by name.

mod weights_support;

use engine::weights::ConfigError;
use engine::weights::hf::{HfConfig, ShardIndex, generation_config_from_bytes};
use engine_core::config::Architecture;
use serde_json::json;
use weights_support::hf::{config_with, error, model};

#[test]
fn an_absent_key_has_the_familys_default() {
    let nothing_but = |model_type: &str| {
        HfConfig::from_bytes(json!({ "model_type": model_type }).to_string().as_bytes()).unwrap()
    };
    let llama = nothing_but("llama");
    let m = &llama.model;
    assert_eq!((m.vocab_size, m.hidden_size, m.intermediate_size), (32_000, 4096, 11_008));
    assert_eq!((m.num_layers, m.num_qo_heads, m.num_kv_heads, m.head_dim), (32, 32, 32, 128));
    assert_eq!((m.max_position_embeddings, m.rms_norm_eps, m.rope.theta), (2048, 1e-6, 10_000.0));
    assert!(!m.tie_word_embeddings && !m.qkv_bias && !m.mlp_bias);
    assert_eq!((llama.bos_token_id, &llama.eos_token_ids[..]), (Some(1), &[2][..]));

    let m = nothing_but("mistral").model;
    assert_eq!(
        (m.intermediate_size, m.num_kv_heads, m.max_position_embeddings),
        (14_336, 8, 131_072)
    );
    assert_eq!(m.sliding_windows, vec![Some(4096); 32]);

    let qwen2 = nothing_but("qwen2");
    let m = &qwen2.model;
    assert_eq!((m.vocab_size, m.intermediate_size, m.num_kv_heads), (151_936, 22_016, 32));
    assert_eq!((m.head_dim, m.max_position_embeddings, m.rope.theta), (128, 32_768, 10_000.0));
    assert!(m.qkv_bias && !m.o_bias && !m.tie_word_embeddings);
    assert_eq!(m.sliding_windows, vec![None; 32]);
    assert_eq!((qwen2.bos_token_id, qwen2.eos_token_ids.len()), (None, 0));

    let m = model("qwen3", json!({}));
    assert_eq!(m.head_dim, 128, "not hidden_size over num_attention_heads");
    assert!(m.qk_norm && !m.qkv_bias);
}

#[test]
fn null_and_absent_differ_as_in_transformers() {
    assert_eq!(model("llama", json!({ "head_dim": null })).head_dim, 16);
    assert_eq!(model("qwen3", json!({ "head_dim": null })).head_dim, 16);
    assert_eq!(model("llama", json!({ "num_key_value_heads": "__absent__" })).num_kv_heads, 6);
    assert_eq!(model("mistral", json!({ "num_key_value_heads": null })).num_kv_heads, 6);
    let eight = json!({ "num_key_value_heads": "__absent__", "num_attention_heads": 8 });
    assert_eq!(model("mistral", eight).num_kv_heads, 8);
    assert_eq!(model("mistral", json!({ "sliding_window": null })).sliding_windows, [None; 3]);
    assert!(
        config_with("llama", json!({ "eos_token_id": null })).unwrap().eos_token_ids.is_empty()
    );
    assert!(error("llama", json!({ "hidden_size": null })).contains("hidden_size"));
}

#[test]
fn biases_belong_to_families() {
    let all = json!({ "attention_bias": true, "mlp_bias": true });
    let flags = |model_type| {
        let m = model(model_type, all.clone());
        (m.qkv_bias, m.o_bias, m.mlp_bias)
    };
    assert_eq!(flags("llama"), (true, true, true));
    assert_eq!(flags("qwen3"), (true, true, false));
    assert_eq!(flags("qwen2"), (true, false, false));
    assert_eq!(flags("mistral"), (false, false, false));
}

#[test]
fn architectures_stand_in_for_model_type_and_must_agree_with_it() {
    let llama = json!({ "model_type": "__absent__", "architectures": ["LlamaForCausalLM"] });
    assert_eq!(model("llama", llama).architecture, Architecture::Llama);
    let qwen3 = json!({ "architectures": ["Qwen3ForCausalLM"] });
    assert_eq!(model("qwen3", qwen3.clone()).architecture, Architecture::Qwen3);
    assert!(error("qwen2", qwen3).contains("qwen2/Qwen3ForCausalLM"));
    let classifier = json!({ "architectures": ["LlamaForSequenceClassification"] });
    assert!(error("llama", classifier).contains("LlamaForSequenceClassification"));
    for unknown in ["gemma2", "mixtral", "qwen2_moe", ""] {
        let error = error(unknown, json!({}));
        assert!(
            error.contains(&format!("`{unknown}`"))
                && error.contains("llama, mistral, qwen2, qwen3"),
            "{error}"
        );
    }
    assert!(error("llama", json!({ "model_type": "__absent__" })).contains("neither"));
}

#[test]
fn sliding_windows_of_qwen() {
    for family in ["qwen2", "qwen3"] {
        let windows = |changes| model(family, changes).sliding_windows;
        assert_eq!(windows(json!({ "sliding_window": 24 })), [None; 3], "not used");
        let used =
            json!({ "sliding_window": 24, "use_sliding_window": true, "max_window_layers": 1 });
        assert_eq!(windows(used), [None, Some(24), Some(24)]);
        let by_default = json!({ "use_sliding_window": true, "num_hidden_layers": 30 });
        let found = windows(by_default);
        assert_eq!(found.iter().position(Option::is_some), Some(28));
        assert_eq!(found[29], Some(4096));
        let types = ["sliding_attention", "full_attention", "sliding_attention"];
        let typed = json!({ "sliding_window": 24, "use_sliding_window": true, "max_window_layers": 3, "layer_types": types });
        assert_eq!(windows(typed), [Some(24), None, Some(24)], "layer_types wins");

        let unused = error(family, json!({ "layer_types": types }));
        assert!(unused.contains("layer_types"), "{unused}");
        let strange = error(
            family,
            json!({ "layer_types": ["full_attention", "linear_attention", "full_attention"] }),
        );
        assert!(strange.contains("linear_attention"), "{strange}");
        let short = error(family, json!({ "layer_types": ["full_attention"] }));
        assert!(short.contains("num_hidden_layers"), "{short}");
    }
}

#[test]
fn layer_types_where_the_family_has_none_must_say_the_same() {
    let full = json!(["full_attention", "full_attention", "full_attention"]);
    let sliding = json!(["sliding_attention", "sliding_attention", "sliding_attention"]);
    model("llama", json!({ "layer_types": full }));
    model("mistral", json!({ "layer_types": sliding, "sliding_window": 24 }));
    assert!(error("llama", json!({ "layer_types": sliding })).contains("layer_types"));
    assert!(error("mistral", json!({ "layer_types": full })).contains("layer_types"));
}

#[test]
fn what_cannot_be_computed_is_refused_by_name() {
    for (changes, named) in [
        (json!({ "rope_scaling": { "rope_type": "su" } }), "su"),
        (json!({ "rope_scaling": { "rope_type": "mrope" } }), "mrope"),
        (json!({ "rope_scaling": { "rope_type": "linear" } }), "factor"),
        (json!({ "rope_scaling": { "rope_type": "linear", "factor": 0 } }), "factor"),
        (json!({ "rope_scaling": { "rope_type": "linear", "factor": "4" } }), "factor"),
        (json!({ "rope_scaling": { "rope_type": "llama3", "factor": 8 } }), "low_freq_factor"),
        (
            json!({ "rope_scaling": { "rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4 } }),
            "high_freq_factor",
        ),
        (
            json!({ "rope_scaling": { "rope_type": "yarn", "original_max_position_embeddings": 0 } }),
            "factor",
        ),
        (
            json!({ "rope_parameters": { "full_attention": { "rope_type": "default" } } }),
            "full_attention",
        ),
        (json!({ "rope_theta": 1.0 }), "rope_theta"),
        (json!({ "rope_theta": -1e4 }), "rope_theta"),
        (json!({ "partial_rotary_factor": 0.0 }), "partial_rotary_factor"),
        (json!({ "partial_rotary_factor": 1.5 }), "partial_rotary_factor"),
        (json!({ "partial_rotary_factor": 0.1 }), "rotary dimension"),
        (json!({ "hidden_act": "gelu" }), "gelu"),
        (json!({ "quantization_config": { "quant_method": "gptq" } }), "gptq"),
        (json!({ "num_key_value_heads": 4 }), "num_key_value_heads"),
        (json!({ "num_key_value_heads": 0 }), "num_key_value_heads"),
        (json!({ "num_attention_heads": 0 }), "num_attention_heads"),
        (json!({ "num_attention_heads": 5 }), "hidden_size"),
        (json!({ "num_attention_heads": "6" }), "num_attention_heads"),
        (json!({ "head_dim": 15 }), "head_dim"),
        (json!({ "head_dim": 0 }), "head_dim"),
        (json!({ "num_hidden_layers": 0 }), "num_hidden_layers"),
        (json!({ "num_hidden_layers": 1e9 as u64 }), "num_hidden_layers"),
        (json!({ "hidden_size": u64::MAX, "head_dim": 16 }), "hidden_size"),
        (json!({ "hidden_size": -1 }), "hidden_size"),
        (json!({ "vocab_size": 0 }), "vocab_size"),
        (json!({ "vocab_size": 1u64 << 40 }), "vocab_size"),
        (json!({ "max_position_embeddings": 0 }), "max_position_embeddings"),
        (json!({ "rms_norm_eps": -1.0 }), "rms_norm_eps"),
        (json!({ "tie_word_embeddings": 1 }), "tie_word_embeddings"),
        (json!({ "eos_token_id": -1 }), "eos_token_id"),
    ] {
        let found = error("llama", changes.clone());
        assert!(found.contains(named), "{changes}: {found}");
    }
    assert!(error("mistral", json!({ "sliding_window": 0 })).contains("sliding_window"));
}

#[test]
fn what_is_not_an_object_is_an_error() {
    for bytes in [&b""[..], b"[]", b"{", b"\xff", b"null", &b"[".repeat(1 << 16)] {
        let error = HfConfig::from_bytes(bytes).unwrap_err();
        assert!(matches!(error, ConfigError::Json { .. }), "{error}");
    }
}

#[test]
fn generation_config_falls_back_to_config() {
    let config =
        config_with("llama", json!({ "eos_token_id": [5, 6], "bos_token_id": 4 })).unwrap();
    let read = |text: &str| generation_config_from_bytes(text.as_bytes(), &config);
    let full = read(r#"{"eos_token_id": [2, 3], "bos_token_id": 1, "temperature": 0.25, "top_p": 0.5, "top_k": 40, "do_sample": true}"#).unwrap();
    assert_eq!((&full.eos_token_ids[..], full.bos_token_id), (&[2, 3][..], Some(1)));
    assert_eq!((full.temperature, full.top_p, full.top_k), (Some(0.25), Some(0.5), Some(40)));
    assert_eq!(full.do_sample, Some(true));
    assert_eq!(read(r#"{"eos_token_id": 7}"#).unwrap().eos_token_ids, [7]);
    let empty = read("{}").unwrap();
    assert_eq!((&empty.eos_token_ids[..], empty.bos_token_id), (&[5, 6][..], Some(4)));
    assert_eq!((empty.temperature, empty.do_sample), (None, None));
    for (text, named) in [
        (r#"{"temperature": -1}"#, "temperature"),
        (r#"{"top_p": 1.5}"#, "top_p"),
        (r#"{"eos_token_id": "</s>"}"#, "eos_token_id"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn shards_stay_in_the_directory() {
    let read = |file: &str| {
        let index = json!({ "weight_map": { "model.norm.weight": file } });
        ShardIndex::from_bytes(index.to_string().as_bytes())
    };
    assert_eq!(read("model-00001-of-00002.safetensors").unwrap().files().len(), 1);
    for file in [
        "../model.safetensors",
        "/etc/model.safetensors",
        "sub/model.safetensors",
        "..\\model.safetensors",
        "C:model.safetensors",
        "..",
        "",
        "model.bin",
        "a\0.safetensors",
    ] {
        let error = read(file).unwrap_err().to_string();
        assert!(error.contains("weight_map.model.norm.weight"), "{file}: {error}");
    }
    assert!(ShardIndex::from_bytes(b"{}").is_err());
}
