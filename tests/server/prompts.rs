//! What requests say of their prompts, and what answers show of them.

use serde_json::{Value, json};

use crate::byte_model::{ByteModel, family};
use crate::running::{Running, serve, serve_model};
use crate::{CHAT, COMPLETIONS, joined, question, with};

fn tokens_of(server: &Running, body: &Value) -> Vec<Value> {
    server.post("/tokenize", body).ok()["tokens"].as_array().unwrap().clone()
}

/// What a conversation is for the model.
fn prompt_of(server: &Running, body: &Value) -> String {
    let tokens = tokens_of(server, body);
    let text = server.post("/detokenize", &json!({ "tokens": tokens })).ok();
    text["prompt"].as_str().unwrap().to_owned()
}

fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    value.pointer(path).and_then(Value::as_array).unwrap_or_else(|| panic!("{path} of {value}"))
}

#[test]
fn a_text_is_scored_as_it_was_generated() {
    let server = serve(&["--max-num-batched-tokens", "16"]);
    let prompt = "The lighthouse keeper, é😀, wrote";
    let asked = json!({ "prompt": prompt, "max_tokens": 12, "temperature": 0, "logprobs": 1 });
    let answer = server.post(COMPLETIONS, &asked).ok()["choices"][0].clone();
    let echoed = server.post(COMPLETIONS, &with(asked.clone(), json!({ "echo": true }))).ok();
    let choice = &echoed["choices"][0];
    let text = format!("{prompt}{}", answer["text"].as_str().unwrap());
    assert_eq!(choice["text"], text);
    let num_prompt = echoed["usage"]["prompt_tokens"].as_u64().unwrap() as usize;
    for field in ["tokens", "token_logprobs", "top_logprobs"] {
        let [echoed, own] =
            [choice, &answer].map(|choice| list(choice, &format!("/logprobs/{field}")));
        assert_eq!(echoed.len(), num_prompt + 12, "{field}");
        assert_eq!(&echoed[num_prompt..], own, "{field}");
    }
    let logprobs = &choice["logprobs"];
    assert!(logprobs["token_logprobs"][0].is_null() && logprobs["top_logprobs"][0].is_null());
    let offsets = list(logprobs, "/text_offset");
    assert!(offsets.is_sorted_by_key(|offset| offset.as_u64()) && offsets[0] == 0);
    // The whole of it as a prompt: what was likely when it was written is as likely when it is read, to the bit.
    let tokens = tokens_of(&server, &json!({ "prompt": prompt }));
    let answered = with(asked.clone(), json!({ "return_token_ids": true }));
    let answered = server.post(COMPLETIONS, &answered).ok();
    let answered = &answered["choices"][0];
    assert_eq!(list(answered, "/prompt_token_ids"), tokens);
    let whole = [&tokens, list(answered, "/token_ids")].concat();
    let read = json!({ "prompt": whole, "max_tokens": 0, "echo": true, "logprobs": 1 });
    let read = server.post(COMPLETIONS, &read).ok();
    assert_eq!(read["choices"][0]["text"], text);
    assert_eq!(read["choices"][0]["finish_reason"], "length");
    assert_eq!(read["choices"][0]["logprobs"], *logprobs);
    // With their ids for names, tokens have the same places.
    let by_id = with(asked, json!({ "echo": true, "return_tokens_as_token_ids": true }));
    let by_id = server.post(COMPLETIONS, &by_id).ok()["choices"][0]["logprobs"].clone();
    assert_eq!(by_id["text_offset"], logprobs["text_offset"]);
    let names: Vec<Value> = whole.iter().map(|id| json!(format!("token_id:{id}"))).collect();
    assert_eq!(list(&by_id, "/tokens"), names);
}

#[test]
fn a_streamed_echo_is_the_whole_one() {
    let server = serve(&[]);
    let asked = json!({
        "prompt": ["The sea", "A lamp is"], "n": 2, "seed": 3, "max_tokens": 9, "logprobs": 1,
        "echo": true, "return_token_ids": true,
    });
    for more in [json!({}), json!({ "max_tokens": 0 }), json!({ "logprobs": null })] {
        let asked = with(asked.clone(), more);
        let whole = server.post(COMPLETIONS, &asked).ok();
        let choices = list(&whole, "/choices");
        assert_eq!(choices.len(), 4);
        let chunks = server.stream(COMPLETIONS, &with(asked.clone(), json!({ "stream": true })));
        let texts = joined(&chunks, |choice| choice["text"].as_str());
        for (index, choice) in choices.iter().enumerate() {
            assert_eq!(texts[index], choice["text"].as_str().unwrap(), "{asked}");
            let parts = chunks.iter().map(|chunk| &chunk["choices"][0]);
            let parts: Vec<&Value> = parts.filter(|part| part["index"] == index).collect();
            let joined = |path: &str| -> Vec<Value> {
                let lists = parts.iter().filter_map(|part| part.pointer(path)?.as_array());
                lists.flatten().cloned().collect()
            };
            assert_eq!(parts[0]["prompt_token_ids"], choice["prompt_token_ids"]);
            let mut paths = vec!["/token_ids"];
            if !asked["logprobs"].is_null() {
                paths.extend([
                    "/logprobs/tokens",
                    "/logprobs/token_logprobs",
                    "/logprobs/text_offset",
                ]);
            }
            for path in paths {
                assert_eq!(joined(path), list(choice, path), "{path} of {asked}");
            }
            assert_eq!(parts.last().unwrap()["finish_reason"], choice["finish_reason"]);
        }
    }
}

