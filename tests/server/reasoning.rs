//! What a model thinks, told apart from its answers.

use serde_json::{Value, json};

use crate::running::{Running, serve};
use crate::{CHAT, joined, question, with};

/// Thoughts and answers in a pattern that the model goes on with: it ends within a thought.
const THOUGHTS: &str = "<think>\nThe sky is blue.\n</think>\n\nBlue.\n\n<think>\nGrass is green.\n</think>\n\nGreen.\n\n\
                        <think>\nSnow is";

fn go_on_with(text: &str) -> Value {
    json!({
        "messages": [
            { "role": "user", "content": "Think of colours." },
            { "role": "assistant", "content": text },
        ],
        "continue_final_message": true, "max_tokens": 16, "temperature": 0,
    })
}

/// The message of an answer that must be the same streamed.
fn message(server: &Running, request: &Value) -> Value {
    let message = server.post(CHAT, request).ok()["choices"][0]["message"].clone();
    let chunks = server.stream(CHAT, &with(request.clone(), json!({ "stream": true })));
    for field in ["content", "reasoning"] {
        let streamed = joined(&chunks, |choice| choice["delta"][field].as_str());
        assert_eq!(streamed, [message[field].as_str().unwrap_or_default()], "{field} of {message}");
    }
    message
}

#[test]
fn a_thought_is_told_apart() {
    let server = serve(&["--reasoning-parser", "qwen3"]);
    let said = message(&server, &go_on_with(THOUGHTS));
    assert_eq!(said["reasoning"], " white.\n");
    assert!(said["content"].as_str().unwrap().starts_with("\n\nWhite."), "{said}");
    // A thought that is not over is no answer.
    let open = message(&server, &with(go_on_with(THOUGHTS), json!({ "max_tokens": 2 })));
    assert!(open["content"].is_null() && open["reasoning"] == " white.", "{open}");
    let plain = message(&server, &question("Name a colour."));
    assert!(plain["reasoning"].is_null() && !plain["content"].as_str().unwrap().is_empty());
    // What is echoed is read with the rest.
    let first = "<think>\nSnow is white.\n</think>\n\nIt is";
    let echoed = message(&server, &with(go_on_with(first), json!({ "echo": true })));
    assert_eq!(echoed["reasoning"], "\nSnow is white.\n");
    assert!(echoed["content"].as_str().unwrap().starts_with("\n\nIt is"), "{echoed}");
    let opening = "Well.\n<think>";
    let echoed = message(&server, &with(go_on_with(opening), json!({ "echo": true })));
    assert!(echoed["reasoning"].is_null(), "words come first, so that the tag is one of them");
    assert!(echoed["content"].as_str().unwrap().starts_with(opening), "{echoed}");
    let silent = with(go_on_with(THOUGHTS), json!({ "include_reasoning": false }));
    let silent = message(&server, &silent);
    assert_eq!((&silent["reasoning"], &silent["content"]), (&Value::Null, &said["content"]));
    // A form holds from the first token on.
    let form = json!({ "structured_outputs": { "choice": ["white", "black"] } });
    let formed = message(&server, &with(go_on_with(THOUGHTS), form));
    assert!(["white", "black"].contains(&formed["content"].as_str().unwrap()), "{formed}");
}

#[test]
fn without_a_parser_a_thought_is_text() {
    let server = serve(&[]);
    let said = message(&server, &go_on_with(THOUGHTS));
    assert!(said["content"].as_str().unwrap().starts_with(" white.\n</think>\n\nWhite."), "{said}");
    assert!(said.get("reasoning").is_none());
    let refused = with(question("Hi"), json!({ "include_reasoning": false }));
    let refused = server.post(CHAT, &refused).refused(400);
    assert!(refused["message"].as_str().unwrap().contains("--reasoning-parser"), "{refused}");
}

#[test]
fn templates_open_thoughts_and_show_them_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("template.jinja");
    let source = "{% for m in messages %}[{{ m.role }}]{% if m.reasoning_content %}({{ m.reasoning_content }})\
        {% endif %}{{ m.content }}{% endfor %}[assistant]<think>\n\
        {% if enable_thinking is defined and not enable_thinking %}\n</think>\n\n{% endif %}";
    std::fs::write(&file, source).unwrap();
    let template = file.to_str().unwrap();
    let server = serve(&["--reasoning-parser", "deepseek_r1", "--chat-template", template]);
    let thinking = message(&server, &question("Hi"));
    assert!(thinking["content"].is_null() && thinking["reasoning"].is_string(), "{thinking}");
    let quick = json!({ "chat_template_kwargs": { "enable_thinking": false } });
    let quick = message(&server, &with(question("Hi"), quick));
    assert!(quick["reasoning"].is_null() && quick["content"].is_string(), "{quick}");
    for name in ["reasoning", "reasoning_content"] {
        let mut said = json!({ "role": "assistant", "content": null });
        said[name] = json!("hm");
        let messages = json!({ "messages": [said, { "role": "user", "content": "<think>" }] });
        let tokens = server.post("/tokenize", &messages).ok()["tokens"].clone();
        let prompt = server.post("/detokenize", &json!({ "tokens": tokens })).ok();
        assert_eq!(prompt["prompt"], "[assistant](hm)[user]<think>[assistant]<think>\n");
    }
    let strange = json!({ "messages": [{ "role": "user", "content": "x", "reasoning": "y" }] });
    server.post(CHAT, &strange).refused(400);
}
