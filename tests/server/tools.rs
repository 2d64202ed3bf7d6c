//! Tools: what a request says of them, and calls in answers, whole and streamed.

use serde_json::{Value, json};

use crate::running::{Running, serve};
use crate::{CHAT, question, with};

const TEMPLATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/tools.jinja");

fn tools() -> Value {
    let lamp = json!({
        "type": "object",
        "properties": { "lamp": { "$ref": "#/$defs/lamp" }, "on": { "type": "boolean" } },
        "required": ["lamp", "on"],
        "additionalProperties": false,
        "$defs": { "lamp": { "enum": ["red", "green"] } },
    });
    json!([
        { "type": "function", "function": { "name": "switch", "description": "A lamp", "parameters": lamp } },
        { "type": "function", "function": { "name": "wait" } },
    ])
}

fn asked(more: Value) -> Value {
    let asked =
        with(question("Switch the red lamp on."), json!({ "max_tokens": 200, "tools": tools() }));
    with(asked, more)
}

/// The message that chunks add up to, as a client does it, and why it ended.
fn joined(chunks: &[Value]) -> (Value, Value) {
    let mut message = json!({ "content": "", "tool_calls": [] });
    let mut finish_reason = Value::Null;
    for choice in chunks.iter().map(|chunk| &chunk["choices"][0]) {
        let delta = &choice["delta"];
        let content = delta["content"].as_str().unwrap_or_default();
        message["content"] = json!(format!("{}{content}", message["content"].as_str().unwrap()));
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().unwrap() as usize;
            let calls = message["tool_calls"].as_array_mut().unwrap();
            if index == calls.len() {
                calls.push(call.clone());
            } else {
                let arguments = &mut calls[index]["function"]["arguments"];
                let more = call["function"]["arguments"].as_str().unwrap();
                *arguments = json!(format!("{}{more}", arguments.as_str().unwrap()));
            }
        }
        if !choice["finish_reason"].is_null() {
            finish_reason = choice["finish_reason"].clone();
        }
    }
    (message, finish_reason)
}

fn functions(message: &Value) -> Vec<Value> {
    let calls = message["tool_calls"].as_array().into_iter().flatten();
    calls.map(|call| call["function"].clone()).collect()
}

/// The calls of an answer that must be the same streamed, and why it ended.
fn called(server: &Running, request: &Value) -> (Vec<Value>, Value) {
    let whole = server.post(CHAT, request).ok();
    let choice = &whole["choices"][0];
    let chunks = server.stream(CHAT, &with(request.clone(), json!({ "stream": true })));
    let (message, finish_reason) = joined(&chunks);
    assert_eq!(functions(&message), functions(&choice["message"]));
    assert_eq!(message["content"], choice["message"]["content"].as_str().unwrap_or_default());
    assert_eq!(finish_reason, choice["finish_reason"]);
    (functions(&choice["message"]), finish_reason)
}

#[test]
fn calls_that_must_come_keep_to_their_schemas() {
    let server = serve(&["--chat-template", TEMPLATE, "--enable-auto-tool-choice"]);
    let (calls, reason) =
        called(&server, &asked(json!({ "tool_choice": "required", "parallel_tool_calls": false })));
    assert_eq!((calls.len(), reason), (1, json!("tool_calls")));
    let required = asked(json!({ "tool_choice": "required", "stream": true, "temperature": 0 }));
    let chunks = server.stream(CHAT, &required);
    let arguments =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].as_array());
    assert!(arguments.count() >= 4, "arguments are told as they come");
    let named = json!({ "type": "function", "function": { "name": "switch" } });
    let (calls, reason) = called(&server, &asked(json!({ "tool_choice": named })));
    assert_eq!((calls.len(), reason), (1, json!("stop")), "as in OpenAI's API");
    assert_eq!(calls[0]["name"], "switch");
    let arguments: Value = serde_json::from_str(calls[0]["arguments"].as_str().unwrap()).unwrap();
    assert!(
        arguments["on"].is_boolean()
            && ["red", "green"].contains(&arguments["lamp"].as_str().unwrap())
    );
    // Cut off, they are what there is of them.
    let cut = asked(json!({ "tool_choice": named, "max_tokens": 2 }));
    assert_eq!(called(&server, &cut).1, "length");
    let cut = asked(json!({ "tool_choice": "required", "max_tokens": 3 }));
    assert_eq!(called(&server, &cut), (vec![], json!("length")));
    // Left to itself this model calls nothing, or something: both ways say the same.
    called(&server, &asked(json!({ "max_tokens": 40, "temperature": 1, "seed": 3 })));
    let none = server.post(CHAT, &asked(json!({ "tool_choice": "none", "max_tokens": 4 }))).ok();
    assert!(none["choices"][0]["message"]["content"].is_string());
}

#[test]
fn calls_and_what_tools_answer_are_part_of_a_conversation() {
    let server = serve(&["--chat-template", TEMPLATE]);
    let call = json!({ "name": "switch", "arguments": "{\"lamp\": \"red\", \"on\": true}" });
    let messages = json!([
        { "role": "user", "content": "Switch the red lamp on." },
        { "role": "assistant", "content": null, "refusal": null,
          "tool_calls": [{ "id": "a", "type": "function", "function": call }] },
        { "role": "tool", "tool_call_id": "a", "content": "{\"ok\": true}" },
    ]);
    let body = json!({ "messages": messages, "tools": tools() });
    let tokens = server.post("/tokenize", &body).ok();
    let prompt = server.post("/detokenize", &json!({ "tokens": tokens["tokens"] })).ok();
    let prompt = prompt["prompt"].as_str().unwrap();
    for part in [
        "\n{\"type\": \"function\", \"function\": {\"name\": \"wait\"}}\n</tools>",
        "assistant\n\n<tool_call>\n{\"name\": \"switch\", \"arguments\": {\"lamp\": \"red\", \"on\": true}}\n</tool_call>",
        "<|im_start|>tool\n{\"ok\": true}<|im_end|>",
    ] {
        assert!(prompt.contains(part), "{part} is not in {prompt}");
    }
    let request = with(
        asked(json!({ "tool_choice": "none", "max_tokens": 3 })),
        json!({ "messages": messages }),
    );
    let usage = server.post(CHAT, &request).ok()["usage"].clone();
    assert_eq!(usage["prompt_tokens"], tokens["count"]);
}

