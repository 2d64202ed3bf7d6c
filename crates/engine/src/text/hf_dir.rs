//! The tokenizer of a Hugging Face directory.

use std::path::Path;

use serde_json::Value;
use tokenizers::AddedToken;

use super::chat::source_in_dir;
use super::component::bos_eos_template;
use super::error::TokenizerError;
use super::read::{guard, read_bounded};
use super::tokenizer::{SpecialTokens, Tokenizer};
use super::tokenizer_json::{self, MAX_TOKENIZER_JSON_BYTES};

/// Largest `tokenizer_config.json` and `special_tokens_map.json`; they list all added tokens.
const MAX_CONFIG_BYTES: u64 = 16 << 20;

impl Tokenizer {
    /// Reads the tokenizer of a Hugging Face directory: `tokenizer.json`, and beside it
    /// `tokenizer_config.json`, `special_tokens_map.json` and `chat_template.jinja` where they exist.
    /// `None` if there is no `tokenizer.json`: a model can also be run on token ids.
    ///
    /// As in transformers, `add_bos_token` and `add_eos_token` of `tokenizer_config.json` replace what
    /// `tokenizer.json` puts around a text, and the special tokens that are named there are special
    /// whatever `tokenizer.json` calls them.
    ///
    /// # Errors
    /// If a file is too large, malformed, or asks for something that is not known.
    pub fn from_dir(dir: &Path) -> Result<Option<Self>, TokenizerError> {
        let path = dir.join("tokenizer.json");
        let Some(bytes) = read_bounded(&path, MAX_TOKENIZER_JSON_BYTES)? else {
            return Ok(None);
        };
        let config = Config::read(dir)?;
        let file = path.display().to_string();
        let checked = tokenizer_json::check(&bytes, &file)?;
        let parse_error = |reason| TokenizerError::Parse { file: file.clone(), reason };
        let mut inner =
            guard(|| tokenizers::Tokenizer::from_bytes(&bytes)).map_err(&parse_error)?;
        for added in &checked.added_tokens {
            match inner.token_to_id(&added.content) {
                Some(id) if id == added.id => {}
                found => {
                    return Err(parse_error(format!(
                        "the added token {:?} says its id is {}, but it comes out as {found:?}",
                        added.content, added.id
                    )));
                }
            }
        }
        // A prompt is never cut or filled up behind the caller's back.
        guard(|| inner.with_truncation(None).map(drop)).map_err(&parse_error)?;
        inner.with_padding(None);
        let special = config.special_tokens(&mut inner)?;
        config.set_post_processor(&mut inner, &special)?;
        check_post_processor(&inner, checked.num_ids)?;
        let chat_template = source_in_dir(dir)?;
        Tokenizer::assemble(inner, checked.num_ids, special, chat_template).map(Some)
    }
}

/// `tokenizer_config.json` and `special_tokens_map.json`.
struct Config {
    config: Value,
    special_tokens_map: Value,
}

impl Config {
    fn read(dir: &Path) -> Result<Self, TokenizerError> {
        let read = |name: &str| {
            let path = dir.join(name);
            match read_bounded(&path, MAX_CONFIG_BYTES)? {
                None => Ok(Value::Null),
                Some(bytes) => serde_json::from_slice(&bytes).map_err(|e| TokenizerError::Parse {
                    file: path.display().to_string(),
                    reason: e.to_string(),
                }),
            }
        };
        Ok(Config {
            config: read("tokenizer_config.json")?,
            special_tokens_map: read("special_tokens_map.json")?,
        })
    }

    /// A special token's text: written plainly, or as the `content` of an added token.
    fn token(&self, key: &str) -> Option<&str> {
        [&self.config, &self.special_tokens_map]
            .into_iter()
            .map(|file| &file[key])
            .find_map(|token| token.as_str().or_else(|| token["content"].as_str()))
    }

    /// Looks the special tokens up and makes them special.
    fn special_tokens(
        &self,
        inner: &mut tokenizers::Tokenizer,
    ) -> Result<SpecialTokens, TokenizerError> {
        let mut special = SpecialTokens::default();
        let mut unmarked = Vec::new();
        for (key, needed, id) in [
            ("bos_token", true, &mut special.bos),
            ("eos_token", true, &mut special.eos),
            ("unk_token", false, &mut special.unk),
            ("pad_token", false, &mut special.pad),
        ] {
            let Some(token) = self.token(key) else {
                continue;
            };
            *id = inner.token_to_id(token);
            if id.is_none() && needed {
                return Err(TokenizerError::UnknownToken { what: key, token: token.into() });
            }
            let added = inner.get_added_vocabulary();
            if id.is_some() && !added.get_vocab().contains_key(token) {
                unmarked.push(AddedToken::from(token, true));
            }
        }
        guard(|| inner.add_tokens(unmarked)).map_err(|reason| TokenizerError::Parse {
            file: "the special tokens".into(),
            reason,
        })?;
        Ok(special)
    }

    fn set_post_processor(
        &self,
        inner: &mut tokenizers::Tokenizer,
        special: &SpecialTokens,
    ) -> Result<(), TokenizerError> {
        let flag = |key: &str| self.config[key].as_bool();
        let (add_bos, add_eos) = (flag("add_bos_token"), flag("add_eos_token"));
        if add_bos.is_none() && add_eos.is_none() {
            return Ok(());
        }
        let token = |wanted: Option<bool>, key: &str, id: Option<u32>| {
            let text = self.token(key).filter(|_| wanted == Some(true))?;
            Some((text, id?))
        };
        inner.with_post_processor(bos_eos_template(
            token(add_bos, "bos_token", special.bos),
            token(add_eos, "eos_token", special.eos),
        )?);
        Ok(())
    }
}

/// What goes around a text is the same for every text, so an empty one shows whether it is in the vocabulary.
fn check_post_processor(
    inner: &tokenizers::Tokenizer,
    num_ids: usize,
) -> Result<(), TokenizerError> {
    let around = guard(|| inner.encode_fast("", true))
        .map_err(|reason| TokenizerError::Parse { file: "the post-processor".into(), reason })?;
    match around.get_ids().iter().find(|&&id| id as usize >= num_ids) {
        None => Ok(()),
        Some(&id) => Err(TokenizerError::IdOutOfRange {
            what: "a token that the post-processor adds".into(),
            id: id.into(),
            vocab_size: num_ids,
        }),
    }
}
