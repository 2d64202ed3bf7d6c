//! What sampling parameters may be.

use alloc::vec::Vec;

use super::GREEDY_BELOW;
use crate::limits::MAX_MODEL_LEN;
use crate::request::{SamplingParams, StructuredOutputs, TokenId};

/// Most answers to one prompt: vLLM's limit.
const MAX_NUM_ANSWERS: usize = 16_384;

/// Most entries of `stop` and of `bad_words`: each is looked for with every token, and a bad word is tokenized while
/// other requests wait.
const MAX_NUM_TEXTS: usize = 1024;

/// A parameter that cannot be meant.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParamError {
    /// The value is outside its range.
    #[error("{name} is {value}, but must be {legal}")]
    OutOfRange {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: f64,
        /// Its range, in words.
        legal: &'static str,
    },
    /// Not a token may end the output before it must have ended.
    #[error("min_tokens is {min_tokens}, but must be at most max_tokens, which is {max_tokens}")]
    MinAboveMax {
        /// The least tokens to generate.
        min_tokens: usize,
        /// The most tokens to generate.
        max_tokens: usize,
    },
    /// An empty text is found everywhere.
    #[error("{name} holds an empty text; leave it out or give at least one character")]
    EmptyText {
        /// `stop` or `bad_words`.
        name: &'static str,
    },
    /// A list is longer than may be searched with every token.
    #[error("{name} has {len} texts, but may have at most {most}; leave some out")]
    TooMany {
        /// `stop` or `bad_words`.
        name: &'static str,
        /// Its length.
        len: usize,
        /// The most.
        most: usize,
    },
    /// A list of what may come is empty, so nothing may.
    #[error("{name} is an empty list, which leaves nothing to generate; leave it out")]
    EmptyList {
        /// `allowed_token_ids` or `structured_outputs.choice`.
        name: &'static str,
    },
    /// Two parameters cannot both be meant.
    #[error("{name} cannot be used with {other}; leave out one of them")]
    Conflict {
        /// The parameter.
        name: &'static str,
        /// The other one, with its value.
        other: &'static str,
    },
    /// The model has no such token, so it could never come.
    #[error(
        "{name} holds {token_id}, but the model's vocabulary has {vocab_size} tokens, from \
         0 to {last}", last = vocab_size - 1
    )]
    TokenOutsideVocab {
        /// `stop_token_ids`, `allowed_token_ids` or `logit_bias`.
        name: &'static str,
        /// The token.
        token_id: u32,
        /// Tokens of the model.
        vocab_size: usize,
    },
    /// There are not that many tokens to report.
    #[error(
        "{name} is {value}, but the model's vocabulary has {vocab_size} tokens; ask for fewer, or \
         for all with -1"
    )]
    MoreThanVocab {
        /// `logprobs` or `prompt_logprobs`.
        name: &'static str,
        /// Its value.
        value: i32,
        /// Tokens of the model.
        vocab_size: usize,
    },
}

impl SamplingParams {
    /// Whether every parameter is in its range.
    ///
    /// # Errors
    /// [`ParamError`] for the first one that is not, by name.
    pub fn validate(&self) -> Result<(), ParamError> {
        let Self { n, temperature, top_p, top_k, min_p, max_tokens, min_tokens, .. } = *self;
        check("n", n as f64, (1..=MAX_NUM_ANSWERS).contains(&n), "from 1 to 16384")?;
        check(
            "temperature",
            temperature.into(),
            (0.0..=f32::MAX).contains(&temperature),
            "a finite number from 0; 0 takes the likeliest token",
        )?;
        check(
            "top_p",
            top_p.into(),
            top_p > 0.0 && top_p <= 1.0,
            "above 0 and at most 1; 1 keeps all tokens",
        )?;
        check("top_k", top_k.into(), top_k >= -1, "at least 1, or 0 or -1 to keep all tokens")?;
        check(
            "min_p",
            min_p.into(),
            (0.0..=1.0).contains(&min_p),
            "from 0 to 1; 0 keeps all tokens",
        )?;
        let tokens_in_range = |n: usize, least| (least..=MAX_MODEL_LEN).contains(&n);
        check(
            "max_tokens",
            max_tokens as f64,
            tokens_in_range(max_tokens, 1),
            "from 1 to 16777216",
        )?;
        for (name, value) in
            [("logprobs", self.logprobs), ("prompt_logprobs", self.prompt_logprobs)]
        {
            let value = value.unwrap_or(0);
            check(name, value.into(), value >= -1, "at least 0, or -1 for the whole vocabulary")?;
        }
        if n > 1 && temperature < GREEDY_BELOW {
            return Err(ParamError::Conflict {
                name: "n above 1",
                other: "temperature 0, which answers the same each time",
            });
        }
        if min_tokens > max_tokens {
            return Err(ParamError::MinAboveMax { min_tokens, max_tokens });
        }
        self.validate_penalties()?;
        self.validate_lists()
    }

