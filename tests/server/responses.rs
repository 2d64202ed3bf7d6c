//! `/v1/responses`: one answer, whole or as named events.

use std::io::{BufRead, BufReader};

use serde_json::{Value, json};

use crate::running::{Running, serve};
use crate::with;

const RESPONSES: &str = "/v1/responses";

/// Each event's name and data.
fn events(server: &Running, body: &Value) -> Vec<(String, Value)> {
    let mut response = ureq::post(server.url(RESPONSES)).send(body.to_string()).unwrap();
    let lines = BufReader::new(response.body_mut().as_reader()).lines().map(Result::unwrap);
    let mut name = String::new();
    let mut events = Vec::new();
    for line in lines {
        if let Some(event) = line.strip_prefix("event: ") {
            name = event.to_owned();
        } else if let Some(data) = line.strip_prefix("data: ") {
            events.push((name.clone(), serde_json::from_str(data).unwrap()));
        }
    }
    events
}

#[test]
fn a_response_is_whole_or_events_that_add_up_to_it() {
    let server = serve(&[]);
    let body = json!({
        "model": "smollm2", "input": "Name a colour of the sky.", "instructions": "You are brief.",
        "temperature": 0, "max_output_tokens": 12, "store": false, "metadata": { "a": "b" }, "user": "me",
    });
    let whole = server.post(RESPONSES, &body).ok();
    let messages = [("system", "You are brief."), ("user", "Name a colour of the sky.")]
        .map(|(role, content)| json!({ "role": role, "content": content }));
    let chat = json!({ "messages": messages, "temperature": 0, "max_tokens": 12 });
    let chat = server.post(crate::CHAT, &chat).ok();
    let message = &whole["output"][0];
    assert_eq!(message["content"][0]["text"], chat["choices"][0]["message"]["content"]);
    assert_eq!(whole["usage"]["input_tokens"], chat["usage"]["prompt_tokens"]);
    assert_eq!(whole["usage"]["output_tokens"], chat["usage"]["completion_tokens"]);
    let is_cut = chat["choices"][0]["finish_reason"] == "length";
    assert_eq!(whole["status"], if is_cut { "incomplete" } else { "completed" });
    assert_eq!(whole["metadata"], json!({ "a": "b" }));

    let events = events(&server, &with(body.clone(), json!({ "stream": true })));
    for (number, (name, data)) in events.iter().enumerate() {
        assert_eq!((&data["type"], &data["sequence_number"]), (&json!(name), &json!(number)));
    }
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    let begin = ["created", "in_progress", "output_item.added", "content_part.added"];
    assert_eq!(names[..4], begin.map(|name| format!("response.{name}")));
    let end = [
        "output_text.done",
        "content_part.done",
        "output_item.done",
        whole["status"].as_str().unwrap(),
    ];
    assert_eq!(names[names.len() - 4..], end.map(|name| format!("response.{name}")));
    let deltas = &events[4..events.len() - 4];
    assert!(deltas.iter().all(|(name, _)| name == "response.output_text.delta"));
    let text: String = deltas.iter().map(|(_, data)| data["delta"].as_str().unwrap()).collect();
    assert_eq!(text, message["content"][0]["text"].as_str().unwrap());
    let last = &events.last().unwrap().1["response"];
    assert_eq!(
        (&last["output"][0]["content"], &last["usage"]["output_tokens"]),
        (&message["content"], &whole["usage"]["output_tokens"])
    );

    // The conversation goes on with what was answered, as it was answered.
    let input = json!([{ "role": "user", "content": [{ "type": "input_text", "text": "Hi" }] }, message,
        { "type": "message", "role": "user", "content": "And?" }]);
    let format =
        json!({ "format": { "type": "json_schema", "name": "n", "schema": { "enum": [1, 2] } } });
    let more = json!({ "input": input, "instructions": null, "text": format });
    let number = server.post(RESPONSES, &with(body, more)).ok();
    assert!(["1", "2"].contains(&number["output"][0]["content"][0]["text"].as_str().unwrap()));
    assert_eq!(
        (&number["status"], &number["text"]["format"]["name"]),
        (&json!("completed"), &json!("n"))
    );
}

/// An answer as a client sends it back.
fn with_logprobs(logprobs: Value) -> Value {
    let part =
        json!({ "type": "output_text", "text": "Hi", "annotations": [], "logprobs": logprobs });
    json!({ "role": "assistant", "content": [part] })
}

#[test]
fn what_a_response_cannot_have_is_refused_by_name() {
    let server = serve(&[]);
    for (more, word) in [
        (json!({ "store": true }), "keeps no answers"),
        (json!({ "previous_response_id": "resp_1" }), "previous_response_id"),
        (json!({ "tools": [] }), "/v1/chat/completions"),
        (json!({ "background": true }), "background"),
        (json!({ "input": [] }), "at least one message"),
        (json!({ "input": 5 }), "`input` must be"),
        (json!({ "input": [with_logprobs(json!([{}]))] }), "`input` must be"),
        (
            json!({ "input": [{ "role": "user", "content": [{ "type": 0, "text": "" }] }] }),
            "`input` must be",
        ),
        (json!({ "truncation": "auto" }), "truncation"),
        (json!({ "max_tokens": 5 }), "did you mean"),
        (json!({ "stream": true, "temperature": -1 }), "temperature"),
    ] {
        let error = server.post(RESPONSES, &with(json!({ "input": "Hi" }), more)).refused(400);
        assert!(error["message"].as_str().unwrap().contains(word), "{error} does not say {word}");
    }
}
