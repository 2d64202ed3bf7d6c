//! A model converted to a Hugging Face directory is the same model.

mod weights_support;

use std::path::{Path, PathBuf};

use engine::weights::convert::{ConvertError, ConvertProgress, to_hf_dir};
use engine::weights::{self, Model, TensorFormat};
use engine_core::config::{Architecture, ModelConfig};
use engine_core::dtype::DType;
use tempfile::TempDir;
use weights_support::*;

fn open_gguf(dir: &TempDir, file: &GgufFile) -> Model {
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, file.to_bytes()).unwrap();
    weights::open(&path).unwrap()
}

fn convert(model: &Model, dir: &TempDir, dtype: DType) -> PathBuf {
    let out = dir.path().join(dtype.name());
    to_hf_dir(model, &out, dtype, |_| {}).unwrap();
    out
}

fn assert_same_tensors(original: &Model, converted: &Model, dtype: DType) {
    for (a, b) in original.tensors().iter().zip(converted.tensors()) {
        assert_eq!((&a.name, &a.shape), (&b.name, &b.shape));
        let mut expected = read_all(original.checkpoint(), &a.name, &a.shape);
        if a.shape.len() == 2 {
            expected.iter_mut().for_each(|x| *x = dtype.round(*x));
        }
        assert_eq!(read_all(converted.checkpoint(), &b.name, &b.shape), expected, "{}", a.name);
    }
    assert_eq!(original.tensors().len(), converted.tensors().len());
}

fn assert_round_trip(file: &GgufFile) -> ModelConfig {
    let dir = tempfile::tempdir().unwrap();
    let original = open_gguf(&dir, file);
    for dtype in [DType::F32, DType::BF16] {
        let converted = weights::open(&convert(&original, &dir, dtype)).unwrap();
        assert_eq!(converted.config(), original.config());
        assert_eq!(converted.generation_config(), original.generation_config());
        assert_same_tensors(&original, &converted, dtype);
    }
    original.config().clone()
}

#[test]
fn every_architecture_survives() {
    for arch in ["llama", "qwen2", "qwen3"] {
        assert_round_trip(&small_model(arch).file);
        assert_round_trip(&small_model(arch).tied().file);
    }
    assert_round_trip(&small_model_with("llama", false, true, HEAD_DIM).file);
}

#[test]
fn every_property_survives() {
    let with = |arch: &str, pairs: &[(&str, Vec<u8>)]| {
        let mut model = small_model(arch);
        for (key, value) in pairs {
            model.file.set(&format!("{arch}.{key}"), value.clone());
        }
        assert_round_trip(&model.file)
    };
    let factor = ("rope.scaling.factor", f32_value(3.3));
    with("llama", std::slice::from_ref(&factor));
    with(
        "llama",
        &[
            ("rope.scaling.type", str_value("yarn")),
            factor.clone(),
            ("rope.scaling.original_context_length", u32_value(32)),
        ],
    );
    with(
        "qwen2",
        &[
            ("rope.scaling.type", str_value("yarn")),
            factor,
            ("rope.scaling.yarn_attn_factor", f32_value(0.3)),
        ],
    );
    let mistral = with("llama", &[("attention.sliding_window", u32_value(24))]);
    assert_eq!(mistral.architecture, Architecture::Mistral);
    with("qwen3", &[("attention.sliding_window", u32_value(24))]);
    with("llama", &[("attention.layer_norm_rms_epsilon", f32_value(1.234_567_8e-6))]);
    assert_round_trip(&small_model_with("llama", false, false, 6).file);

    let mut model = small_model("llama");
    model.file.add_f32("rope_freqs.weight", &[HEAD_DIM / 2], &[1.0, 1.1, 2.7, 8.0]);
    model.file.set("tokenizer.ggml.eot_token_id", u32_value(9));
    model.file.set("general.sampling.temp", f32_value(0.7));
    assert_round_trip(&model.file);
}

