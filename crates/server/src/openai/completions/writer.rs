//! One answer as a choice, whole or piece by piece.

use engine::FinishReason;
use engine::output::{Logprob, StopReason};
use serde_json::{Value, json};

use super::{Echo, Form};
use crate::openai::answer::stop_reason;
use crate::openai::logprobs::CompletionLogprobs;
use crate::openai::prompt::ShownPrompt;

/// Writes one answer.
pub(super) struct Writer {
    form: Form,
    text: String,
    token_ids: Vec<u32>,
    logprobs: Option<CompletionLogprobs>,
    prompt_token_ids: Option<Vec<u32>>,
}

impl Writer {
    pub(super) fn new(form: Form) -> Self {
        Writer {
            form,
            text: String::new(),
            token_ids: Vec::new(),
            logprobs: form.logprobs.map(CompletionLogprobs::new),
            prompt_token_ids: None,
        }
    }

    /// The prompt, as far as it is part of the answer.
    pub(super) fn begin(&mut self, shown: &ShownPrompt, prompt_logprobs: &[Option<Vec<Logprob>>]) {
        if self.form.returns_token_ids {
            self.prompt_token_ids = Some(shown.token_ids.clone());
        }
        if self.form.echo == Echo::No {
            return;
        }
        self.text += &shown.text;
        if let (Some(logprobs), Some(&first_id)) = (&mut self.logprobs, shown.token_ids.first()) {
            logprobs.add_prompt((first_id, &shown.first_token), prompt_logprobs);
        }
    }

    /// What is answered.
    pub(super) fn add(&mut self, text: &str, token_ids: &[u32], logprobs: &[Vec<Logprob>]) {
        if self.form.echo == Echo::Alone {
            return;
        }
        self.text += text;
        self.token_ids.extend(token_ids);
        if let Some(written) = &mut self.logprobs {
            written.add(logprobs);
        }
    }

    /// Whether there is nothing to tell yet: a step may give half a letter.
    pub(super) fn is_silent(&self) -> bool {
        self.text.is_empty()
            && self.prompt_token_ids.is_none()
            && (!self.form.returns_token_ids || self.token_ids.is_empty())
            && self.logprobs.as_ref().is_none_or(CompletionLogprobs::is_empty)
    }

    /// What there is, as a choice, and why the answer ended if it has.
    pub(super) fn take(
        &mut self,
        index: usize,
        end: Option<(FinishReason, Option<&StopReason>)>,
    ) -> Value {
        let (finish_reason, stopped_by) = match (self.form.echo, end) {
            (_, None) => (None, None),
            (Echo::Alone, Some(_)) => (Some(FinishReason::Length), None),
            (_, Some((reason, stopped_by))) => (Some(reason), stopped_by),
        };
        let mut choice = json!({
            "index": index,
            "text": std::mem::take(&mut self.text),
            "logprobs": self.logprobs.as_mut().map(CompletionLogprobs::take),
            "finish_reason": finish_reason.map(FinishReason::name),
            "stop_reason": stop_reason(stopped_by),
        });
        let token_ids = std::mem::take(&mut self.token_ids);
        if self.form.returns_token_ids {
            choice["token_ids"] = json!(token_ids);
        }
        if let Some(token_ids) = self.prompt_token_ids.take() {
            choice["prompt_token_ids"] = json!(token_ids);
        }
        choice
    }
}
