//! Hugging Face directories as a whole: which files are read, and what is said when one is wrong.

mod weights_support;

use std::path::Path;

use engine::weights::hf::{MAX_HEADER_BYTES, SafetensorsError, safetensors_from_bytes};
use engine::weights::{self, TensorFormat, WeightsError};
use engine_core::checkpoint::CheckpointError;
use serde_json::json;
use tempfile::TempDir;
use weights_support::*;

fn config_json() -> String {
    json!({
        "model_type": "llama",
        "vocab_size": VOCAB,
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": NUM_LAYERS,
        "num_attention_heads": NUM_QO_HEADS,
        "num_key_value_heads": NUM_KV_HEADS,
        "eos_token_id": 7,
    })
    .to_string()
}

/// A directory with a config and no weights.
fn directory() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), config_json()).unwrap();
    dir
}

fn write(dir: &TempDir, name: &str, bytes: impl AsRef<[u8]>) {
    std::fs::write(dir.path().join(name), bytes).unwrap();
}

fn error(path: &Path) -> WeightsError {
    weights::open(path).expect_err("opened")
}

fn assert_tensors(dir: &TempDir, expected: &Tensors) {
    let model = weights::open(dir.path()).unwrap();
    assert_eq!(model.tensors().len(), expected.len());
    for (name, (shape, values)) in expected {
        assert_eq!(&read_all(model.checkpoint(), name, shape), values, "{name}");
    }
}

/// Half of the tensors in each of two files.
fn write_shards(dir: &TempDir, tensors: &Tensors) {
    let mut weight_map = serde_json::Map::new();
    let names: Vec<&String> = tensors.keys().collect();
    let (first, second) = names.split_at(names.len() / 2);
    for (file, names) in [("a.safetensors", first), ("b.safetensors", second)] {
        let part = names.iter().map(|&name| (name.clone(), tensors[name].clone())).collect();
        write(dir, file, safetensors_bytes(&part));
        weight_map.extend(names.iter().map(|&name| (name.clone(), json!(file))));
    }
    let index = json!({ "metadata": {}, "weight_map": weight_map });
    write(dir, "model.safetensors.index.json", index.to_string());
}

#[test]
fn one_file_or_many_are_the_same_model() {
    let tensors = small_model("llama").expected;
    let dir = directory();
    write_shards(&dir, &tensors);
    assert_tensors(&dir, &tensors);
    let dir = directory();
    write(&dir, "model.safetensors", safetensors_bytes(&tensors));
    assert_tensors(&dir, &tensors);
    let model = weights::open(dir.path()).unwrap();
    assert_eq!(model.generation_config().eos_token_ids, [7], "from config.json");
    assert_eq!(model.generation_config().bos_token_id, Some(1), "llama's default");
    let num_parameters: usize = tensors.values().map(|(_, values)| values.len()).sum();
    assert_eq!(model.num_parameters(), num_parameters as u64);
    assert_eq!(model.weight_bytes(), 4 * num_parameters as u64);
    assert_eq!(model.tensors()[0].name, "model.embed_tokens.weight");
    assert_eq!(model.tensors()[0].shape, [VOCAB, HIDDEN]);
    assert_eq!(model.tensors()[0].format, TensorFormat::F32);
}

#[test]
fn sixteen_bit_tensors_are_widened() {
    for (dtype, format, narrow) in [
        ("F16", TensorFormat::F16, (|x| half::f16::from_f32(x).to_bits()) as fn(f32) -> u16),
        ("BF16", TensorFormat::BF16, |x| half::bf16::from_f32(x).to_bits()),
    ] {
        let tensors = small_model("llama").expected;
        let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
        for (name, (shape, values)) in &tensors {
            let start = data.len();
            data.extend(values.iter().flat_map(|&x| narrow(x).to_le_bytes()));
            header.insert(
                name.clone(),
                json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, data.len()] }),
            );
        }
        let dir = directory();
        write(&dir, "model.safetensors", with_header(&json!(header).to_string(), &data));
        // The test's numbers are exact in both formats.
        assert_tensors(&dir, &tensors);
        assert!(
            weights::open(dir.path())
                .unwrap()
                .tensors()
                .iter()
                .all(|tensor| tensor.format == format)
        );
    }
}