/// Calls with lamps that the tool does not have, as an answer would go on with them.
fn calls_so_far(call: impl Fn(&str) -> Value) -> Value {
    let turns = ["red", "green"].into_iter().flat_map(|lamp| {
        let asked = json!({ "role": "user", "content": format!("Switch the {lamp} lamp on.") });
        [asked, call(&json!({ "lamp": lamp, "on": true }).to_string())]
    });
    let last = json!({ "role": "user", "content": "Switch the blue lamp on." });
    turns.chain([last]).collect()
}

fn lamps(answer: &Value) -> Vec<String> {
    let choices = answer["choices"].as_array().unwrap().iter();
    let calls = choices.flat_map(|choice| functions(&choice["message"]));
    let arguments = calls.map(|call| call["arguments"].as_str().unwrap().to_owned());
    let arguments = arguments.map(|text| serde_json::from_str::<Value>(&text).unwrap());
    arguments.map(|arguments| arguments["lamp"].as_str().unwrap_or("no lamp").to_owned()).collect()
}

#[test]
fn strict_tools_are_called_as_their_schemas_say() {
    let of_hermes = |arguments: &str| {
        let function = json!({ "name": "switch", "arguments": arguments });
        json!({ "role": "assistant", "content": "",
                "tool_calls": [{ "id": "a", "type": "function", "function": function }] })
    };
    let of_llama3 = |arguments: &str| {
        let call = format!("{{\"name\": \"switch\", \"parameters\": {arguments}}}");
        json!({ "role": "assistant", "content": call })
    };
    let forms = [("hermes", calls_so_far(of_hermes)), ("llama3_json", calls_so_far(of_llama3))];
    for (parser, messages) in forms {
        let auto = ["--enable-auto-tool-choice", "--tool-call-parser", parser];
        let server = serve(&[&["--chat-template", TEMPLATE], &auto[..]].concat());
        let mut tools = tools();
        tools[0]["function"]["parameters"]["$defs"]["lamp"] =
            json!({ "enum": ["crimson", "teal"] });
        let asked = |is_strict: bool| {
            let mut tools = tools.clone();
            tools[0]["function"]["strict"] = json!(is_strict);
            asked(json!({ "messages": messages, "tools": tools }))
        };
        // Left to itself the model goes on as before; with its hands tied, one of the two lamps is switched.
        assert_eq!(lamps(&server.post(CHAT, &asked(false)).ok()), ["blue"], "{parser}");
        let (calls, reason) = called(&server, &asked(true));
        assert_eq!((calls.len(), reason), (1, json!("tool_calls")), "{parser}");
        let many = json!({ "n": 8, "temperature": 1.2, "seed": 5 });
        let lamps = lamps(&server.post(CHAT, &with(asked(true), many)).ok());
        assert!(lamps.len() >= 4, "{parser}: {lamps:?}");
        assert!(lamps.iter().all(|lamp| ["crimson", "teal"].contains(&&**lamp)), "{lamps:?}");
        // An answer in words is one still.
        let hello = json!({ "messages": question("Say hello.")["messages"], "max_tokens": 8 });
        let hello = server.post(CHAT, &with(asked(true), hello)).ok();
        let hello = hello["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
        assert!(hello.to_lowercase().contains("hello"), "{parser}: {hello}");
    }
    let auto = ["--enable-auto-tool-choice", "--tool-call-parser", "mistral"];
    let server = serve(&[&["--chat-template", TEMPLATE], &auto[..]].concat());
    let strict = json!([{ "type": "function", "function": { "name": "f", "strict": true } }]);
    let error = server.post(CHAT, &asked(json!({ "tools": strict }))).refused(400);
    assert!(error["message"].as_str().unwrap().contains("tools[0].function.strict"), "{error}");
}

#[test]
fn tools_that_cannot_be_used_are_refused_by_name() {
    let server = serve(&["--chat-template", TEMPLATE]);
    let refused = |more: Value, word: &str| {
        let error = server.post(CHAT, &asked(more)).refused(400);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(word), "{message} does not say {word}");
    };
    refused(json!({}), "--enable-auto-tool-choice");
    refused(json!({ "tool_choice": "any" }), "tool_choice: it must be");
    let named = |name| json!({ "type": "function", "function": { "name": name } });
    refused(json!({ "tool_choice": named("nobody") }), "nobody");
    refused(json!({ "tool_choice": "required", "tools": null }), "needs `tools`");
    refused(
        json!({ "tool_choice": "required", "tools": [named("f"), named("f")] }),
        "there already",
    );
    refused(json!({ "tools": [{ "type": "custom" }] }), "tools[0].type");
    refused(json!({ "tools": [{ "type": "function", "function": { "nam": "f" } }] }), "nam");
    let format = json!({ "type": "json_object" });
    refused(json!({ "tool_choice": "required", "response_format": format }), "response_format");
    refused(json!({ "functions": [] }), "old name of `tools`");
    // SmolLM2's own template has no place for tools.
    let plain = serve(&[]);
    let error = plain.post(CHAT, &asked(json!({ "tool_choice": "required" }))).refused(400);
    assert!(error["message"].as_str().unwrap().contains("--chat-template"), "{error}");
}