    fn validate_penalties(&self) -> Result<(), ParamError> {
        let penalties = [
            ("presence_penalty", self.presence_penalty),
            ("frequency_penalty", self.frequency_penalty),
        ];
        for (name, value) in penalties {
            let is_legal = (-2.0..=2.0).contains(&value);
            check(name, value.into(), is_legal, "from -2 to 2; 0 is none")?;
        }
        let repetition = self.repetition_penalty;
        check(
            "repetition_penalty",
            repetition.into(),
            (f32::MIN_POSITIVE..=f32::MAX).contains(&repetition),
            "a finite number above 0; 1 is none",
        )?;
        for &bias in self.logit_bias.values() {
            let legal = "made of finite numbers; those beyond -100 and 100 count as these";
            check("logit_bias", bias.into(), bias.is_finite(), legal)?;
        }
        Ok(())
    }

    fn validate_lists(&self) -> Result<(), ParamError> {
        for (name, texts) in [("stop", &self.stop), ("bad_words", &self.bad_words)] {
            let (len, most) = (texts.len(), MAX_NUM_TEXTS);
            if len > most {
                return Err(ParamError::TooMany { name, len, most });
            }
        }
        if self.stop.iter().any(|text| text.is_empty()) {
            return Err(ParamError::EmptyText { name: "stop" });
        }
        if !self.stop.is_empty() && !self.detokenize {
            return Err(ParamError::Conflict { name: "stop", other: "detokenize = false" });
        }
        // Spaces before a bad word are not part of it.
        if self.bad_words.iter().any(|word| word.trim_start().is_empty()) {
            return Err(ParamError::EmptyText { name: "bad_words" });
        }
        if self.allowed_token_ids.as_ref().is_some_and(Vec::is_empty) {
            return Err(ParamError::EmptyList { name: "allowed_token_ids" });
        }
        match &self.structured_outputs {
            Some(StructuredOutputs::Choice(texts)) if texts.is_empty() => {
                Err(ParamError::EmptyList { name: "structured_outputs.choice" })
            }
            _ => Ok(()),
        }
    }

    /// Whether a model with `vocab_size` tokens can do what is asked.
    ///
    /// # Errors
    /// [`ParamError::TokenOutsideVocab`]; [`ParamError::MoreThanVocab`].
    pub fn validate_for_vocab(&self, vocab_size: usize) -> Result<(), ParamError> {
        let stops = self.stop_token_ids.iter().map(|token_id| ("stop_token_ids", token_id));
        let allowed = self.allowed_token_ids.iter().flatten();
        let tokens = stops
            .chain(allowed.map(|token_id| ("allowed_token_ids", token_id)))
            .chain(self.logit_bias.keys().map(|token_id| ("logit_bias", token_id)));
        for (name, &TokenId(token_id)) in tokens {
            if token_id as usize >= vocab_size {
                return Err(ParamError::TokenOutsideVocab { name, token_id, vocab_size });
            }
        }
        for (name, value) in
            [("logprobs", self.logprobs), ("prompt_logprobs", self.prompt_logprobs)]
        {
            if let Some(value) = value
                && usize::try_from(value).is_ok_and(|value| value > vocab_size)
            {
                return Err(ParamError::MoreThanVocab { name, value, vocab_size });
            }
        }
        Ok(())
    }
}

