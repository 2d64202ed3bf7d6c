//! A response as a stream of named events.

use engine::{FinishReason, RequestUpdate};
use serde_json::{Value, json};

use super::{Shown, part, status};
use crate::error::ApiError;

/// A name, and what it says.
type Event = (&'static str, Value);

/// Writes events, each with its number.
pub(super) struct Events {
    shown: Shown,
    num_events: u64,
    /// The text so far.
    text: String,
}

impl Events {
    pub(super) fn new(shown: Shown) -> Self {
        Events { shown, num_events: 0, text: String::new() }
    }

    /// What comes before the first token.
    pub(super) fn begin(&mut self) -> Vec<Event> {
        let response = self.shown.response("in_progress");
        let item = self.shown.message("in_progress", None);
        vec![
            self.event("response.created", json!({ "response": response })),
            self.event("response.in_progress", json!({ "response": response })),
            self.event("response.output_item.added", json!({ "output_index": 0, "item": item })),
            self.event_of_part("response.content_part.added", json!({ "part": part("") })),
        ]
    }

    /// What an update adds; an error is the last thing that a stream says.
    pub(super) fn of(&mut self, update: Result<RequestUpdate, ApiError>) -> Vec<Event> {
        let update = match update {
            Ok(update) => update,
            Err(error) => return vec![self.failed(&error)],
        };
        let mut events = Vec::new();
        if !update.text_delta.is_empty() {
            self.text += &update.text_delta;
            let delta = json!({ "delta": update.text_delta, "logprobs": [] });
            events.push(self.event_of_part("response.output_text.delta", delta));
        }
        if let Some(output) = &update.finished {
            match self.shown.whole(output) {
                Ok(response) => events.extend(self.end(update.finish_reason, response)),
                Err(error) => events.push(self.failed(&error)),
            }
        }
        events
    }

    fn end(&mut self, reason: Option<FinishReason>, response: Value) -> [Event; 4] {
        let status = status(reason.unwrap_or(FinishReason::Stop));
        let text = std::mem::take(&mut self.text);
        let item = self.shown.message(status, Some(&text));
        let last =
            if status == "incomplete" { "response.incomplete" } else { "response.completed" };
        let done = json!({ "text": text, "logprobs": [] });
        [
            self.event_of_part("response.output_text.done", done),
            self.event_of_part("response.content_part.done", json!({ "part": part(&text) })),
            self.event("response.output_item.done", json!({ "output_index": 0, "item": item })),
            self.event(last, json!({ "response": response })),
        ]
    }

    fn failed(&mut self, error: &ApiError) -> Event {
        let mut response = self.shown.response("failed");
        let message = error.body()["error"]["message"].take();
        response["error"] = json!({ "code": "server_error", "message": message });
        self.event("response.failed", json!({ "response": response }))
    }

    fn event(&mut self, name: &'static str, mut data: Value) -> Event {
        data["type"] = Value::from(name);
        data["sequence_number"] = Value::from(self.num_events);
        self.num_events += 1;
        (name, data)
    }

    /// An event of the one part of the one message.
    fn event_of_part(&mut self, name: &'static str, mut data: Value) -> Event {
        data["item_id"] = Value::from(self.shown.message_id());
        data["output_index"] = Value::from(0);
        data["content_index"] = Value::from(0);
        self.event(name, data)
    }
}