#[test]
fn a_chat_says_its_tokens_and_scores_its_prompt() {
    let server = serve(&[]);
    let asked = with(
        question("Name a colour."),
        json!({ "return_token_ids": true, "prompt_logprobs": 2, "logprobs": true,
                "return_tokens_as_token_ids": true }),
    );
    let answer = server.post(CHAT, &asked).ok();
    let prompt = tokens_of(&server, &json!({ "messages": asked["messages"] }));
    assert_eq!(list(&answer, "/prompt_token_ids"), prompt);
    let token_ids = list(&answer, "/choices/0/token_ids");
    assert_eq!(answer["usage"]["completion_tokens"], token_ids.len());
    let names = list(&answer, "/choices/0/logprobs/content").iter().map(|entry| &entry["token"]);
    assert!(
        names.eq(&token_ids.iter().map(|id| json!(format!("token_id:{id}"))).collect::<Vec<_>>())
    );
    // The same prompt in tokens has the same log-probabilities.
    let scored = json!({ "prompt": prompt, "max_tokens": 1, "prompt_logprobs": 2 });
    let scored = server.post(COMPLETIONS, &scored).ok();
    assert_eq!(answer["prompt_logprobs"], scored["choices"][0]["prompt_logprobs"]);
    assert_eq!(list(&answer, "/prompt_logprobs").len(), prompt.len());
    let streamed = with(asked.clone(), json!({ "prompt_logprobs": null, "stream": true }));
    let chunks = server.stream(CHAT, &streamed);
    assert_eq!(list(&chunks[0], "/prompt_token_ids"), prompt);
    let parts = chunks.iter().filter_map(|chunk| chunk["choices"][0]["token_ids"].as_array());
    assert_eq!(parts.flatten().cloned().collect::<Vec<_>>(), token_ids);
    let refused = server.post(CHAT, &with(asked, json!({ "stream": true }))).refused(400);
    assert_eq!(refused["param"], "prompt_logprobs");
}

#[test]
fn tokens_are_told_without_a_tokenizer() {
    let server = serve_model(family("llama"), &[]);
    let asked = json!({ "prompt": [86, 14, 3], "max_tokens": 2, "return_token_ids": true });
    let choice = server.post(COMPLETIONS, &asked).ok()["choices"][0].clone();
    assert_eq!(choice["prompt_token_ids"], json!([86, 14, 3]));
    assert_eq!(list(&choice, "/token_ids").len(), 2);
    server.post(COMPLETIONS, &with(asked, json!({ "echo": true }))).refused(400);
}

#[test]
fn an_answer_goes_on_with_the_last_message() {
    let server = serve(&[]);
    let messages = json!([
        { "role": "user", "content": "Count to five." },
        { "role": "assistant", "content": "One, two," },
    ]);
    let body = json!({ "messages": messages, "continue_final_message": true });
    let prompt = prompt_of(&server, &body);
    assert!(prompt.ends_with("<|im_start|>assistant\nOne, two,"), "{prompt}");
    let closed =
        prompt_of(&server, &json!({ "messages": messages, "add_generation_prompt": false }));
    assert!(closed.starts_with(&prompt) && closed.trim_end().ends_with("<|im_end|>"), "{closed}");
    let opened = prompt_of(&server, &json!({ "messages": messages }));
    assert_eq!(opened, format!("{closed}<|im_start|>assistant\n"));
    let asked = with(body, json!({ "max_tokens": 6, "temperature": 0 }));
    let plain = server.post(CHAT, &asked).ok()["choices"][0]["message"].clone();
    let echoing = with(asked.clone(), json!({ "echo": true }));
    let echoed = server.post(CHAT, &echoing).ok()["choices"][0]["message"].clone();
    let expected = format!("One, two,{}", plain["content"].as_str().unwrap());
    assert_eq!(echoed["content"], expected);
    let chunks = server.stream(CHAT, &with(echoing, json!({ "stream": true })));
    assert_eq!(joined(&chunks, |choice| choice["delta"]["content"].as_str()), [expected]);
    for (more, field) in [
        (json!({ "add_generation_prompt": true }), "continue_final_message"),
        (json!({ "continue_final_message": false, "echo": true }), "echo"),
    ] {
        assert_eq!(server.post(CHAT, &with(asked.clone(), more)).refused(400)["param"], field);
    }
}

