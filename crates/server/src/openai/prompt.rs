//! What an answer says of its prompt.

use engine::Prompt;
use engine::output::Logprob;
use serde_json::{Value, json};

use super::logprobs::finite;
use crate::app::App;
use crate::error::ApiError;
use crate::served_model::Generate;

/// What is wanted of a prompt besides its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    Tokens,
    /// What its text ends with.
    End,
    /// All of its text.
    Text,
}

/// A prompt as the model sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct ShownPrompt {
    pub(super) token_ids: Vec<u32>,
    /// As it was given, or what its tokens say, as far as it is wanted.
    pub(super) text: String,
    /// With the text, that of the first token, of which there are no log-probabilities.
    pub(super) first_token: String,
}

/// Tokens that an end has: a tag, however it is cut, and white space.
const NUM_END_TOKENS: usize = 32;

impl ShownPrompt {
    /// The prompt of `generate`, which is asked in tokens from now on.
    pub(super) async fn take(
        app: &App,
        generate: &mut Generate,
        shows: Shows,
    ) -> Result<ShownPrompt, ApiError> {
        let prompt = generate.prompt.clone();
        let shown = app.llm.with(move |llm| {
            let token_ids = llm.encode(&prompt)?;
            let end = &token_ids[token_ids.len().saturating_sub(NUM_END_TOKENS)..];
            let text = match (shows, prompt) {
                (Shows::Tokens, _) => String::new(),
                (Shows::End, _) => llm.decode(end)?,
                (Shows::Text, Prompt::Text(text) | Prompt::BareText(text)) => text,
                (Shows::Text, _) => llm.decode(&token_ids)?,
            };
            let first_token = match (shows, token_ids.first()) {
                (Shows::Text, Some(&first)) => llm.token_texts(&[first])?.concat(),
                _ => String::new(),
            };
            Ok::<_, engine::LlmError>(ShownPrompt { token_ids, text, first_token })
        });
        let shown = shown.await??;
        generate.prompt = Prompt::TokenIds(shown.token_ids.clone());
        Ok(shown)
    }
}

/// vLLM's form: for each token of the prompt itself and the `num_top` likeliest, by their ids; nothing for the first.
pub(super) fn prompt_logprobs_json(list: &[Option<Vec<Logprob>>], num_top: i32) -> Value {
    let candidate = |logprob: &Logprob| {
        let value = json!({
            "logprob": finite(logprob.logprob),
            "rank": logprob.rank,
            "decoded_token": logprob.decoded_token,
        });
        (logprob.token_id.to_string(), value)
    };
    let token = |candidates: &Option<Vec<Logprob>>| {
        let [chosen, others @ ..] = candidates.as_deref()? else { return None };
        let is_wanted = |other: &&Logprob| num_top == -1 || other.rank as i64 <= i64::from(num_top);
        let candidates = std::iter::once(chosen).chain(others.iter().filter(is_wanted));
        Some(Value::Object(candidates.map(candidate).collect()))
    };
    Value::from(
        list.iter().map(|candidates| token(candidates).unwrap_or_default()).collect::<Vec<_>>(),
    )
}
