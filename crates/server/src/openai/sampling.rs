//! Fields that both kinds of request have: how to choose tokens, and when to stop.

use engine::{RequestOptions, SamplingParams, StructuredOutputs, TokenId, request_json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::body::Record;
use crate::error::ApiError;
use crate::served_model::ServedModel;

/// OpenAI's and vLLM's fields; none of them must be given.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct SamplingFields {
    pub(super) n: Option<usize>,
    pub(super) max_tokens: Option<usize>,
    pub(super) min_tokens: Option<usize>,
    pub(super) temperature: Option<f32>,
    pub(super) top_p: Option<f32>,
    pub(super) top_k: Option<i32>,
    pub(super) min_p: Option<f32>,
    pub(super) presence_penalty: Option<f32>,
    pub(super) frequency_penalty: Option<f32>,
    pub(super) repetition_penalty: Option<f32>,
    pub(super) logit_bias: Option<Value>,
    pub(super) allowed_token_ids: Option<Vec<u32>>,
    pub(super) bad_words: Option<Vec<String>>,
    pub(super) structured_outputs: Option<Value>,
    pub(super) response_format: Option<ResponseFormat>,
    /// Clients send any 64 bits.
    pub(super) seed: Option<i64>,
    pub(super) ignore_eos: Option<bool>,
    pub(super) stop: Option<OneOrMany>,
    pub(super) stop_token_ids: Option<Vec<u32>>,
    pub(super) include_stop_str_in_output: Option<bool>,
    pub(super) skip_special_tokens: Option<bool>,
    pub(super) priority: Option<i32>,
    pub(super) cache_salt: Option<String>,
    /// Whether the answer says its tokens and the prompt's.
    pub(super) return_token_ids: Option<bool>,
    /// Whether log-probabilities name tokens by their ids.
    pub(super) return_tokens_as_token_ids: Option<bool>,
    /// Who asks, for the caller's own books.
    pub(super) user: Option<String>,
    pub(super) safety_identifier: Option<String>,
    pub(super) metadata: Option<Value>,
    /// Which requests have prompts alike. The prefix cache finds that out.
    pub(super) prompt_cache_key: Option<String>,
    pub(super) service_tier: Option<ServiceTier>,
}

/// The one there is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ServiceTier {
    Auto,
    Default,
}

/// A text or several.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a text or a list of texts")]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// What form the answer must have, in OpenAI's words.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum ResponseFormat {
    Text,
    JsonObject,
    JsonSchema { json_schema: NamedSchema },
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NamedSchema {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) description: Option<String>,
    pub(super) schema: Value,
    /// The answer always keeps to the schema.
    #[serde(default)]
    pub(super) strict: Option<bool>,
}

impl Record for SamplingFields {
    const UNSUPPORTED: &'static [(&'static str, &'static str)] = &[
        ("truncate_prompt_tokens", "a prompt is answered whole or refused"),
        ("length_penalty", "the engine has no beam search; ask for `n`"),
        ("early_stopping", "the engine has no beam search; ask for `n`"),
        (
            "spaces_between_special_tokens",
            "tokens are written as the model's tokenizer writes them",
        ),
        ("logits_processors", "no code from a request is ever run"),
        ("vllm_xargs", "the engine has no arguments besides those of this API"),
        ("mm_processor_kwargs", "the model reads text"),
        ("guided_json", "it is the old name of `structured_outputs`: {\"json\": SCHEMA}"),
        ("guided_regex", "it is the old name of `structured_outputs`: {\"regex\": TEXT}"),
        ("guided_choice", "it is the old name of `structured_outputs`: {\"choice\": [TEXT, …]}"),
        ("guided_grammar", "it is the old name of `structured_outputs`: {\"grammar\": TEXT}"),
        ("guided_decoding_backend", "there is one; say the form with `structured_outputs`"),
    ];
}

impl SamplingFields {
    /// How many answers are wanted to each prompt.
    pub(super) fn n(&self) -> usize {
        self.n.unwrap_or(1)
    }

    /// The engine's parameters: fields that are not given are the model's own, and `max_tokens` is
    /// `default_max_tokens`.
    pub(super) fn params(
        &self,
        model: &ServedModel,
        default_max_tokens: usize,
    ) -> Result<SamplingParams, ApiError> {
        let base = model.sampling_defaults.clone();
        let tokens = |ids: &Vec<u32>| ids.iter().map(|&id| TokenId(id)).collect::<Vec<_>>();
        let logit_bias = self.logit_bias.as_ref().map(request_json::logit_bias).transpose();
        Ok(SamplingParams {
            n: self.n(),
            max_tokens: self.max_tokens.unwrap_or(default_max_tokens),
            min_tokens: self.min_tokens.unwrap_or(base.min_tokens),
            temperature: self.temperature.unwrap_or(base.temperature),
            top_p: self.top_p.unwrap_or(base.top_p),
            top_k: self.top_k.unwrap_or(base.top_k),
            min_p: self.min_p.unwrap_or(base.min_p),
            presence_penalty: self.presence_penalty.unwrap_or(base.presence_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(base.frequency_penalty),
            repetition_penalty: self.repetition_penalty.unwrap_or(base.repetition_penalty),
            logit_bias: logit_bias
                .map_err(|error| ApiError::bad_field("logit_bias", error))?
                .unwrap_or_default(),
            allowed_token_ids: self.allowed_token_ids.as_ref().map(tokens),
            bad_words: self.bad_words.clone().unwrap_or_default(),
            structured_outputs: self.form()?,
            seed: self.seed.map(|seed| seed as u64),
            ignore_eos: self.ignore_eos.unwrap_or(base.ignore_eos),
            stop: match self.stop.clone() {
                None => Vec::new(),
                Some(OneOrMany::One(text)) => vec![text],
                Some(OneOrMany::Many(texts)) => texts,
            },
            stop_token_ids: self.stop_token_ids.as_ref().map(tokens).unwrap_or_default(),
            include_stop_str_in_output: self.include_stop_str_in_output.unwrap_or(false),
            skip_special_tokens: self.skip_special_tokens.unwrap_or(true),
            ..base
        })
    }

    /// What the scheduler and the KV cache are to know.
    pub(super) fn options(&self) -> RequestOptions {
        RequestOptions { priority: self.priority.unwrap_or(0), cache_salt: self.cache_salt.clone() }
    }

    /// The form of the answer, said in one of two ways.
    fn form(&self) -> Result<Option<StructuredOutputs>, ApiError> {
        let own = self.structured_outputs.as_ref().map(request_json::structured_outputs);
        let own =
            own.transpose().map_err(|error| ApiError::bad_field("structured_outputs", error))?;
        let openai = match &self.response_format {
            None | Some(ResponseFormat::Text) => None,
            Some(ResponseFormat::JsonObject) => Some(StructuredOutputs::JsonObject),
            Some(ResponseFormat::JsonSchema { json_schema }) => {
                Some(StructuredOutputs::Json(json_schema.schema.to_string()))
            }
        };
        if own.is_some() && openai.is_some() {
            let message = "`response_format` and `structured_outputs` both say what form the answer has; give one";
            return Err(ApiError::bad_field("response_format", message));
        }
        Ok(own.or(openai))
    }
}
