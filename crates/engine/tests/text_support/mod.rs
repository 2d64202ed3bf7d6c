//! Fixtures that `tests/oracles/tokenizer_*.py` made.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};

use engine::text::GgufVocab;
use engine::weights::gguf::{Metadata, OptionalKey};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Reads `tests/<path>` of the repository.
pub fn read_json<T: DeserializeOwned>(path: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests").join(path);
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A vocabulary and what Hugging Face makes of texts with it.
#[derive(Deserialize)]
pub struct Fixture {
    #[serde(default)]
    vocab: Option<VocabJson>,
    pub texts: Vec<TextCase>,
    pub decode: Vec<DecodeCase>,
}

#[derive(Deserialize)]
pub struct TextCase {
    pub text: String,
    pub ids: Vec<u32>,
    pub ids_with_special_tokens: Vec<u32>,
}

#[derive(Deserialize)]
pub struct DecodeCase {
    pub ids: Vec<u32>,
    pub text: String,
    pub text_without_special_tokens: String,
}

#[derive(Deserialize)]
struct VocabJson {
    model: String,
    pre: Option<String>,
    tokens: Vec<String>,
    scores: Option<Vec<f32>>,
    token_types: Option<Vec<i32>>,
    merges: Option<Vec<String>>,
    bos_id: Option<u32>,
    eos_id: Option<u32>,
    unk_id: Option<u32>,
    add_space_prefix: Option<bool>,
}

/// The small vocabularies.
pub const SMALL: [&str; 6] =
    ["gpt2", "smollm", "llama_bpe", "qwen2", "sentencepiece", "sentencepiece_no_prefix"];

pub fn fixture(name: &str) -> Fixture {
    read_json(&format!("oracles/tokenizer_{name}.json"))
}

impl Fixture {
    pub fn vocab(&self) -> GgufVocab {
        let vocab = self.vocab.as_ref().expect("a fixture with a vocabulary");
        GgufVocab {
            model: vocab.model.clone(),
            pre: vocab.pre.clone(),
            tokens: vocab.tokens.clone(),
            scores: vocab.scores.clone(),
            token_types: vocab.token_types.clone(),
            merges: vocab.merges.clone(),
            bos_id: vocab.bos_id,
            eos_id: vocab.eos_id,
            unk_id: vocab.unk_id,
            add_space_prefix: vocab.add_space_prefix,
            ..GgufVocab::default()
        }
    }
}

/// The real model's file.
pub fn model_path() -> PathBuf {
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
        "{} is missing: run `cargo run --release -- pull smollm2-135m-instruct`, or set KVASIR_TEST_MODEL to the file",
        path.display()
    );
    path
}

/// The vocabulary of the real model's file; only the keys that such files have.
pub fn gguf_vocab(metadata: &Metadata) -> GgufVocab {
    let id = |name: &str| metadata.u32(&format!("tokenizer.ggml.{name}_token_id")).optional();
    GgufVocab {
        model: metadata.str("tokenizer.ggml.model").unwrap().to_owned(),
        pre: metadata.str("tokenizer.ggml.pre").optional().unwrap().map(str::to_owned),
        tokens: metadata.str_array("tokenizer.ggml.tokens").unwrap().to_vec(),
        token_types: metadata.i32_array("tokenizer.ggml.token_type").optional().unwrap(),
        merges: metadata
            .str_array("tokenizer.ggml.merges")
            .optional()
            .unwrap()
            .map(<[String]>::to_vec),
        bos_id: id("bos").unwrap(),
        eos_id: id("eos").unwrap(),
        unk_id: id("unknown").unwrap(),
        pad_id: id("padding").unwrap(),
        add_bos_token: metadata.bool("tokenizer.ggml.add_bos_token").optional().unwrap(),
        chat_template: metadata
            .str("tokenizer.chat_template")
            .optional()
            .unwrap()
            .map(str::to_owned),
        ..GgufVocab::default()
    }
}
