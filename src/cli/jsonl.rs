//! Input lines: one JSON object each, with a prompt and sampling options by vLLM's names.

use engine::hub::nearest_name;
use engine::request_json::{logit_bias, structured_outputs};
use engine::text::Message;
use engine::{Prompt, TokenId};
use serde_json::{Map, Value};

use super::error::CliError;
use super::overrides::{OptionOverrides, SamplingOverrides};

/// What a line asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LineRequest {
    pub prompt: Prompt,
    pub sampling: SamplingOverrides,
    pub options: OptionOverrides,
}

const PROMPT_FIELDS: [&str; 3] = ["prompt", "prompt_token_ids", "messages"];

/// Variables of the chat template, for messages.
const TEMPLATE_ARGS: &str = "chat_template_kwargs";

/// What the scheduler and the KV cache are to know.
const OPTION_FIELDS: [&str; 2] = ["priority", "cache_salt"];

const SAMPLING_FIELDS: [&str; 23] = [
    "n",
    "max_tokens",
    "min_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logit_bias",
    "allowed_token_ids",
    "bad_words",
    "structured_outputs",
    "seed",
    "ignore_eos",
    "stop",
    "stop_token_ids",
    "include_stop_str_in_output",
    "detokenize",
    "skip_special_tokens",
    "logprobs",
    "prompt_logprobs",
];

/// vLLM's and OpenAI's fields that there is no code for yet.
const UNSUPPORTED_FIELDS: [&str; 11] = [
    "length_penalty",
    "early_stopping",
    "use_beam_search",
    "beam_width",
    "logits_processors",
    "guided_decoding",
    "truncate_prompt_tokens",
    "spaces_between_special_tokens",
    "tools",
    "response_format",
    "stream",
];

/// What vLLM dropped too, and why.
const BEST_OF: &str = "field `best_of` is not supported: it decodes answers that nobody gets";

/// Understands one line. Types are checked here; ranges are checked once all layers are together.
pub(crate) fn parse_line(line: &str) -> Result<LineRequest, CliError> {
    let value: Value = serde_json::from_str(line).map_err(|error| {
        // The line's own number is the user's; the column is all that matters here.
        let text = error.to_string();
        let what = text.split(" at line ").next().unwrap_or(&text).to_owned();
        CliError::usage(format!("not valid JSON at column {}: {what}", error.column()))
    })?;
    let Value::Object(fields) = value else {
        return Err(CliError::usage("not a JSON object")
            .with_hint("write one object per line, such as {\"prompt\": \"Hello\"}"));
    };
    refuse_strangers(&fields)?;
    Ok(LineRequest {
        prompt: prompt(&fields)?,
        sampling: sampling(&fields)?,
        options: options(&fields)?,
    })
}

/// Refuses fields that would otherwise be ignored.
fn refuse_strangers(fields: &Map<String, Value>) -> Result<(), CliError> {
    for name in fields.keys().map(String::as_str) {
        if known().any(|known| known == name) {
            continue;
        }
        if name == "best_of" {
            return Err(CliError::usage(BEST_OF)
                .with_hint("remove it; to choose among answers, ask for them with logprobs"));
        }
        if UNSUPPORTED_FIELDS.contains(&name) {
            return Err(CliError::usage(format!("field `{name}` is not supported yet"))
                .with_hint(format!("remove it; supported are {}", supported())));
        }
        let hint = match nearest_name(name, known()) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("supported are {}", supported()),
        };
        return Err(CliError::usage(format!("unknown field `{name}`")).with_hint(hint));
    }
    Ok(())
}

fn supported() -> String {
    known().collect::<Vec<_>>().join(", ")
}

fn known() -> impl Iterator<Item = &'static str> {
    PROMPT_FIELDS.into_iter().chain([TEMPLATE_ARGS]).chain(SAMPLING_FIELDS).chain(OPTION_FIELDS)
}

