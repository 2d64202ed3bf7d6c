//! Writing a tokenizer as the files of a Hugging Face directory.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::error::TokenizerError;
use super::tokenizer::Tokenizer;

impl Tokenizer {
    /// The contents of `tokenizer.json`.
    ///
    /// # Errors
    /// If the vocabulary cannot be written as JSON; that would be a defect.
    pub fn to_json(&self) -> Result<String, TokenizerError> {
        self.inner.to_string(false).map_err(|e| TokenizerError::Parse {
            file: "tokenizer.json".into(),
            reason: e.to_string(),
        })
    }

    /// The contents of `tokenizer_config.json`, with the chat template.
    pub fn config_json(&self) -> Value {
        let mut config = Map::new();
        config.insert("tokenizer_class".into(), json!("PreTrainedTokenizerFast"));
        config.insert("clean_up_tokenization_spaces".into(), json!(false));
        for (key, token) in self.named_tokens() {
            config.insert(key.into(), json!(token));
        }
        if let Some(template) = &self.chat_template {
            config.insert("chat_template".into(), json!(template));
        }
        Value::Object(config)
    }

    /// Writes `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json` into `dir`, from which
    /// Hugging Face's tokenizer gives the same ids.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), TokenizerError> {
        let special_tokens: Map<_, _> =
            self.named_tokens().map(|(key, token)| (key.to_owned(), json!(token))).collect();
        let files = [
            ("tokenizer.json", self.to_json()?),
            ("tokenizer_config.json", format!("{:#}\n", self.config_json())),
            ("special_tokens_map.json", format!("{:#}\n", Value::Object(special_tokens))),
        ];
        for (name, contents) in files {
            let path = dir.join(name);
            std::fs::write(&path, contents)
                .map_err(|source| TokenizerError::Io { path, source })?;
        }
        Ok(())
    }

    fn named_tokens(&self) -> impl Iterator<Item = (&'static str, String)> {
        let special = &self.special;
        [
            ("bos_token", special.bos),
            ("eos_token", special.eos),
            ("unk_token", special.unk),
            ("pad_token", special.pad),
        ]
        .into_iter()
        .filter_map(|(key, id)| Some((key, self.id_to_token(id?)?)))
    }
}
