//! An answer as a stream.

use std::borrow::Cow;

use engine::RequestUpdate;
use serde_json::{Map, Value, json};

use super::form::Form;
use crate::error::ApiError;
use crate::openai::answer::{Heading, stop_reason};
use crate::openai::usage::{Usage, UsageSoFar};
use crate::tools::Reader;

/// Writes chunks.
pub(super) struct Chunks {
    heading: Heading,
    form: Form,
    /// What the first chunk is to tell.
    prompt_token_ids: Option<Vec<u32>>,
    usage: UsageSoFar,
    /// One for each sequence whose first chunk, with the role, has been written.
    readers: Vec<Option<Reader>>,
}

impl Chunks {
    pub(super) fn new(
        heading: Heading,
        form: Form,
        prompt_token_ids: Option<Vec<u32>>,
        usage: UsageSoFar,
    ) -> Chunks {
        Chunks { heading, form, prompt_token_ids, usage, readers: Vec::new() }
    }

    /// The chunks of an update; an error is the last thing that a stream says.
    pub(super) fn of(&mut self, update: Result<RequestUpdate, ApiError>) -> Vec<Value> {
        let update = match update {
            Ok(update) => update,
            Err(error) => return vec![error.body()],
        };
        let mut chunks = Vec::new();
        let so_far = self.usage.add(update.index, &update);
        self.readers.resize(self.readers.len().max(update.index + 1), None);
        let is_first = self.readers[update.index].is_none();
        if is_first {
            self.readers[update.index] = Some(self.form.reader());
            let delta = json!({ "role": self.form.role, "content": "" });
            let choice = json!({ "index": update.index, "delta": delta, "logprobs": null, "finish_reason": null });
            let mut chunk = self.chunk(vec![choice], so_far.clone());
            if let Some(token_ids) = self.prompt_token_ids.take() {
                chunk["prompt_token_ids"] = json!(token_ids);
            }
            chunks.push(chunk);
        }
        let text = match is_first {
            true => Cow::Owned(format!("{}{}", self.form.echoed, update.text_delta)),
            false => Cow::Borrowed(&*update.text_delta),
        };
        let choice = self.choice(&update, &text);
        chunks.extend(choice.map(|choice| self.chunk(vec![choice], so_far)));
        if let Some(output) = update.finished.filter(|_| self.usage.is_told()) {
            let mut usage = Usage::default();
            usage.add(&output);
            chunks.push(self.chunk(Vec::new(), Some(usage.json())));
        }
        chunks
    }

    /// What is new of a sequence with `text`; nothing if a step gave half a letter.
    fn choice(&mut self, update: &RequestUpdate, text: &str) -> Option<Value> {
        let reader = self.readers[update.index].as_mut()?;
        let said = reader.read(text, update.finish_reason.is_some());
        let reasoning = self.form.told(said.reasoning);
        let logprobs = self.form.logprobs.zip(update.new_logprobs.as_deref());
        let has_logprobs = logprobs.is_some_and(|(_, tokens)| !tokens.is_empty());
        let has_tokens = self.form.returns_token_ids && !update.new_token_ids.is_empty();
        let is_silent = reasoning.is_none() && said.content.is_empty() && said.calls.is_empty();
        if is_silent && update.finish_reason.is_none() && !has_logprobs && !has_tokens {
            return None;
        }
        let mut delta = Map::new();
        delta.extend(reasoning.map(|text| ("reasoning".to_owned(), Value::from(text))));
        if !said.content.is_empty() {
            delta.insert("content".to_owned(), Value::from(said.content));
        }
        if !said.calls.is_empty() {
            delta.insert("tool_calls".to_owned(), Value::from(said.calls));
        }
        let mut choice = json!({
            "index": update.index,
            "delta": delta,
            "logprobs": logprobs.map(|(style, tokens)| style.chat(tokens)),
            "finish_reason": update.finish_reason.map(|reason| reader.finish_reason(reason.name())),
        });
        if update.finish_reason.is_some() {
            choice["stop_reason"] = stop_reason(update.stop_reason.as_ref());
        }
        if self.form.returns_token_ids {
            choice["token_ids"] = json!(update.new_token_ids);
        }
        Some(choice)
    }

    fn chunk(&self, choices: Vec<Value>, usage: Option<Value>) -> Value {
        self.heading.chunk("chat.completion.chunk", choices, usage)
    }
}
