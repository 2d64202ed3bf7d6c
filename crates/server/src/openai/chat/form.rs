//! What is written of an answer.

use engine::text::Message;
use serde_json::{Value, json};
use tool_calls::ReasoningParser;

use super::request::ChatRequest;
use crate::app::App;
use crate::error::ApiError;
use crate::openai::logprobs::Style;
use crate::openai::prompt::{ShownPrompt, Shows};
use crate::served_model::{Generate, ServedModel};
use crate::tools::{Reader, ToolUse};

/// What is written of an answer.
pub(super) struct Form {
    /// Who answers: whoever said what is continued, else the assistant.
    pub(super) role: String,
    /// What the answer begins with.
    pub(super) echoed: String,
    pub(super) logprobs: Option<Style>,
    /// Likeliest candidates of `prompt_logprobs`.
    pub(super) num_prompt_top: Option<i32>,
    pub(super) returns_token_ids: bool,
    pub(super) thoughts: Option<Thoughts>,
    pub(super) tool_use: ToolUse,
}

/// How what the model thinks is told apart from its answers.
pub(super) struct Thoughts {
    parser: ReasoningParser,
    /// Whether answers begin within a thought; the prompt tells where no message is continued.
    is_thinking: Option<bool>,
    /// Whether the client wants to hear of it.
    is_told: bool,
}

impl Form {
    pub(super) fn reader(&self) -> Reader {
        let reasoning = self.thoughts.as_ref();
        let reasoning =
            reasoning.map(|thoughts| thoughts.parser.reader(thoughts.is_thinking == Some(true)));
        self.tool_use.reader().behind(reasoning)
    }

    /// Looks at the prompt before it is answered, if it must: it may open a thought. Gives its tokens, if they are to
    /// be told.
    pub(super) async fn take_prompt(
        &mut self,
        app: &App,
        generate: &mut Generate,
    ) -> Result<Option<Vec<u32>>, ApiError> {
        let shows = match (&self.thoughts, self.returns_token_ids) {
            (None, false) => return Ok(None),
            (None, true) => Shows::Tokens,
            (Some(_), _) => Shows::End,
        };
        let shown = ShownPrompt::take(app, generate, shows).await?;
        if let Some(thoughts) = &mut self.thoughts {
            thoughts.begin(&shown.text);
        }
        Ok(Some(shown.token_ids).filter(|_| self.returns_token_ids))
    }

    /// What is told of a thought.
    pub(super) fn told(&self, reasoning: String) -> Option<String> {
        let is_told = self.thoughts.as_ref().is_some_and(|thoughts| thoughts.is_told);
        Some(reasoning).filter(|reasoning| is_told && !reasoning.is_empty())
    }

    /// What the assistant says with `text`: nothing at all, where it only calls tools.
    pub(super) fn message(&self, reader: &mut Reader, text: &str) -> Value {
        let mut said = reader.read(&[&self.echoed, text].concat(), true);
        let mut message = json!({ "role": self.role, "content": said.content, "refusal": null });
        let is_silent = said.content.is_empty();
        if self.thoughts.is_some() {
            if is_silent && !said.reasoning.is_empty() {
                message["content"] = Value::Null;
            }
            message["reasoning"] = json!(self.told(said.reasoning));
        }
        if !said.calls.is_empty() {
            for call in said.calls.iter_mut().filter_map(Value::as_object_mut) {
                call.shift_remove("index");
            }
            if is_silent {
                message["content"] = Value::Null;
            }
            message["tool_calls"] = Value::from(said.calls);
        }
        message
    }
}

impl Thoughts {
    /// What becomes of the model's thoughts. An answer of a given form has none: it has the form from its first token on.
    pub(super) fn new(
        request: &ChatRequest,
        model: &ServedModel,
        continued: Option<&Message>,
        has_form: bool,
    ) -> Result<Option<Thoughts>, ApiError> {
        let Some(parser) = model.reasoning_parser else {
            let message = "`include_reasoning` needs a server that tells thoughts apart: start it with --reasoning-parser";
            return match request.include_reasoning {
                Some(false) => Err(ApiError::bad_field("include_reasoning", message)),
                _ => Ok(None),
            };
        };
        if has_form {
            return Ok(None);
        }
        // What is echoed is read with the answer, from its beginning.
        let is_read = request.echo == Some(true);
        let is_thinking = continued.map(|message| !is_read && parser.is_open_in(&message.text()));
        Ok(Some(Thoughts {
            parser,
            is_thinking,
            is_told: request.include_reasoning.unwrap_or(true),
        }))
    }

    /// The end of the prompt is known.
    fn begin(&mut self, prompt: &str) {
        self.is_thinking.get_or_insert(self.parser.is_opened_by(prompt));
    }
}
