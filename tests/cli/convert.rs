//! `kvasir convert` and `kvasir inspect`.

use std::fs;

use crate::command::{ByteModel, family, kvasir, kvasir_with_input};
use serde_json::Value;

#[test]
fn a_converted_model_answers_as_its_original_does() {
    let model = ByteModel::new();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("converted");
    let out = out.to_str().unwrap();
    assert_eq!(kvasir(&["convert", model.arg(), out, "--dtype", "float32"]).ok(), "");
    let answer = |model: &str| {
        let args = [
            "generate",
            "--model",
            model,
            "--input",
            "-",
            "--dtype",
            "float32",
            "--max-tokens",
            "12",
            "--chat",
            "--ignore-eos",
        ];
        let text = kvasir_with_input(&args, "{\"prompt\": \"hi\"}").ok();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let (original, converted) = (answer(model.arg()), answer(out));
    assert_eq!(
        original["prompt_token_ids"], converted["prompt_token_ids"],
        "template and tokenizer"
    );
    assert_eq!(original["outputs"], converted["outputs"]);
}

#[test]
fn nothing_is_overwritten_and_nothing_half_done_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("config.json"), "mine").unwrap();
    let model = ByteModel::new();
    kvasir(&["convert", model.arg(), out.to_str().unwrap()])
        .usage_error(&["config.json already exists"]);
    assert_eq!(fs::read_to_string(out.join("config.json")).unwrap(), "mine");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
    kvasir(&["convert", model.arg(), "x", "--dtype", "float16"]).usage_error(&["float16"]);
}

#[test]
fn inspect_tells_what_a_model_is_made_of() {
    let model = family("qwen3");
    let model = model.to_str().unwrap();
    let text = kvasir(&["inspect", model, "--json", "--tensors"]).ok();
    let json: Value = serde_json::from_str(&text).unwrap();
    let config: Value =
        serde_json::from_str(&fs::read_to_string(family("qwen3").join("config.json")).unwrap())
            .unwrap();
    assert_eq!(json["architecture"], "qwen3");
    assert_eq!(json["num_layers"], config["num_hidden_layers"]);
    assert_eq!(json["num_kv_heads"], config["num_key_value_heads"]);
    assert_eq!(json["qk_norm"], true);
    let number = |key: &str| config[key].as_u64().unwrap();
    let per_token =
        2 * number("num_hidden_layers") * number("num_key_value_heads") * number("head_dim");
    assert_eq!(json["kv_bytes_per_token"]["bfloat16"], per_token * 2);
    let tensors = json["tensors"].as_array().unwrap();
    let bytes: u64 = tensors.iter().map(|tensor| tensor["num_bytes"].as_u64().unwrap()).sum();
    assert_eq!(json["weight_bytes"], bytes);

    let table = kvasir(&["inspect", model]).ok();
    for words in ["architecture       qwen3", "query", "q and k normalised", "bytes per token"] {
        assert!(table.contains(words), "{table}");
    }
    assert!(!table.contains("model.embed_tokens.weight"));
    let table = kvasir(&["inspect", model, "--tensors"]).ok();
    assert!(table.contains("model.embed_tokens.weight"), "{table}");
}

#[test]
fn the_version_is_told() {
    let text = kvasir(&["--version"]).ok();
    assert_eq!(text, concat!("kvasir ", env!("CARGO_PKG_VERSION"), "\n"));
}
