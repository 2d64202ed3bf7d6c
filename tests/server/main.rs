//! `kvasir serve` over HTTP, as its clients see it.

#[path = "../byte_model/mod.rs"]
mod byte_model;
#[path = "../golden_model/mod.rs"]
mod golden_model;
mod limits;
mod listening;
mod logs;
mod origin;
mod page;
mod prompts;
mod reasoning;
mod responses;
mod running;
mod soak;
mod startup;
mod tools;
#[cfg(feature = "otel")]
mod traces;

use std::io::{Read, Write};
use std::net::TcpStream;

use golden_model::golden_rows;
use running::{Running, serve};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

fn question(text: &str) -> Value {
    json!({
        "model": "smollm2",
        "messages": [{ "role": "user", "content": text }],
        "temperature": 0,
        "max_tokens": 12,
    })
}

/// `body` with more fields.
fn with(mut body: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// The texts of streamed choices, joined, by their index.
fn joined(chunks: &[Value], text_of: impl Fn(&Value) -> Option<&str>) -> Vec<String> {
    let mut texts = Vec::new();
    for choice in chunks.iter().flat_map(|chunk| chunk["choices"].as_array().unwrap()) {
        let index = choice["index"].as_u64().unwrap() as usize;
        texts.resize(texts.len().max(index + 1), String::new());
        texts[index] += text_of(choice).unwrap_or_default();
    }
    texts
}

#[test]
fn what_is_served_can_be_asked() {
    let server = serve(&[]);
    let models = server.get("/v1/models").ok();
    assert_eq!(models["data"][0]["id"], "smollm2");
    assert_eq!(models["data"][0]["max_model_len"], 2048);
    assert_eq!(server.get("/v1/models/smollm2").ok()["object"], "model");
    server.get("/v1/models/gpt-4").refused(404);
    assert_eq!(server.get("/health").status, 200);
    assert_eq!(server.get("/version").ok()["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(server.get("/load").ok()["server_load"], 0);
    let document = server.get("/openapi.json").ok();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, methods) in document["paths"].as_object().unwrap() {
        let is_asked = methods.get("get").is_some() && !path.contains('{');
        assert!(!is_asked || server.get(path).status == 200, "{path}");
        assert!(methods.get("post").is_some() || server.post(path, &json!({})).status == 405);
    }
    let text = "Héllo, wörld";
    let tokens = server.post("/tokenize", &json!({ "prompt": text })).ok();
    assert_eq!(tokens["count"], tokens["tokens"].as_array().unwrap().len());
    let back = server.post("/detokenize", &json!({ "tokens": tokens["tokens"] })).ok();
    assert_eq!(back["prompt"], text);
    let chat = question("Hi")["messages"].clone();
    let rendered = server.post("/tokenize", &json!({ "messages": chat })).ok();
    assert!(rendered["count"].as_u64().unwrap() > 5, "the template's tokens too");
    assert_eq!(server.post("/reset_prefix_cache", &json!({})).status, 200);
}

#[test]
fn a_completion_is_the_golden_one() {
    let server = serve(&["--dtype", "float32"]);
    let row = &golden_rows("smollm2-135m-greedy.json")[0];
    let num_tokens = 8;
    let request = json!({
        "prompt": row.prompt_token_ids, "max_tokens": num_tokens, "temperature": 0, "logprobs": 2,
    });
    let answer = server.post(COMPLETIONS, &request).ok();
    let choice = &answer["choices"][0];
    let expected =
        server.post("/detokenize", &json!({ "tokens": row.output_token_ids[..num_tokens] })).ok();
    assert_eq!(choice["text"], expected["prompt"]);
    assert_eq!(choice["finish_reason"], "length");
    assert_eq!(answer["usage"]["prompt_tokens"], row.prompt_token_ids.len());
    assert_eq!(answer["usage"]["completion_tokens"], num_tokens);
    let logprobs = &choice["logprobs"];
    for field in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(logprobs[field].as_array().unwrap().len(), num_tokens, "{field}");
    }
    assert!(logprobs["token_logprobs"][0].as_f64().unwrap() < 0.0);
    // Several prompts at once, in their order.
    let request = with(request, json!({ "prompt": [row.prompt_token_ids, [1, 2, 3]] }));
    let several = server.post(COMPLETIONS, &request).ok();
    let choices = several["choices"].as_array().unwrap();
    let indices: Vec<u64> = choices.iter().map(|c| c["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [0, 1]);
    assert_eq!(choices[0]["text"], choice["text"]);
    assert_ne!(choices[1]["text"], choice["text"]);
}

#[test]
fn a_streamed_answer_is_the_whole_one() {
    let server = serve(&[]);
    let sampled = with(
        question("Tell me of lighthouses, with é and 😀."),
        json!({
            "n": 2, "temperature": 0.8, "seed": 7, "max_tokens": 24, "logprobs": true, "top_logprobs": 2,
            "stop": ["nobody says this"],
        }),
    );
    let whole = server.post(CHAT, &sampled).ok();
    let streamed = with(
        sampled.clone(),
        json!({ "stream": true, "stream_options": { "include_usage": true } }),
    );
    let chunks = server.stream(CHAT, &streamed);
    let texts = joined(&chunks, |choice| choice["delta"]["content"].as_str());
    let choices = whole["choices"].as_array().unwrap();
    assert_eq!(texts.len(), 2);
    for (text, choice) in texts.iter().zip(choices) {
        assert_eq!(text, choice["message"]["content"].as_str().unwrap());
    }
    assert_ne!(texts[0], texts[1], "each of the n draws its own");
    let (last, before) = chunks.split_last().unwrap();
    assert!(before.iter().all(|chunk| chunk["usage"].is_null() && chunk["id"] == last["id"]));
    let counts =
        |usage: &Value| (usage["prompt_tokens"].clone(), usage["completion_tokens"].clone());
    assert_eq!(counts(&last["usage"]), counts(&whole["usage"]));
    for (index, choice) in choices.iter().enumerate() {
        let of_index = |chunk: &&Value| chunk["choices"][0]["index"] == index;
        let parts: Vec<&Value> = before.iter().filter(of_index).collect();
        assert_eq!(parts[0]["choices"][0]["delta"]["role"], "assistant");
        let logprobs: Vec<Value> = parts
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["logprobs"]["content"].as_array())
            .flatten()
            .cloned()
            .collect();
        assert_eq!(Value::from(logprobs), choice["logprobs"]["content"]);
        let ends = parts.iter().filter(|chunk| !chunk["choices"][0]["finish_reason"].is_null());
        assert_eq!(ends.count(), 1);
    }
    // The same seed gives the same again, another one does not.
    let again = server.post(CHAT, &sampled).ok();
    assert_eq!(again["choices"], whole["choices"]);
    let other = server.post(CHAT, &with(sampled, json!({ "seed": 8 }))).ok();
    assert_ne!(other["choices"], whole["choices"]);
    // So it is for completions.
    let prompt = json!({ "prompt": ["The sea", "A lamp"], "n": 2, "seed": 3, "max_tokens": 9, "logprobs": 1 });
    let whole = server.post(COMPLETIONS, &prompt).ok();
    let chunks = server.stream(COMPLETIONS, &with(prompt, json!({ "stream": true })));
    let texts = joined(&chunks, |choice| choice["text"].as_str());
    let expected: Vec<&str> =
        whole["choices"].as_array().unwrap().iter().map(|c| c["text"].as_str().unwrap()).collect();
    assert_eq!(texts, expected);
}

#[test]
fn options_do_what_they_say() {
    let server = serve(&["--scheduling-policy", "priority"]);
    let base = question("List the primary colours.");
    let text = |more: Value| {
        let answer = server.post(CHAT, &with(base.clone(), more)).ok();
        let choice = answer["choices"][0].clone();
        (choice["message"]["content"].as_str().unwrap().to_owned(), choice)
    };
    let (plain, _) = text(json!({ "max_tokens": 24 }));
    let word = plain.split_whitespace().nth(3).unwrap();
    let (stopped, choice) = text(json!({ "max_tokens": 24, "stop": word }));
    assert!(plain.starts_with(&stopped) && stopped.len() < plain.len());
    assert_eq!((&choice["finish_reason"], &choice["stop_reason"]), (&json!("stop"), &json!(word)));
    assert_eq!(
        text(json!({ "max_tokens": null, "max_completion_tokens": 3 })).1["finish_reason"],
        "length"
    );
    assert_ne!(
        text(json!({ "max_tokens": 24, "frequency_penalty": 2.0, "repetition_penalty": 2.0 })).0,
        plain
    );
    let schema = json!({
        "type": "object", "properties": { "n": { "type": "integer", "maximum": 99, "minimum": 0 } },
        "required": ["n"], "additionalProperties": false,
    });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": schema } });
    let (object, _) = text(json!({ "response_format": format, "max_tokens": 40 }));
    let object: Value = serde_json::from_str(&object).unwrap_or_else(|e| panic!("{e}: {object}"));
    assert!(object["n"].is_u64() && object.as_object().unwrap().len() == 1, "{object}");
    let (choice, _) = text(json!({ "structured_outputs": { "choice": ["red", "blue"] } }));
    assert!(["red", "blue"].contains(&choice.as_str()));
    assert_eq!(
        text(json!({ "priority": 5, "user": "me", "metadata": { "a": "b" }, "store": false })).1["index"],
        0
    );
    let named = server.post(CHAT, &with(base.clone(), json!({ "request_id": "mine" }))).ok();
    assert_eq!(named["id"], "chatcmpl-mine");
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    let server = serve(&["--max-body-bytes", "100000"]);
    let refused = |more: Value, word: &str| {
        let error = server.post(CHAT, &with(question("Hi"), more)).refused(400);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(word), "{message} does not say {word}");
        error["param"].clone()
    };
    assert_eq!(refused(json!({ "temprature": 1 }), "did you mean `temperature`?"), "temprature");
    assert_eq!(refused(json!({ "tool_choice": "auto" }), "needs `tools`"), "tool_choice");
    assert_eq!(refused(json!({ "top_logprobs": 2 }), "needs `logprobs`"), "top_logprobs");
    assert_eq!(refused(json!({ "store": true }), "keeps no answers"), "store");
    assert_eq!(refused(json!({ "logit_bias": [] }), "must be an object"), "logit_bias");
    refused(json!({ "stream_options": { "include_usage": true } }), "needs `stream`");
    refused(json!({ "temperature": -1 }), "temperature");
    refused(json!({ "temperature": "hot" }), "temperature");
    refused(json!({ "messages": [] }), "at least one message");
    refused(json!({ "n": 0 }), "n ");
    refused(json!({ "priority": 3 }), "policy is fcfs");
    refused(json!({ "messages": [{ "role": "user", "content": 5 }] }), "messages[0].content");
    refused(
        json!({ "messages": [{ "role": "user", "content": "word ".repeat(4000) }] }),
        "max_model_len is 2048",
    );
    let missing =
        server.post(CHAT, &with(question("Hi"), json!({ "model": "gpt-4" }))).refused(404);
    assert_eq!((&missing["param"], &missing["type"]), (&json!("model"), &json!("NotFoundError")));
    server.post_text(CHAT, "{\"messages\": [").refused(400);
    server.post_text(CHAT, "[1]").refused(400);
    let large = server.post_text(CHAT, &"x".repeat(100_001)).refused(413);
    assert!(large["message"].as_str().unwrap().contains("100000 bytes"), "{large}");
    server.post(COMPLETIONS, &json!({})).refused(400);
    server.post(COMPLETIONS, &json!({ "prompt": [70_000] })).refused(400);
    server.post("/v1/embeddings", &json!({ "input": "x" })).refused(501);
    server.get(CHAT).refused(405);
    server.get("/nothing").refused(404);
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn a_key_is_wanted_where_there_is_one() {
    let server = serve(&["--api-key", "one", "--api-key", "two"]);
    server.post(CHAT, &question("Hi")).refused(401);
    server.post_with_key(CHAT, &question("Hi"), "three").refused(401);
    server.get("/v1/models").refused(401);
    server.post_with_key(CHAT, &question("Hi"), "two").ok();
    for open in ["/health", "/version", "/metrics", "/load"] {
        assert_eq!(server.get(open).status, 200, "{open}");
    }
}

/// A request whose client has gone: the server still reads nothing of it.
fn ask_and_read_a_little(server: &Running, max_tokens: usize) -> TcpStream {
    let body = with(
        question("Tell me a long story."),
        json!({
            "stream": true, "max_tokens": max_tokens, "ignore_eos": true,
        }),
    );
    let body = body.to_string();
    let mut client = TcpStream::connect(server.address()).unwrap();
    let head = format!("POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    client.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut begun = [0; 400];
    client.read_exact(&mut begun).unwrap();
    client
}

#[test]
fn a_client_that_goes_away_is_forgotten() {
    let server = serve(&[]);
    let clients: Vec<TcpStream> = (0..4).map(|_| ask_and_read_a_little(&server, 1900)).collect();
    assert_eq!(server.get("/load").ok()["server_load"], 4);
    assert!(server.metric("vllm:kv_cache_usage_perc") > 0.0);
    drop(clients);
    server.wait_until("their requests end", |server| {
        server.get("/load").ok()["server_load"] == 0
            && server.metric("vllm:num_requests_running") == 0.0
            && server.metric("vllm:kv_cache_usage_perc") == 0.0
    });
    // Tokens count when they are made, whoever reads them, and those of a prompt with the first of its answer.
    let prompt = json!({ "messages": question("Tell me a long story.")["messages"] });
    let num_prompt = server.post("/tokenize", &prompt).ok()["count"].as_f64().unwrap();
    assert_eq!(server.metric("vllm:prompt_tokens_total"), 4.0 * num_prompt);
    assert_eq!(server.metric("vllm:prompt_tokens_by_source_total"), 4.0 * num_prompt);
    assert_eq!(server.metric("vllm:time_to_first_token_seconds_count"), 4.0);
    let num_later = server.metric("vllm:generation_tokens_total") - 4.0;
    assert_eq!(server.metric("vllm:inter_token_latency_seconds_count"), num_later);
    server.post(CHAT, &question("Hi")).ok();
}

#[test]
fn too_many_requests_are_asked_to_come_again() {
    let server = serve(&["--max-num-seqs", "1", "--max-num-queued-reqs", "1"]);
    let running = ask_and_read_a_little(&server, 1900);
    server.wait_until("it runs", |server| server.metric("vllm:num_requests_running") == 1.0);
    // One waits, which takes a client that does not.
    let body = with(question("Hi"), json!({ "stream": true })).to_string();
    let mut waiting = TcpStream::connect(server.address()).unwrap();
    let head = format!("POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    waiting.write_all(format!("{head}{body}").as_bytes()).unwrap();
    server.wait_until("it waits", |server| server.metric("vllm:num_requests_waiting") == 1.0);
    let answer = server.post(CHAT, &question("Hi"));
    assert_eq!(answer.retry_after.as_deref(), Some("1"));
    answer.refused(503);
    drop(running);
}

#[test]
fn a_stream_counts_as_it_goes_on_if_asked() {
    let server = serve(&[]);
    for (path, asked) in [
        (CHAT, question("Count on.")),
        (COMPLETIONS, json!({ "prompt": "One, two,", "max_tokens": 12, "temperature": 0 })),
    ] {
        let options = json!({ "include_usage": true, "continuous_usage_stats": true });
        let chunks =
            server.stream(path, &with(asked, json!({ "stream": true, "stream_options": options })));
        let counts: Vec<[u64; 3]> = chunks
            .iter()
            .map(|chunk| {
                ["prompt_tokens", "completion_tokens", "total_tokens"]
                    .map(|name| chunk["usage"][name].as_u64().unwrap_or_else(|| panic!("{chunk}")))
            })
            .collect();
        assert!(counts.is_sorted_by_key(|&[_, completion, _]| completion), "{counts:?}");
        assert!(counts.iter().all(|[prompt, new, all]| *prompt > 0 && prompt + new == *all));
        assert!(counts[0][1] < counts[counts.len() - 1][1], "{counts:?}");
        assert_eq!(counts[counts.len() - 1][1], 12);
    }
}

#[test]
fn metrics_are_the_sum_of_the_requests() {
    let server = serve(&[]);
    let (mut prompt, mut generated, mut cached) = (0, 0, 0);
    for num_tokens in [1, 5, 9] {
        let request = with(
            question("Count the tokens of this."),
            json!({ "max_tokens": num_tokens, "n": 2, "temperature": 1 }),
        );
        let usage = server.post(CHAT, &request).ok()["usage"].clone();
        prompt += usage["prompt_tokens"].as_u64().unwrap();
        generated += usage["completion_tokens"].as_u64().unwrap();
        let found = usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
        assert_eq!(found > 0, num_tokens > 1, "what its own first answer computed is not found");
        cached += found;
    }
    assert_eq!(server.metric("vllm:prompt_tokens_total"), prompt as f64);
    assert_eq!(server.metric("vllm:generation_tokens_total"), generated as f64);
    assert_eq!(server.metric("vllm:prompt_tokens_cached_total"), cached as f64);
    assert!(cached > 0, "the second one finds what the first has computed");
    assert_eq!(server.metric("vllm:e2e_request_latency_seconds_count"), 3.0);
    assert_eq!(server.metric("vllm:request_success_total"), 6.0);
    assert_eq!(server.metric("vllm:num_requests_running"), 0.0);
    assert_eq!(server.metric("vllm:request_params_n_sum"), 6.0);
    assert_eq!(server.metric("vllm:request_max_num_generation_tokens_count"), 3.0);
    let sources: Vec<f64> = ["local_compute", "local_cache_hit", "external_kv_transfer"]
        .map(|source| {
            server.metric_of("vllm:prompt_tokens_by_source_total", &format!("source=\"{source}\""))
        })
        .to_vec();
    assert_eq!(sources.iter().sum::<f64>(), prompt as f64);
    assert!(sources[0] > 0.0 && sources[1] > 0.0 && sources[2] == 0.0, "{sources:?}");
    assert_eq!(server.metric("vllm:request_prefill_kv_computed_tokens_sum"), sources[0]);
    // Every row of a step is a token of a prompt or of an answer; the last of an answer is in none.
    let rows = server.metric("vllm:iteration_tokens_total_sum");
    assert!(rows >= sources[0] + (generated - 6) as f64, "{rows} rows");
    let parts = ["queue", "prefill", "decode", "inference"]
        .map(|part| server.metric(&format!("vllm:request_{part}_time_seconds_sum")));
    let whole = server.metric("vllm:e2e_request_latency_seconds_sum");
    assert!((parts[0] + parts[1] + parts[2] - whole).abs() < 1e-6, "{parts:?} of {whole}");
    assert!((parts[0] + parts[3] - whole).abs() < 1e-6, "{parts:?} of {whole}");
}

#[test]
fn who_has_another_salt_finds_nothing_of_others() {
    let server = serve(&[]);
    let num_cached = |salt: Value| {
        let request = with(question("Whose are these tokens?"), json!({ "cache_salt": salt }));
        let usage = server.post(CHAT, &request).ok()["usage"].clone();
        usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
    };
    for salt in [json!("one"), json!("two"), Value::Null] {
        assert_eq!(num_cached(salt.clone()), 0, "{salt} is the first of its kind");
        assert!(num_cached(salt.clone()) > 0, "{salt} finds its own");
    }
}

#[test]
fn requests_in_progress_are_answered_before_the_end() {
    let mut server = serve(&[]);
    let client = ask_and_read_a_little(&server, 60);
    server.terminate();
    let chunks = running::events(client);
    let last = chunks.last().unwrap();
    assert_eq!(last["choices"][0]["finish_reason"], "length");
    assert!(server.wait().success());
}