fn check(
    name: &'static str,
    value: f64,
    is_legal: bool,
    legal: &'static str,
) -> Result<(), ParamError> {
    if is_legal { Ok(()) } else { Err(ParamError::OutOfRange { name, value, legal }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use alloc::vec;

    fn error(change: impl Fn(&mut SamplingParams)) -> Option<String> {
        let mut params = SamplingParams::default();
        change(&mut params);
        params.validate().err().map(|error| error.to_string())
    }

    /// The parameter that the error names, which is its first word.
    fn culprit(change: impl Fn(&mut SamplingParams)) -> Option<String> {
        error(change).and_then(|text| text.split(' ').next().map(String::from))
    }

    #[test]
    fn defaults_and_the_ends_of_the_ranges_are_legal() {
        assert_eq!(error(|_| ()), None);
        assert_eq!(error(|p| (p.temperature, p.top_p, p.min_p) = (0.0, 1e-6, 1.0)), None);
        assert_eq!(
            error(|p| (p.top_k, p.logprobs, p.prompt_logprobs) = (-1, Some(-1), Some(0))),
            None
        );
        assert_eq!(error(|p| (p.max_tokens, p.min_tokens) = (1, 1)), None);
        assert_eq!(error(|p| p.max_tokens = MAX_MODEL_LEN), None);
    }

    #[test]
    fn each_parameter_is_refused_by_name() {
        for bad in [-0.1, f32::NAN, f32::INFINITY] {
            assert_eq!(culprit(|p| p.temperature = bad).as_deref(), Some("temperature"), "{bad}");
        }
        for bad in [0.0, -0.5, 1.01, f32::NAN] {
            assert_eq!(culprit(|p| p.top_p = bad).as_deref(), Some("top_p"), "{bad}");
        }
        for bad in [-0.1, 1.1, f32::NAN] {
            assert_eq!(culprit(|p| p.min_p = bad).as_deref(), Some("min_p"), "{bad}");
        }
        assert_eq!(culprit(|p| p.top_k = -2).as_deref(), Some("top_k"));
        assert_eq!(culprit(|p| p.max_tokens = 0).as_deref(), Some("max_tokens"));
        assert_eq!(culprit(|p| p.max_tokens = usize::MAX).as_deref(), Some("max_tokens"));
        assert_eq!(culprit(|p| p.min_tokens = 17).as_deref(), Some("min_tokens"));
        assert_eq!(culprit(|p| p.logprobs = Some(-2)).as_deref(), Some("logprobs"));
        assert_eq!(culprit(|p| p.prompt_logprobs = Some(-2)).as_deref(), Some("prompt_logprobs"));
        assert_eq!(culprit(|p| p.stop = vec![String::new()]).as_deref(), Some("stop"));
        for bad in [0, 16_385, usize::MAX] {
            assert_eq!(culprit(|p| p.n = bad).as_deref(), Some("n"), "{bad}");
        }
        for bad in [-2.1, 2.1, f32::NAN] {
            let presence = culprit(|p| p.presence_penalty = bad);
            assert_eq!(presence.as_deref(), Some("presence_penalty"), "{bad}");
            let frequency = culprit(|p| p.frequency_penalty = bad);
            assert_eq!(frequency.as_deref(), Some("frequency_penalty"), "{bad}");
        }
        for bad in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let repetition = culprit(|p| p.repetition_penalty = bad);
            assert_eq!(repetition.as_deref(), Some("repetition_penalty"), "{bad}");
        }
        let bias = culprit(|p| p.logit_bias = [(TokenId(1), f32::NAN)].into());
        assert_eq!(bias.as_deref(), Some("logit_bias"));
        let words = culprit(|p| p.bad_words = vec!["  ".to_string()]);
        assert_eq!(words.as_deref(), Some("bad_words"));
        let texts = |len| (0..len).map(|i: usize| i.to_string()).collect::<Vec<_>>();
        assert_eq!(error(|p| (p.stop, p.bad_words) = (texts(1024), texts(1024))), None);
        assert_eq!(culprit(|p| p.stop = texts(1025)).as_deref(), Some("stop"));
        assert_eq!(culprit(|p| p.bad_words = texts(1025)).as_deref(), Some("bad_words"));
        let allowed = culprit(|p| p.allowed_token_ids = Some(vec![]));
        assert_eq!(allowed.as_deref(), Some("allowed_token_ids"));
        let choice = culprit(|p| p.structured_outputs = Some(StructuredOutputs::Choice(vec![])));
        assert_eq!(choice.as_deref(), Some("structured_outputs.choice"));
        let same = culprit(|p| (p.n, p.temperature) = (2, 0.0));
        assert_eq!(same.as_deref(), Some("n"));
        let unseen = culprit(|p| (p.stop, p.detokenize) = (vec!["x".to_string()], false));
        assert_eq!(unseen.as_deref(), Some("stop"));
    }

    #[test]
    fn an_error_says_the_value_and_what_would_do() {
        assert_eq!(
            error(|p| p.top_k = -5).as_deref(),
            Some("top_k is -5, but must be at least 1, or 0 or -1 to keep all tokens")
        );
        let text = error(|p| p.max_tokens = 0).unwrap_or_default();
        assert!(text.ends_with(&MAX_MODEL_LEN.to_string()), "{text}");
    }

    #[test]
    fn what_the_vocabulary_lacks_is_refused() {
        let outside =
            |name, token_id| ParamError::TokenOutsideVocab { name, token_id, vocab_size: 256 };
        let params = SamplingParams {
            stop_token_ids: vec![TokenId(255), TokenId(256)],
            logprobs: Some(256),
            ..SamplingParams::default()
        };
        assert_eq!(params.validate_for_vocab(256), Err(outside("stop_token_ids", 256)));
        assert_eq!(params.validate_for_vocab(257), Ok(()));
        let allowed_token_ids = Some(vec![TokenId(3), TokenId(999)]);
        let params = SamplingParams { allowed_token_ids, ..SamplingParams::default() };
        assert_eq!(params.validate_for_vocab(256), Err(outside("allowed_token_ids", 999)));
        let logit_bias = [(TokenId(256), 1.0)].into();
        let params = SamplingParams { logit_bias, ..SamplingParams::default() };
        assert_eq!(params.validate_for_vocab(256), Err(outside("logit_bias", 256)));
        let params = SamplingParams { prompt_logprobs: Some(5), ..SamplingParams::default() };
        let (name, value, vocab_size) = ("prompt_logprobs", 5, 4);
        assert_eq!(
            params.validate_for_vocab(4),
            Err(ParamError::MoreThanVocab { name, value, vocab_size })
        );
    }
}
