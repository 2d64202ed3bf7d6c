//! The committed seeds of the fuzz targets are what this file writes: small valid files, so that a
//! fuzzer starts behind the first checks; records excepted, for they say how long steps took. With `KVASIR_UPDATE_SEEDS=1` the test writes them anew.

#[path = "../../../fuzz/src/invariants.rs"]
mod invariants;
mod weights_support;

use serde_json::json;
use weights_support::*;

/// One tensor of each quantized type, to the file's end.
fn all_types() -> Vec<u8> {
    let mut file = GgufFile::default();
    file.set("general.architecture", str_value("llama"))
        .set("a.texts", str_array_value(&["x", "yz"]))
        .set("a.floats", f32_array_value(&[0.5]))
        .set("a.ints", i32_array_value(&[-1, 2]))
        .set("a.truth", bool_value(true));
    for (type_id, cols, bytes) in [
        (1, 3, 6),
        (30, 2, 4),
        (2, 32, 18),
        (3, 32, 20),
        (8, 32, 34),
        (12, 256, 144),
        (14, 256, 210),
    ] {
        file.tensors.push(GgufTensor {
            name: format!("t{type_id}"),
            dims: vec![cols, 2],
            type_id,
            data: (0..2 * bytes).map(|i| (i * 37 % 256) as u8).collect(),
            offset: None,
        });
    }
    file.to_bytes()
}

fn gguf_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut scaled = small_model("llama").one_layer("llama").tied();
    scaled
        .file
        .set("llama.rope.scaling.type", str_value("yarn"))
        .set("llama.rope.scaling.factor", f32_value(4.0))
        .set("llama.rope.scaling.original_context_length", u32_value(32));
    vec![
        ("llama.gguf", small_model("llama").one_layer("llama").file.to_bytes()),
        ("llama_yarn_tied.gguf", scaled.file.to_bytes()),
        ("qwen2.gguf", small_model("qwen2").one_layer("qwen2").file.to_bytes()),
        ("qwen3.gguf", small_model("qwen3").one_layer("qwen3").file.to_bytes()),
        ("types.gguf", all_types()),
    ]
}

fn config_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let config = |more: serde_json::Value| {
        let mut config = json!({
            "vocab_size": VOCAB,
            "hidden_size": HIDDEN,
            "intermediate_size": INTERMEDIATE,
            "num_hidden_layers": 1,
            "num_attention_heads": NUM_QO_HEADS,
            "num_key_value_heads": NUM_KV_HEADS,
            "max_position_embeddings": 128,
        });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        config.to_string().into_bytes()
    };
    let qwen3 = json!({
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "head_dim": 8, "attention_bias": false,
        "layer_types": ["sliding_attention"], "use_sliding_window": true, "sliding_window": 4, "eos_token_id": [1, 2],
    });
    let yarn = json!({
        "model_type": "mistral", "sliding_window": null,
        "rope_parameters": { "rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "mscale": 1.0, "mscale_all_dim": 0.5, "truncate": false },
    });
    let llama3 = json!({
        "model_type": "llama", "rope_theta": 5e5, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "do_sample": true,
        "rope_scaling": { "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32 },
    });
    let index = json!({ "metadata": { "total_size": 4 }, "weight_map": { "model.norm.weight": "model-00001-of-00001.safetensors" } });
    vec![
        ("llama.json", config(json!({ "model_type": "llama" }))),
        ("llama3.json", config(llama3)),
        ("mistral_yarn.json", config(yarn)),
        ("qwen3.json", config(qwen3)),
        ("index.json", index.to_string().into_bytes()),
    ]
}

#[test]
fn committed_seeds_are_current() {
    let safetensors = safetensors_bytes(&small_model("llama").one_layer("llama").expected);
    for (target, seeds) in [
        ("gguf", gguf_seeds()),
        ("config", config_seeds()),
        ("canary", vec![("empty.gguf", GgufFile::default().to_bytes())]),
        ("safetensors", vec![("llama.safetensors", safetensors)]),
    ] {
        let dir = repository("fuzz/seeds").join(target);
        if std::env::var_os("KVASIR_UPDATE_SEEDS").is_some() {
            std::fs::create_dir_all(&dir).unwrap();
            for (name, bytes) in &seeds {
                std::fs::write(dir.join(name), bytes).unwrap();
            }
        }
        for (name, bytes) in seeds {
            let committed = std::fs::read(dir.join(name)).unwrap_or_default();
            assert!(
                committed == bytes,
                "{target}/{name} is not current; run with KVASIR_UPDATE_SEEDS=1"
            );
        }
    }
}

/// A target whose seeds are all refused would never see what lies behind the first check.
#[test]
fn seeds_are_accepted() {
    for (name, bytes) in gguf_seeds() {
        assert!(invariants::gguf(&bytes), "{name}");
    }
    for (name, bytes) in config_seeds() {
        assert_eq!(invariants::config(&bytes), name != "index.json", "{name}");
    }
    let safetensors =
        std::fs::read(repository("fuzz/seeds/safetensors/llama.safetensors")).unwrap();
    assert!(invariants::safetensors(&safetensors));
    assert!(!invariants::safetensors(&safetensors[1..]));
    // Of runs that were recorded, and one that has every kind of line and option.
    for name in ["run.jsonl", "options.jsonl"] {
        let record = std::fs::read(repository("fuzz/seeds/record").join(name)).unwrap();
        assert!(invariants::record(&record), "{name}");
        assert!(!invariants::record(&record[..record.len() - 1]), "{name}");
    }
}