#[test]
fn a_template_gets_what_it_has_a_place_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("template.jinja");
    let source = "{% for d in documents or [] %}<{{ d.title }}>{% endfor %}\
        {% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}\
        {% if enable_thinking is defined and not enable_thinking %}<quick>{% endif %}\
        {% if reasoning_effort %}<{{ reasoning_effort }}>{% endif %}";
    std::fs::write(&file, source).unwrap();
    let server = serve(&["--chat-template", file.to_str().unwrap()]);
    let body = json!({ "messages": question("Hi")["messages"] });
    for (more, expected) in [
        (json!({}), "[user]Hi"),
        (json!({ "chat_template_kwargs": { "enable_thinking": false } }), "[user]Hi<quick>"),
        (json!({ "reasoning_effort": "low" }), "[user]Hi<low>"),
        (json!({ "documents": [{ "title": "A" }, { "title": "B" }] }), "<A><B>[user]Hi"),
    ] {
        assert_eq!(prompt_of(&server, &with(body.clone(), more)), expected);
    }
    let asked =
        with(question("Hi"), json!({ "chat_template_kwargs": { "enable_thinking": false } }));
    let tokens = tokens_of(&server, &json!({ "prompt": "[user]Hi<quick>" }));
    assert_eq!(server.post(CHAT, &asked).ok()["usage"]["prompt_tokens"], tokens.len());
    let refused = |more: Value, word: &str| {
        let error = server.post(CHAT, &with(question("Hi"), more)).refused(400);
        assert!(error["message"].as_str().unwrap().contains(word), "{error}");
    };
    let args = json!({ "enable_thinkin": false });
    refused(json!({ "chat_template_kwargs": args }), "are enable_thinking, reasoning_effort");
    refused(json!({ "chat_template_kwargs": { "messages": [] } }), "says it otherwise");
    let both = json!({ "reasoning_effort": "low", "chat_template_kwargs": { "reasoning_effort": "high" } });
    refused(both, "give it once");
    refused(json!({ "documents": ["A"] }), "documents[0]");
    let plain = serve(&[]);
    let error = plain.post(CHAT, &with(question("Hi"), json!({ "reasoning_effort": "low" })));
    assert!(error.refused(400)["message"].as_str().unwrap().contains("does not use"));
}

#[test]
fn texts_have_the_tokens_around_them_that_are_wanted() {
    let server = serve(&[]);
    let tokens =
        server.post("/tokenize", &json!({ "prompt": "Snow é", "return_token_strs": true }));
    let tokens = tokens.ok();
    let texts = list(&tokens, "/token_strs");
    assert_eq!(texts.len(), tokens["count"].as_u64().unwrap() as usize);
    assert_eq!(texts[0], "Snow");
    server.post("/tokenize", &json!({ "prompt": "x", "reasoning_effort": "low" })).refused(400);
}

#[test]
fn a_tokenizers_own_tokens_are_there_if_they_are_wanted() {
    let model = ByteModel::new();
    let config = r#"{"bos_token": "!", "add_bos_token": true}"#;
    std::fs::write(model.path().join("tokenizer_config.json"), config).unwrap();
    let server = serve_model(model.arg(), &[]);
    let text = json!({ "prompt": "ab" });
    let chat = json!({ "messages": [{ "role": "user", "content": "ab" }] });
    let [with_bos, bare] = [true, false].map(|wanted| json!({ "add_special_tokens": wanted }));
    for (path, body, default) in [(COMPLETIONS, &text, 1), (CHAT, &chat, 0)] {
        let count = |more: &Value| {
            let count =
                server.post("/tokenize", &with(body.clone(), more.clone())).ok()["count"].clone();
            let asked = with(with(body.clone(), more.clone()), json!({ "max_tokens": 1 }));
            assert_eq!(server.post(path, &asked).ok()["usage"]["prompt_tokens"], count);
            count.as_u64().unwrap()
        };
        assert_eq!(count(&with_bos), count(&bare) + 1, "{path}");
        assert_eq!(count(&json!({})), count(&bare) + default, "{path}");
    }
}

#[test]
fn fields_of_other_servers_are_pointed_to_ours() {
    let server = serve(&[]);
    let neutral =
        json!({ "service_tier": "auto", "prompt_cache_key": "k", "safety_identifier": "s" });
    server.post(CHAT, &with(question("Hi"), with(neutral, json!({ "max_tokens": 1 })))).ok();
    for (more, word) in [
        (json!({ "service_tier": "flex" }), "flex"),
        (json!({ "guided_json": {} }), "structured_outputs"),
        (json!({ "verbosity": "low" }), "no setting"),
    ] {
        let error = server.post(CHAT, &with(question("Hi"), more)).refused(400);
        assert!(error["message"].as_str().unwrap().contains(word), "{error}");
    }
}