/// The families' own configurations, through the writer and back.
#[test]
fn every_family_survives() {
    for entry in std::fs::read_dir(repository("tests/golden/families")).unwrap() {
        let original = weights::open(&entry.unwrap().path()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let converted = weights::open(&convert(&original, &dir, DType::F32)).unwrap();
        assert_eq!(converted.config(), original.config());
        assert_eq!(converted.generation_config(), original.generation_config());
        assert_same_tensors(&original, &converted, DType::F32);
    }
}

#[test]
fn matrices_take_the_dtype_and_vectors_stay_float32() {
    let dir = tempfile::tempdir().unwrap();
    let original = open_gguf(&dir, &small_model("qwen2").file);
    let converted = weights::open(&convert(&original, &dir, DType::BF16)).unwrap();
    for tensor in converted.tensors() {
        let expected = match tensor.shape.len() {
            1 => TensorFormat::F32,
            _ => TensorFormat::BF16,
        };
        assert_eq!(tensor.format, expected, "{}", tensor.name);
    }
}

#[test]
fn config_json_has_both_dialects() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = small_model("llama");
    model.file.set("llama.rope.scaling.factor", f32_value(4.0));
    let out = convert(&open_gguf(&dir, &model.file), &dir, DType::BF16);
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["architectures"][0], "LlamaForCausalLM");
    assert_eq!(config["model_type"], "llama");
    assert_eq!(
        (&config["dtype"], &config["torch_dtype"]),
        (&"bfloat16".into(), &"bfloat16".into())
    );
    assert_eq!(config["rms_norm_eps"], 1e-5, "not 9.999999747378752e-6");
    for rope in [&config["rope_parameters"], &config["rope_scaling"]] {
        assert_eq!((&rope["rope_type"], &rope["factor"]), (&"linear".into(), &4.0.into()));
    }
    assert_eq!(config["rope_parameters"]["rope_theta"], 50_000.0);
    assert_eq!(config["rope_theta"], 50_000.0);
}

#[test]
fn progress_ends_at_the_total_and_nothing_is_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let model = open_gguf(&dir, &small_model("llama").file);
    let out = dir.path().join("deep/er");
    let mut seen: Vec<ConvertProgress> = Vec::new();
    to_hf_dir(&model, &out, DType::F32, |progress| seen.push(progress)).unwrap();
    assert!(seen.is_sorted_by_key(|progress| progress.done_bytes));
    let last = seen.last().unwrap();
    assert_eq!(last.done_bytes, last.total_bytes);
    assert_eq!(last.total_bytes, model.weight_bytes());
    let file_bytes = std::fs::metadata(out.join("model.safetensors")).unwrap().len();
    assert!(file_bytes > last.total_bytes && file_bytes < last.total_bytes + (1 << 16));
    assert_eq!(files(&out), ["config.json", "generation_config.json", "model.safetensors"]);
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_cannot_be_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let model = open_gguf(&dir, &small_model("llama").file);
    let error =
        |model: &Model, out: &Path, dtype| to_hf_dir(model, out, dtype, |_| {}).unwrap_err();

    let half = error(&model, &dir.path().join("half"), DType::F16);
    assert!(matches!(half, ConvertError::UnsupportedDType { .. }), "{half}");

    let out = convert(&model, &dir, DType::F32);
    let exists = error(&model, &out, DType::F32);
    assert!(matches!(exists, ConvertError::Exists { .. }), "{exists}");

    let blocked = error(&model, &dir.path().join("model.gguf/below"), DType::F32);
    assert!(matches!(blocked, ConvertError::Io { .. }), "{blocked}");

    // Biases on q, k and v alone: Hugging Face's Llama has one switch for these and the output's.
    let model = open_gguf(&dir, &small_model_with("llama", true, false, HEAD_DIM).file);
    let out = dir.path().join("biased");
    let biased = error(&model, &out, DType::F32);
    assert!(
        matches!(biased, ConvertError::NotExpressible { architecture: "llama", .. }),
        "{biased}"
    );
    assert!(!out.exists());
}
