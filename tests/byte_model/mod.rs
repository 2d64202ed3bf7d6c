//! A small model with a tokenizer and a chat template.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// A checkpoint of the test suite, without a tokenizer.
pub fn family(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/families").join(name)
}

/// The llama checkpoint with a tokenizer whose 256 tokens are bytes, and a chat template.
pub struct ByteModel {
    folder: tempfile::TempDir,
}

impl ByteModel {
    pub fn new() -> ByteModel {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["config.json", "generation_config.json", "model.safetensors"] {
            std::fs::copy(family("llama").join(name), folder.path().join(name)).expect("copied");
        }
        let write = |name: &str, text: String| {
            std::fs::write(folder.path().join(name), text).expect("written");
        };
        write("tokenizer.json", tokenizer_json().to_string());
        write("tokenizer_config.json", "{}".to_owned());
        write(
            "chat_template.jinja",
            "{% for m in messages %}{{ m.role[0] }}:{{ m.content }};{% endfor %}a:{% if quick %}!{% endif %}".to_owned(),
        );
        ByteModel { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn arg(&self) -> &str {
        self.folder.path().to_str().expect("a UTF-8 path")
    }
}

/// Byte-level BPE without merges: token `i` is byte `i`.
fn tokenizer_json() -> Value {
    // GPT-2 writes bytes that are no printable character as characters from 256 up.
    let mut next = 256;
    let vocab: serde_json::Map<String, Value> = (0..256_u32)
        .map(|byte| {
            let printable = matches!(byte, 33..=126 | 161..=172 | 174..=255);
            let code = if printable {
                byte
            } else {
                next += 1;
                next - 1
            };
            (char::from_u32(code).expect("a character").to_string(), json!(byte))
        })
        .collect();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": byte_level, "post_processor": null,
        "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null,
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
            "byte_fallback": false, "ignore_merges": false, "vocab": vocab, "merges": []}
    })
}
