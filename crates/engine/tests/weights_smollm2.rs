//! The real model: SmolLM2-135M-Instruct in Q4_1, from `KVASIR_TEST_MODEL` or the cache that
//! `kvasir` itself fills.

mod weights_support;

use std::path::PathBuf;

use engine::weights::{self, GenerationConfig, TensorFormat};
use engine_core::config::{Architecture, ModelConfig, RopeConfig, RopeScaling};

fn model_path() -> PathBuf {
    if let Some(path) = std::env::var_os("KVASIR_TEST_MODEL") {
        return path.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"),
        PathBuf::from,
    );
    let path = cache.join("kvasir/models/SmolLM2-135M-Instruct.Q4_1.gguf");
    assert!(
        path.exists(),
        "{} is missing: run `cargo run --release -- pull smollm2-135m`, or set KVASIR_TEST_MODEL to the file",
        path.display()
    );
    path
}

#[test]
fn smollm2_opens_with_its_configuration_and_all_tensors() {
    let model = weights::open(&model_path()).unwrap();
    let expected = ModelConfig {
        architecture: Architecture::Llama,
        num_layers: 30,
        hidden_size: 576,
        intermediate_size: 1536,
        num_qo_heads: 9,
        num_kv_heads: 3,
        head_dim: 64,
        vocab_size: 49_152,
        rms_norm_eps: 1e-5,
        rope: RopeConfig { theta: 100_000.0, rotary_dim: 64, scaling: RopeScaling::None },
        sliding_windows: vec![None; 30],
        max_position_embeddings: 8192,
        tie_word_embeddings: true,
        qkv_bias: false,
        o_bias: false,
        mlp_bias: false,
        qk_norm: false,
    };
    assert_eq!(model.config(), &expected);
    assert_eq!(
        model.generation_config(),
        &GenerationConfig {
            eos_token_ids: vec![2],
            bos_token_id: Some(1),
            ..GenerationConfig::default()
        }
    );
    assert_eq!(model.tensors().len(), 272);
    assert_eq!(model.num_parameters(), 134_515_008);
    let metadata = model.gguf_metadata().unwrap();
    assert_eq!(metadata.str_array("tokenizer.ggml.tokens").unwrap().len(), 49_152);

    let formats: Vec<TensorFormat> = model.tensors().iter().map(|tensor| tensor.format).collect();
    let count = |format| formats.iter().filter(|&&other| other == format).count();
    assert_eq!(count(TensorFormat::F32), 61);
    assert_eq!(count(TensorFormat::Q8_0), 1);
    assert_eq!(count(TensorFormat::Q4_1), 210);
}

/// Trained weights are finite, small and not all equal; a wrong block layout shows here.
#[test]
fn smollm2_weights_look_like_weights() {
    let model = weights::open(&model_path()).unwrap();
    for tensor in model.tensors() {
        let rows = model.checkpoint().tensor(&tensor.name, &tensor.shape).unwrap();
        let mut row = vec![f32::NAN; rows.num_cols()];
        let (mut sum, mut sum_of_squares) = (0.0, 0.0);
        for row_idx in 0..rows.num_rows() {
            rows.read_row(row_idx, &mut row);
            for &x in &row {
                assert!(x.abs() < 100.0, "{} has {x}", tensor.name);
                sum += f64::from(x);
                sum_of_squares += f64::from(x) * f64::from(x);
            }
        }
        let num_elements = tensor.shape.iter().product::<usize>() as f64;
        let deviation = (sum_of_squares / num_elements - (sum / num_elements).powi(2)).sqrt();
        assert!((1e-3..10.0).contains(&deviation), "{}: {deviation}", tensor.name);
    }
}