#[test]
fn broken_sets_of_shards_are_named() {
    let tensors = small_model("llama").expected;
    let dir = directory();
    write_shards(&dir, &tensors);
    std::fs::remove_file(dir.path().join("b.safetensors")).unwrap();
    assert!(error(dir.path()).to_string().contains("b.safetensors"));

    write(&dir, "b.safetensors", safetensors_bytes(&tensors));
    let doubled = error(dir.path());
    assert!(matches!(doubled, WeightsError::DuplicateTensor { .. }), "{doubled}");

    let lost = "model.norm.weight";
    let part = tensors
        .iter()
        .filter(|(name, _)| *name != lost)
        .map(|(name, tensor)| (name.clone(), tensor.clone()));
    write(&dir, "a.safetensors", safetensors_bytes(&part.collect()));
    write(&dir, "b.safetensors", safetensors_bytes(&Tensors::new()));
    let missing = error(dir.path());
    assert!(
        matches!(&missing, WeightsError::Checkpoint(CheckpointError::Missing { name, .. }) if name == lost),
        "{missing}"
    );

    write(&dir, "model.safetensors.index.json", r#"{"weight_map": {"x": "../x.safetensors"}}"#);
    assert!(error(dir.path()).to_string().contains("../x.safetensors"));
}

#[test]
fn missing_misshapen_unknown_and_quantized_tensors_are_named() {
    let open_with = |change: &dyn Fn(&mut Tensors)| {
        let mut tensors = small_model("llama").expected;
        change(&mut tensors);
        let dir = directory();
        write(&dir, "model.safetensors", safetensors_bytes(&tensors));
        weights::open(dir.path()).map(|_| ()).map_err(|error| error.to_string())
    };
    let missing = open_with(&|tensors| drop(tensors.remove("lm_head.weight"))).unwrap_err();
    assert!(missing.contains("`lm_head.weight` is missing"), "{missing}");
    let misshapen = open_with(&|tensors| {
        tensors.get_mut("model.norm.weight").unwrap().0 = vec![1, HIDDEN];
    })
    .unwrap_err();
    assert!(
        misshapen.contains("`model.norm.weight`") && misshapen.contains("[1, 16]"),
        "{misshapen}"
    );
    let unknown = open_with(&|tensors| {
        tensors.insert("model.layers.0.self_attn.q_proj.bias".to_owned(), (vec![1], vec![1.0]));
    })
    .unwrap_err();
    assert!(unknown.contains("q_proj.bias"), "{unknown}");
    let redundant = open_with(&|tensors| {
        tensors.insert(
            "model.layers.0.self_attn.rotary_emb.inv_freq".to_owned(),
            (vec![1], vec![1.0]),
        );
    });
    assert_eq!(redundant, Ok(()));

    let dir = directory();
    let header = r#"{"model.norm.weight":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#;
    write(&dir, "model.safetensors", with_header(header, &[0; 8]));
    let quantized = error(dir.path()).to_string();
    assert!(quantized.contains("`model.norm.weight`") && quantized.contains("I64"), "{quantized}");
    assert!(quantized.contains("F32, F16, BF16"), "{quantized}");
}

#[test]
fn a_second_copy_of_a_tied_embedding_is_not_counted() {
    let tensors = small_model("llama").expected;
    let dir = directory();
    let mut config: serde_json::Value = serde_json::from_str(&config_json()).unwrap();
    config["tie_word_embeddings"] = json!(true);
    write(&dir, "config.json", config.to_string());
    write(&dir, "model.safetensors", safetensors_bytes(&tensors));
    let model = weights::open(dir.path()).unwrap();
    assert!(model.config().tie_word_embeddings);
    assert_eq!(model.tensors().len(), tensors.len() - 1);
}

#[test]
fn what_is_no_model_gets_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    assert!(error(&dir.path().join("nowhere")).to_string().contains("nowhere"));
    assert!(error(dir.path()).to_string().contains("no config.json"));
    write(&dir, "model.Q4_1.gguf", small_model("llama").file.to_bytes());
    assert!(error(dir.path()).to_string().contains("did you mean"));
    assert!(weights::open(&dir.path().join("model.Q4_1.gguf")).is_ok());
    write(&dir, "model.safetensors", safetensors_bytes(&Tensors::new()));
    let hint = error(&dir.path().join("model.safetensors")).to_string();
    assert!(hint.contains("give the directory"), "{hint}");
    write(&dir, "pytorch_model.bin", "PK");
    let hint = error(&dir.path().join("pytorch_model.bin")).to_string();
    assert!(hint.contains("convert them to safetensors"), "{hint}");

    let dir = directory();
    let error = error(dir.path());
    assert!(matches!(error, WeightsError::NoWeights { .. }), "{error}");
}

#[test]
fn every_truncation_of_a_safetensors_file_is_an_error() {
    let bytes = safetensors_bytes(&small_model("llama").expected);
    assert!(safetensors_from_bytes(&bytes).is_ok());
    for len in 0..bytes.len() {
        assert!(safetensors_from_bytes(&bytes[..len]).is_err(), "{len} of {}", bytes.len());
    }
}

#[test]
fn hostile_safetensors_headers_are_refused() {
    let entry = |shape: &str, start: u64, end: u64| {
        format!(r#""x":{{"dtype":"F32","shape":{shape},"data_offsets":[{start},{end}]}}"#)
    };
    for header in [
        String::new(),
        "[]".to_owned(),
        format!("{{{}}}", entry("[1]", 0, 8)),
        format!("{{{}}}", entry("[1]", 4, 8)),
        format!("{{{}}}", entry("[1]", 8, 4)),
        format!("{{{}}}", entry("[18446744073709551615, 4]", 0, 4)),
        format!("{{{}}}", entry("[-1]", 0, 4)),
        format!("{{{}}}", entry("[2]", 0, 18446744073709551615)),
        // Two tensors over the same bytes.
        format!(
            r#"{{{},"y":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}"#,
            entry("[1]", 0, 4)
        ),
    ] {
        let error = safetensors_from_bytes(&with_header(&header, &[0; 4])).unwrap_err();
        assert!(matches!(error, SafetensorsError::Invalid { .. }), "{header}: {error}");
    }
    for found in [MAX_HEADER_BYTES + 1, u64::MAX] {
        let error = safetensors_from_bytes(&found.to_le_bytes()).unwrap_err();
        assert_eq!(error, SafetensorsError::HeaderTooLarge { found });
    }
}