fn prompt(fields: &Map<String, Value>) -> Result<Prompt, CliError> {
    let given: Vec<(&str, &Value)> =
        PROMPT_FIELDS.into_iter().filter_map(|name| Some((name, present(fields, name)?))).collect();
    let [(name, value)] = given[..] else {
        let count = if given.is_empty() { "no" } else { "more than one" };
        return Err(CliError::usage(format!("{count} prompt on this line"))
            .with_hint("give exactly one of prompt, prompt_token_ids, messages"));
    };
    let mut prompt = match name {
        "prompt" => Prompt::Text(text(name, value)?),
        "prompt_token_ids" => Prompt::TokenIds(token_ids(name, value)?),
        _ => Prompt::from(messages(value)?),
    };
    let is_empty = match &prompt {
        Prompt::Text(text) | Prompt::BareText(text) => text.is_empty(),
        Prompt::TokenIds(ids) => ids.is_empty(),
        Prompt::Chat(conversation) => conversation.messages.is_empty(),
    };
    if is_empty {
        return Err(CliError::usage(format!("`{name}` is empty"))
            .with_hint("a model needs at least one token to go on from"));
    }
    match (&mut prompt, present(fields, TEMPLATE_ARGS)) {
        (_, None) => {}
        (Prompt::Chat(chat), Some(Value::Object(args))) => chat.template_args.clone_from(args),
        (Prompt::Chat(_), Some(value)) => return Err(wrong(TEMPLATE_ARGS, value, "an object")),
        (_, Some(_)) => {
            return Err(CliError::usage(format!("`{TEMPLATE_ARGS}` has no effect on `{name}`"))
                .with_hint("write the prompt into `messages`"));
        }
    }
    Ok(prompt)
}

fn messages(value: &Value) -> Result<Vec<Message>, CliError> {
    let Value::Array(items) = value else {
        return Err(wrong("messages", value, "a list of {\"role\", \"content\"}"));
    };
    let parse = |(index, item): (usize, &Value)| {
        serde_json::from_value(item.clone()).map_err(|error| {
            CliError::usage(format!("messages[{index}]: {error}"))
                .with_hint("a message is {\"role\": \"user\", \"content\": \"…\"}")
        })
    };
    items.iter().enumerate().map(parse).collect()
}

fn sampling(fields: &Map<String, Value>) -> Result<SamplingOverrides, CliError> {
    let read = Fields(fields);
    Ok(SamplingOverrides {
        n: read.whole("n")?,
        max_tokens: read.whole("max_tokens")?,
        min_tokens: read.whole("min_tokens")?,
        temperature: read.number("temperature")?,
        top_p: read.number("top_p")?,
        top_k: read.count("top_k")?,
        min_p: read.number("min_p")?,
        presence_penalty: read.number("presence_penalty")?,
        frequency_penalty: read.number("frequency_penalty")?,
        repetition_penalty: read.number("repetition_penalty")?,
        logit_bias: read.with("logit_bias", logit_bias)?,
        allowed_token_ids: read.tokens("allowed_token_ids")?,
        bad_words: read.texts("bad_words")?,
        structured_outputs: read.with("structured_outputs", structured_outputs)?,
        seed: read.whole("seed")?,
        ignore_eos: read.flag("ignore_eos")?,
        stop: read.texts("stop")?,
        stop_token_ids: read.tokens("stop_token_ids")?,
        include_stop_str_in_output: read.flag("include_stop_str_in_output")?,
        detokenize: read.flag("detokenize")?,
        skip_special_tokens: read.flag("skip_special_tokens")?,
        logprobs: read.optional_count("logprobs")?,
        prompt_logprobs: read.optional_count("prompt_logprobs")?,
    })
}

fn options(fields: &Map<String, Value>) -> Result<OptionOverrides, CliError> {
    let read = Fields(fields);
    let priority = |value: &Value| i32::try_from(value.as_i64()?).ok();
    Ok(OptionOverrides {
        priority: read.read("priority", "a whole number of 32 bits", priority)?,
        cache_salt: present(fields, "cache_salt")
            .map(|salt| text("cache_salt", salt))
            .transpose()?,
    })
}

/// The fields of a line, each read as what it must be.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn whole<T: TryFrom<u64>>(&self, name: &str) -> Result<Option<T>, CliError> {
        self.read(name, "a whole number from 0 up", |value| T::try_from(value.as_u64()?).ok())
    }

    fn number(&self, name: &str) -> Result<Option<f32>, CliError> {
        self.read(name, "a number", |value| Some(value.as_f64()? as f32))
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, CliError> {
        self.read(name, "true or false", Value::as_bool)
    }

    /// A count, or −1 for all.
    fn count(&self, name: &str) -> Result<Option<i32>, CliError> {
        let count = |value: &Value| i32::try_from(value.as_i64()?).ok();
        self.read(name, "a whole number, or -1 for all", count)
    }

    fn read<T>(
        &self,
        name: &str,
        must_be: &str,
        as_type: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, CliError> {
        match present(self.0, name) {
            None => Ok(None),
            Some(value) => as_type(value).map(Some).ok_or_else(|| wrong(name, value, must_be)),
        }
    }

    /// A field that says itself what is wrong with it.
    fn with<T>(
        &self,
        name: &str,
        read: impl Fn(&Value) -> Result<T, String>,
    ) -> Result<Option<T>, CliError> {
        present(self.0, name).map(|value| read(value).map_err(CliError::usage)).transpose()
    }

    /// The same, where `null` means "none" and not "as it was".
    fn optional_count(&self, name: &str) -> Result<Option<Option<i32>>, CliError> {
        match self.0.get(name) {
            Some(Value::Null) => Ok(Some(None)),
            _ => Ok(self.count(name)?.map(Some)),
        }
    }

    /// A text or a list of texts.
    fn texts(&self, name: &str) -> Result<Option<Vec<String>>, CliError> {
        let Some(value) = present(self.0, name) else {
            return Ok(None);
        };
        match value {
            Value::Array(items) => {
                items.iter().map(|item| text(name, item)).collect::<Result<_, _>>().map(Some)
            }
            single => Ok(Some(vec![text(name, single)?])),
        }
    }

    fn tokens(&self, name: &str) -> Result<Option<Vec<TokenId>>, CliError> {
        let Some(value) = present(self.0, name) else {
            return Ok(None);
        };
        Ok(Some(token_ids(name, value)?.into_iter().map(TokenId).collect()))
    }
}

/// `null` is as good as absent.
fn present<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|value| !value.is_null())
}

