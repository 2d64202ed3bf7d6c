//! Answers as a stream.

use axum::response::Response;
use engine::RequestUpdate;
use engine::output::Logprob;
use futures_util::stream::{self, StreamExt, select_all};
use serde_json::Value;

use super::writer::Writer;
use super::{Echo, Form};
use crate::error::ApiError;
use crate::openai::answer::{Heading, Running, StreamOptions, events};
use crate::openai::prompt::ShownPrompt;
use crate::openai::usage::{Usage, UsageSoFar};

pub(super) fn stream(running: Vec<Running>, mut chunks: Chunks) -> Response {
    let numbered = running.into_iter().enumerate().map(|(prompt_idx, running)| {
        running.updates().map(move |update| (prompt_idx, update)).boxed()
    });
    let updates = select_all(numbered);
    events(
        updates.flat_map(move |(prompt_idx, update)| stream::iter(chunks.of(prompt_idx, update))),
    )
}

/// Writes chunks.
pub(super) struct Chunks {
    heading: Heading,
    form: Form,
    so_far: UsageSoFar,
    usage: Usage,
    num_unfinished: usize,
    prompts: Vec<PromptChunks>,
}

/// What has been written of the answers to one prompt.
struct PromptChunks {
    shown: ShownPrompt,
    logprobs: Option<Vec<Option<Vec<Logprob>>>>,
    /// What came before the log-probabilities of the prompt, which are written first.
    held: Vec<RequestUpdate>,
    /// One for each answer that has begun.
    writers: Vec<Option<Writer>>,
}

impl Chunks {
    pub(super) fn new(
        heading: Heading,
        form: Form,
        options: StreamOptions,
        shown: Vec<ShownPrompt>,
    ) -> Self {
        let prompt = |shown| PromptChunks {
            shown,
            logprobs: None,
            held: Vec::new(),
            writers: (0..form.n).map(|_| None).collect(),
        };
        Chunks {
            heading,
            form,
            so_far: UsageSoFar::new(options),
            usage: Usage::default(),
            num_unfinished: shown.len(),
            prompts: shown.into_iter().map(prompt).collect(),
        }
    }

    /// The chunks of an update; an error is the last thing that a stream says.
    fn of(&mut self, prompt_idx: usize, update: Result<RequestUpdate, ApiError>) -> Vec<Value> {
        let mut update = match update {
            Ok(update) => update,
            Err(error) => return vec![error.body()],
        };
        let prompt = &mut self.prompts[prompt_idx];
        let finished = update.finished.as_mut();
        let logprobs = update.prompt_logprobs.take();
        let logprobs = logprobs.or_else(|| finished?.prompt_logprobs.take());
        prompt.logprobs = prompt.logprobs.take().or(logprobs);
        let echoes_logprobs = self.form.echo != Echo::No && self.form.logprobs.is_some();
        if echoes_logprobs && prompt.logprobs.is_none() {
            prompt.held.push(update);
            return Vec::new();
        }
        let mut updates = std::mem::take(&mut prompt.held);
        updates.push(update);
        updates.iter().flat_map(|update| self.chunks(prompt_idx, update)).collect()
    }

    fn chunks(&mut self, prompt_idx: usize, update: &RequestUpdate) -> Vec<Value> {
        let index = prompt_idx * self.form.n + update.index;
        let so_far = self.so_far.add(index, update);
        let PromptChunks { shown, logprobs, writers, .. } = &mut self.prompts[prompt_idx];
        let writer = writers[update.index].get_or_insert_with(|| {
            let mut writer = Writer::new(self.form);
            writer.begin(shown, logprobs.as_deref().unwrap_or_default());
            writer
        });
        let logprobs = update.new_logprobs.as_deref().unwrap_or_default();
        writer.add(&update.text_delta, &update.new_token_ids, logprobs);
        let end = update.finish_reason.map(|reason| (reason, update.stop_reason.as_ref()));
        let mut chunks = Vec::new();
        if end.is_some() || !writer.is_silent() {
            let choice = writer.take(index, end);
            chunks.push(self.chunk(vec![choice], so_far));
        }
        if let Some(output) = &update.finished {
            self.usage.add(output);
            self.num_unfinished -= 1;
            if self.so_far.is_told() && self.num_unfinished == 0 {
                chunks.push(self.chunk(Vec::new(), Some(self.usage.json())));
            }
        }
        chunks
    }

    fn chunk(&self, choices: Vec<Value>, usage: Option<Value>) -> Value {
        self.heading.chunk("text_completion", choices, usage)
    }
}
