//! What must hold of every body that the server understands, and of what it says of the others. The server's own tests
//! include this file.

use engine::{Conversation, Prompt, SamplingParams};
use serde_json::Value;
use server::{Endpoint, EngineRequest, Generate, ServedModel, ToolCallParser};

/// Any bytes as the body of every path that takes one. The paths that understood it.
pub fn request_body(bytes: &[u8]) -> Vec<Endpoint> {
    let mut model = ServedModel::new("m", 2048);
    model.tool_call_parser = Some(ToolCallParser::Hermes);
    model.enable_auto_tool_choice = true;
    let is_understood = |endpoint: &Endpoint| match model.read(*endpoint, bytes) {
        Ok(request) => is_answered(*endpoint, &request),
        Err(error) => {
            assert_error(&error.body());
            false
        }
    };
    let understood = Endpoint::ALL.into_iter().filter(is_understood).collect();
    let is_object = matches!(serde_json::from_slice(bytes), Ok(Value::Object(_)));
    assert!(is_object || Vec::is_empty(&understood), "only an object has fields");
    understood
}

/// OpenAI's shape: what is wrong, of which kind, with which field, by which status.
fn assert_error(body: &Value) {
    let Value::Object(error) = &body["error"] else { panic!("{body} is no error") };
    let keys: Vec<&str> = error.keys().map(String::as_str).collect();
    assert_eq!(keys, ["message", "type", "param", "code"]);
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    assert!(
        error["param"].is_null() || error["param"].as_str().is_some_and(|param| !param.is_empty())
    );
    let status = match error["type"].as_str() {
        Some("BadRequestError") => 400,
        Some("NotFoundError") => 404,
        kind => panic!("{kind:?} is no refusal of a body"),
    };
    assert_eq!(error["code"], status);
}

/// Whether the engine, too, has nothing against it.
fn is_answered(endpoint: Endpoint, request: &EngineRequest) -> bool {
    let is_generated = !matches!(endpoint, Endpoint::Tokenize | Endpoint::Detokenize);
    match request {
        EngineRequest::Generate(generate) if is_generated => {
            assert!((1..=1024).contains(&generate.len()));
            assert!(generate.len() == 1 || endpoint == Endpoint::Completions);
            generate.iter().all(is_admitted)
        }
        EngineRequest::Encode(prompt) if endpoint == Endpoint::Tokenize => {
            assert_prompt(prompt, false);
            true
        }
        EngineRequest::Decode(_) => endpoint == Endpoint::Detokenize,
        request => panic!("{endpoint:?} asks {request:?}"),
    }
}

fn is_admitted(generate: &Generate) -> bool {
    assert_prompt(&generate.prompt, true);
    match generate.params.validate() {
        Ok(()) => {
            assert_limits(&generate.params);
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

fn assert_prompt(prompt: &Prompt, is_answered: bool) {
    let Prompt::Chat(Conversation { messages, tools, documents, .. }) = prompt else { return };
    assert!(!is_answered || !messages.is_empty());
    for message in messages {
        let has_called = !message.tool_calls.is_empty();
        assert!(message.content.is_some() || has_called || message.reasoning.is_some());
    }
    assert!(tools.len() <= 128);
    for tool in tools {
        assert!(tool["function"]["name"].as_str().is_some_and(|name| !name.is_empty()), "{tool}");
    }
    assert!(documents.iter().all(Value::is_object));
}

/// What sampling relies on.
fn assert_limits(params: &SamplingParams) {
    let SamplingParams { n, temperature, top_p, top_k, min_p, .. } = *params;
    assert!((1..=16_384).contains(&n) && (n == 1 || temperature > 0.0));
    assert!(temperature.is_finite() && temperature >= 0.0);
    assert!(top_p > 0.0 && top_p <= 1.0 && top_k >= -1);
    assert!((0.0..=1.0).contains(&min_p));
    assert!(params.presence_penalty.abs() <= 2.0 && params.frequency_penalty.abs() <= 2.0);
    assert!(params.repetition_penalty > 0.0 && params.repetition_penalty.is_finite());
    assert!(params.logit_bias.values().all(|bias| bias.is_finite()));
    assert!(
        (1..=16_777_216).contains(&params.max_tokens) && params.min_tokens <= params.max_tokens
    );
    assert!(params.stop.iter().all(|text| !text.is_empty()), "the empty text is everywhere");
}
