//! Every committed Hugging Face checkpoint opens, with the configuration that its file spells out.

mod weights_support;

use engine::weights::{self, GenerationConfig};
use engine_core::config::{Architecture, ModelConfig, RopeConfig, RopeScaling};
use weights_support::repository;

fn base() -> ModelConfig {
    ModelConfig {
        architecture: Architecture::Llama,
        num_layers: 3,
        hidden_size: 96,
        intermediate_size: 160,
        num_qo_heads: 6,
        num_kv_heads: 2,
        head_dim: 16,
        vocab_size: 256,
        rms_norm_eps: 1e-5,
        rope: RopeConfig { theta: 10_000.0, rotary_dim: 16, scaling: RopeScaling::None },
        sliding_windows: vec![None; 3],
        max_position_embeddings: 128,
        tie_word_embeddings: false,
        qkv_bias: false,
        o_bias: false,
        mlp_bias: false,
        qk_norm: false,
    }
}

fn with_rope(theta: f64, rotary_dim: usize, scaling: RopeScaling) -> RopeConfig {
    RopeConfig { theta, rotary_dim, scaling }
}

fn expected() -> Vec<(&'static str, ModelConfig)> {
    let yarn = RopeScaling::Yarn {
        factor: 4.0,
        original_max_position_embeddings: 32,
        beta_fast: 32.0,
        beta_slow: 1.0,
        attention_factor: 0.1 * 4f64.ln() + 1.0,
        truncate: true,
    };
    let llama3 = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 32,
    };
    let scaled = |scaling| with_rope(10_000.0, 16, scaling);
    vec![
        ("llama", base()),
        (
            "llama_dynamic",
            ModelConfig {
                max_position_embeddings: 64,
                rope: scaled(RopeScaling::Dynamic { factor: 2.0 }),
                ..base()
            },
        ),
        (
            "llama_head_dim",
            ModelConfig {
                head_dim: 32,
                rope: with_rope(10_000.0, 32, RopeScaling::None),
                qkv_bias: true,
                o_bias: true,
                mlp_bias: true,
                ..base()
            },
        ),
        (
            "llama_linear",
            ModelConfig { rope: scaled(RopeScaling::Linear { factor: 4.0 }), ..base() },
        ),
        ("llama_llama3", ModelConfig { rope: with_rope(500_000.0, 16, llama3), ..base() }),
        (
            "llama_tied_mha",
            ModelConfig {
                num_kv_heads: 6,
                rope: with_rope(1e6, 16, RopeScaling::None),
                tie_word_embeddings: true,
                ..base()
            },
        ),
        ("llama_yarn", ModelConfig { rope: scaled(yarn), ..base() }),
        (
            "mistral_sliding",
            ModelConfig {
                architecture: Architecture::Mistral,
                sliding_windows: vec![Some(24); 3],
                ..base()
            },
        ),
        (
            "qwen2",
            ModelConfig {
                architecture: Architecture::Qwen2,
                rope: with_rope(1e6, 16, RopeScaling::None),
                tie_word_embeddings: true,
                qkv_bias: true,
                ..base()
            },
        ),
        (
            "qwen3",
            ModelConfig {
                architecture: Architecture::Qwen3,
                head_dim: 32,
                rope: with_rope(1e6, 32, RopeScaling::None),
                qk_norm: true,
                ..base()
            },
        ),
    ]
}

#[test]
fn every_family_opens_with_its_configuration() {
    let families = repository("tests/golden/families");
    let expected = expected();
    let mut found: Vec<String> = std::fs::read_dir(&families)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    let names: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
    assert_eq!(found, names, "a family without an expectation");

    for (name, config) in expected {
        let model =
            weights::open(&families.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(model.config(), &config, "{name}");
        assert_eq!(
            model.generation_config(),
            &GenerationConfig {
                eos_token_ids: vec![2],
                bos_token_id: Some(1),
                ..GenerationConfig::default()
            },
            "{name}"
        );
        assert!(model.gguf_metadata().is_none());
        assert_eq!(model.directory(), Some(&*families.join(name)));
        assert_eq!(model.weight_bytes(), 4 * model.num_parameters(), "{name}");
    }
}

/// Weights against the file's own bytes, read without the code under test.
#[test]
fn rows_are_the_bytes_of_the_file() {
    let dir = repository("tests/golden/families/qwen3");
    let file = std::fs::read(dir.join("model.safetensors")).unwrap();
    let header_len = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&file[8..8 + header_len]).unwrap();
    let model = weights::open(&dir).unwrap();
    for tensor in model.tensors() {
        let entry = &header[&tensor.name];
        let place = |i: usize| 8 + header_len + entry["data_offsets"][i].as_u64().unwrap() as usize;
        let stored: Vec<f32> = file[place(0)..place(1)]
            .chunks(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect();
        let found = weights_support::read_all(model.checkpoint(), &tensor.name, &tensor.shape);
        assert_eq!(found, stored, "{}", tensor.name);
    }
}