fn text(name: &str, value: &Value) -> Result<String, CliError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        _ => Err(wrong(name, value, "a text")),
    }
}

fn token_ids(name: &str, value: &Value) -> Result<Vec<u32>, CliError> {
    let Value::Array(items) = value else {
        return Err(wrong(name, value, "a list of token ids"));
    };
    let id = |item: &Value| {
        let id = item.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| wrong(name, item, "made of token ids, whole numbers from 0 up"))
    };
    items.iter().map(id).collect()
}

fn wrong(name: &str, value: &Value, must_be: &str) -> CliError {
    let mut found = value.to_string();
    if let Some((end, _)) = found.char_indices().nth(60) {
        found.truncate(end);
        found.push('…');
    }
    CliError::usage(format!("`{name}` must be {must_be}, not {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::StructuredOutputs;

    fn message(line: &str) -> String {
        match parse_line(line) {
            Err(CliError::Usage { message, hint }) => {
                format!("{message}\n{}", hint.unwrap_or_default())
            }
            other => panic!("{line} gave {other:?}"),
        }
    }

    #[test]
    fn every_field_is_read() {
        let request = parse_line(
            r#"{"prompt_token_ids": [1, 2], "n": 1, "max_tokens": 5, "min_tokens": 1, "temperature": 0.5,
                "top_p": 0.9, "top_k": -1, "min_p": 0.1, "seed": 18446744073709551615,
                "presence_penalty": 0.5, "frequency_penalty": -1, "repetition_penalty": 1.25,
                "logit_bias": {"7": -3}, "allowed_token_ids": [7, 8], "bad_words": ["x", "y z"],
                "structured_outputs": {"choice": ["p"]}, "detokenize": false,
                "ignore_eos": true, "stop": ["a", "b"], "stop_token_ids": [7],
                "include_stop_str_in_output": true, "skip_special_tokens": false,
                "logprobs": 5, "prompt_logprobs": 0}"#,
        )
        .unwrap();
        assert_eq!(request.prompt, Prompt::TokenIds(vec![1, 2]));
        assert_eq!(
            request.sampling,
            SamplingOverrides {
                n: Some(1),
                max_tokens: Some(5),
                min_tokens: Some(1),
                temperature: Some(0.5),
                top_p: Some(0.9),
                top_k: Some(-1),
                min_p: Some(0.1),
                presence_penalty: Some(0.5),
                frequency_penalty: Some(-1.0),
                repetition_penalty: Some(1.25),
                logit_bias: Some([(TokenId(7), -3.0)].into()),
                allowed_token_ids: Some(vec![TokenId(7), TokenId(8)]),
                bad_words: Some(vec!["x".into(), "y z".into()]),
                structured_outputs: Some(StructuredOutputs::Choice(vec!["p".into()])),
                seed: Some(u64::MAX),
                ignore_eos: Some(true),
                stop: Some(vec!["a".into(), "b".into()]),
                stop_token_ids: Some(vec![TokenId(7)]),
                include_stop_str_in_output: Some(true),
                detokenize: Some(false),
                skip_special_tokens: Some(false),
                logprobs: Some(Some(5)),
                prompt_logprobs: Some(Some(0)),
            }
        );
    }

    #[test]
    fn null_is_absent_except_where_it_means_none() {
        let request =
            parse_line(r#"{"prompt": "x", "messages": null, "seed": null, "logprobs": null}"#)
                .unwrap();
        let expected = SamplingOverrides { logprobs: Some(None), ..SamplingOverrides::default() };
        assert_eq!(request.sampling, expected);
    }

    #[test]
    fn options_are_the_schedulers() {
        let request =
            parse_line(r#"{"prompt": "x", "priority": -2, "cache_salt": "tenant"}"#).unwrap();
        let salt = || Some("tenant".to_owned());
        let options = OptionOverrides { priority: Some(-2), cache_salt: salt() };
        assert_eq!(request.options, options);
        let silent = parse_line(r#"{"prompt": "x"}"#).unwrap().options;
        assert_eq!(silent, OptionOverrides::default());
        // A line wins over flags, in what it says.
        let flags = OptionOverrides { priority: Some(7), cache_salt: Some("other".to_owned()) };
        let over = |line: &OptionOverrides| {
            let options = line.clone().over(&flags);
            (options.priority, options.cache_salt)
        };
        assert_eq!(over(&options), (-2, salt()));
        assert_eq!(over(&silent), (7, Some("other".to_owned())));
        let salted = OptionOverrides { priority: None, ..options };
        assert_eq!(over(&salted), (7, salt()));
        let error = message(r#"{"prompt": "x", "priority": 3000000000}"#);
        assert!(error.contains("32 bits"), "{error}");
    }

    #[test]
    fn a_single_stop_text_needs_no_list() {
        let request = parse_line(r#"{"prompt": "x", "stop": "\n\n"}"#).unwrap();
        assert_eq!(request.sampling.stop, Some(vec!["\n\n".to_owned()]));
    }

    #[test]
    fn messages_keep_their_order_and_refuse_strangers() {
        let request = parse_line(
            r#"{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]}"#,
        )
        .unwrap();
        let expected = vec![Message::new("system", "s"), Message::new("user", "u")];
        assert_eq!(request.prompt, Prompt::from(expected));
        let error = message(r#"{"messages": [{"role": "user", "content": "u", "mood": "x"}]}"#);
        assert!(error.contains("messages[0]") && error.contains("`mood`"), "{error}");
    }

    #[test]
    fn bad_fields_are_named() {
        for (line, expected) in [
            ("{\"prompt\": \"x\"", "not valid JSON at column"),
            ("[1]", "not a JSON object"),
            ("{}", "no prompt"),
            (r#"{"prompt": "x", "prompt_token_ids": [1]}"#, "more than one prompt"),
            (r#"{"prompt": ""}"#, "`prompt` is empty"),
            (r#"{"prompt_token_ids": []}"#, "`prompt_token_ids` is empty"),
            (r#"{"messages": []}"#, "`messages` is empty"),
            (r#"{"prompt": "x", "chat_template_kwargs": {}}"#, "no effect on `prompt`"),
            (
                r#"{"messages": [{"role": "user", "content": "u"}], "chat_template_kwargs": 1}"#,
                "`chat_template_kwargs` must be an object, not 1",
            ),
            (r#"{"prompt": 5}"#, "`prompt` must be a text, not 5"),
            (r#"{"prompt_token_ids": [-1]}"#, "not -1"),
            (r#"{"prompt_token_ids": [4294967296]}"#, "not 4294967296"),
            (r#"{"prompt": "x", "temperatur": 1}"#, "did you mean `temperature`?"),
            (r#"{"prompt": "x", "max_token": 1}"#, "did you mean `max_tokens`?"),
            (r#"{"prompt": "x", "zzz": 1}"#, "unknown field `zzz`\nsupported are prompt"),
            (r#"{"prompt": "x", "best_of": 2}"#, "field `best_of` is not supported: it decodes"),
            (r#"{"prompt": "x", "use_beam_search": true}"#, "not supported yet"),
            (r#"{"prompt": "x", "repetition_penalty": "1"}"#, "`repetition_penalty` must be a"),
            (r#"{"prompt": "x", "logit_bias": [1]}"#, "logit_bias must be an object"),
            (r#"{"prompt": "x", "structured_outputs": {}}"#, "exactly one of json, regex"),
            (r#"{"prompt": "x", "max_tokens": 1.5}"#, "not 1.5"),
            (r#"{"prompt": "x", "max_tokens": "7"}"#, "not \"7\""),
            (r#"{"prompt": "x", "temperature": "hot"}"#, "`temperature` must be a number"),
            (r#"{"prompt": "x", "top_k": 0.5}"#, "or -1 for all"),
            (r#"{"prompt": "x", "seed": -1}"#, "`seed`"),
            (r#"{"prompt": "x", "ignore_eos": 1}"#, "true or false"),
        ] {
            let error = message(line);
            assert!(error.contains(expected), "{line} gave {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_line_makes_it_panic(line in r#"\{("(prompt|seed|stop|logprobs|x)": ?(-?[0-9]{1,25}(\.[0-9]e[0-9]{1,4})?|"[^"]{0,9}"|null|\[[0-9, ]*\]),? ?){0,4}\}?"#) {
            let _ = parse_line(&line);
        }
    }
}
