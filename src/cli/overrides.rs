//! Sampling options in layers: the model's own, then flags, then a JSONL line's fields. A layer
//! says only what it wants changed.

use std::collections::BTreeMap;

use engine::weights::GenerationConfig;
use engine::{RequestOptions, SamplingParams, StructuredOutputs, TokenId};

/// What the scheduler and the KV cache are to know of a request, in the same layers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct OptionOverrides {
    pub priority: Option<i32>,
    pub cache_salt: Option<String>,
}

impl OptionOverrides {
    /// This layer over the flags'.
    pub(crate) fn over(self, flags: &OptionOverrides) -> RequestOptions {
        RequestOptions {
            priority: self.priority.or(flags.priority).unwrap_or(0),
            cache_salt: self.cache_salt.or_else(|| flags.cache_salt.clone()),
        }
    }
}

/// One layer. `None` leaves what the layers below said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SamplingOverrides {
    pub n: Option<usize>,
    pub max_tokens: Option<usize>,
    pub min_tokens: Option<usize>,
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    pub top_k: Option<i32>,
    pub min_p: Option<f32>,
    pub presence_penalty: Option<f32>,
    pub frequency_penalty: Option<f32>,
    pub repetition_penalty: Option<f32>,
    pub logit_bias: Option<BTreeMap<TokenId, f32>>,
    pub allowed_token_ids: Option<Vec<TokenId>>,
    pub bad_words: Option<Vec<String>>,
    pub structured_outputs: Option<StructuredOutputs>,
    pub seed: Option<u64>,
    pub ignore_eos: Option<bool>,
    pub stop: Option<Vec<String>>,
    pub stop_token_ids: Option<Vec<TokenId>>,
    pub include_stop_str_in_output: Option<bool>,
    pub detokenize: Option<bool>,
    pub skip_special_tokens: Option<bool>,
    /// A line can also take back a flag's wish.
    pub logprobs: Option<Option<i32>>,
    pub prompt_logprobs: Option<Option<i32>>,
}

impl SamplingOverrides {
    /// Changes `params` as this layer says.
    pub(crate) fn apply(&self, params: &mut SamplingParams) {
        fn set<T: Clone>(field: &mut T, value: &Option<T>) {
            if let Some(value) = value {
                field.clone_from(value);
            }
        }
        set(&mut params.n, &self.n);
        set(&mut params.max_tokens, &self.max_tokens);
        set(&mut params.min_tokens, &self.min_tokens);
        set(&mut params.temperature, &self.temperature);
        set(&mut params.top_p, &self.top_p);
        set(&mut params.top_k, &self.top_k);
        set(&mut params.min_p, &self.min_p);
        set(&mut params.presence_penalty, &self.presence_penalty);
        set(&mut params.frequency_penalty, &self.frequency_penalty);
        set(&mut params.repetition_penalty, &self.repetition_penalty);
        set(&mut params.logit_bias, &self.logit_bias);
        set(&mut params.bad_words, &self.bad_words);
        set(&mut params.ignore_eos, &self.ignore_eos);
        set(&mut params.stop, &self.stop);
        set(&mut params.stop_token_ids, &self.stop_token_ids);
        set(&mut params.include_stop_str_in_output, &self.include_stop_str_in_output);
        set(&mut params.detokenize, &self.detokenize);
        set(&mut params.skip_special_tokens, &self.skip_special_tokens);
        set(&mut params.logprobs, &self.logprobs);
        set(&mut params.prompt_logprobs, &self.prompt_logprobs);
        fn set_some<T: Clone>(field: &mut Option<T>, value: &Option<T>) {
            if value.is_some() {
                field.clone_from(value);
            }
        }
        set_some(&mut params.seed, &self.seed);
        set_some(&mut params.allowed_token_ids, &self.allowed_token_ids);
        set_some(&mut params.structured_outputs, &self.structured_outputs);
    }
}

/// Where every request starts: greedy, unless the checkpoint asks to be sampled from.
pub(crate) fn model_defaults(model: &GenerationConfig, max_tokens: usize) -> SamplingParams {
    let mut params = SamplingParams { max_tokens, temperature: 0.0, ..SamplingParams::default() };
    if model.do_sample == Some(false) {
        return params;
    }
    if let Some(temperature) = model.temperature {
        params.temperature = temperature;
        params.top_p = model.top_p.unwrap_or(params.top_p);
        params.top_k = model.top_k.map_or(params.top_k, |k| i32::try_from(k).unwrap_or(0));
    }
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(do_sample: Option<bool>) -> GenerationConfig {
        GenerationConfig {
            temperature: Some(0.6),
            top_p: Some(0.9),
            top_k: Some(20),
            do_sample,
            ..GenerationConfig::default()
        }
    }

    #[test]
    fn the_model_decides_how_it_is_sampled_from() {
        let params = model_defaults(&model(Some(true)), 256);
        assert_eq!((params.temperature, params.top_p, params.top_k), (0.6, 0.9, 20));
        assert_eq!(params.max_tokens, 256);
        assert_eq!(model_defaults(&model(Some(false)), 1).temperature, 0.0);
        let silent = GenerationConfig { top_p: Some(0.9), ..GenerationConfig::default() };
        let params = model_defaults(&silent, 1);
        assert_eq!((params.temperature, params.top_p), (0.0, 1.0));
    }

    #[test]
    fn later_layers_win_and_silence_changes_nothing() {
        let mut params = model_defaults(&model(None), 256);
        let flags = SamplingOverrides {
            temperature: Some(0.0),
            logprobs: Some(Some(3)),
            seed: Some(7),
            ..SamplingOverrides::default()
        };
        flags.apply(&mut params);
        assert_eq!((params.temperature, params.logprobs, params.seed), (0.0, Some(3), Some(7)));
        let line = SamplingOverrides {
            logprobs: Some(None),
            max_tokens: Some(4),
            ..SamplingOverrides::default()
        };
        line.apply(&mut params);
        assert_eq!((params.logprobs, params.max_tokens, params.seed), (None, 4, Some(7)));
        assert_eq!(params.top_p, 0.9);
    }
}
