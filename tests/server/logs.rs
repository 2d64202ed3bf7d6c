//! What a server tells its operator.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::golden_model::smollm2;
use crate::listening::listening_on;
use crate::running::{Running, serve};
use crate::{CHAT, COMPLETIONS, question, with};

/// The log of a server that was told to write JSON.
fn log(server: &Running) -> Vec<Value> {
    let said = server.said();
    said.iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

fn event<'a>(log: &'a [Value], message: &str) -> &'a Value {
    let mut events = log.iter().filter(|event| event["message"] == message);
    let event = events.next().unwrap_or_else(|| panic!("no {message:?} in {log:#?}"));
    assert!(events.next().is_none(), "{message:?} twice");
    event
}

#[test]
fn an_operator_follows_a_server_from_start_to_end() {
    let mut server = serve(&["--log-format", "json", "--enable-log-requests"]);
    let ask = with(question("Hi"), json!({ "request_id": "seven" }));
    let usage = server.post(CHAT, &ask).ok()["usage"].clone();
    let spoofed = "x\n{\"message\": \"stopped\"}";
    let refused = json!({ "prompt": vec![1; 3000], "max_tokens": 1, "request_id": spoofed });
    server.post(COMPLETIONS, &refused).refused(400);
    server.terminate();
    assert!(server.wait().success());
    server
        .wait_until("its log ends", |server| server.said().last().unwrap().contains("\"stopped\""));

    let log = log(&server);
    for event in &log {
        for field in ["timestamp", "level", "target", "message"] {
            assert!(event[field].is_string(), "no {field} in {event}");
        }
    }
    let weights = event(&log, "the weights are loaded");
    assert!(weights["seconds"].as_f64().unwrap() > 0.0 && weights["model"].is_string());
    let kv_cache = event(&log, "the KV cache is allocated");
    let count = |name: &str| kv_cache[name].as_u64().unwrap();
    assert_eq!(count("num_blocks") * count("block_size"), count("num_tokens"));
    assert!(event(&log, "serving")["device"].is_string());

    let finished = event(&log, "finished");
    assert_eq!(finished["span"], json!({ "name": "request", "id": "chatcmpl-seven" }));
    assert_eq!(finished["prompt_tokens"], usage["prompt_tokens"]);
    assert_eq!(finished["generated_tokens"], usage["completion_tokens"]);
    assert_eq!(finished["cached_tokens"], 0);
    assert!(["stop", "length"].contains(&finished["finish_reason"].as_str().unwrap()));
    let seconds = |name: &str| finished[name].as_f64().unwrap();
    assert!(0.0 <= seconds("queue_s") && seconds("queue_s") <= seconds("ttft_s"));
    assert!(seconds("ttft_s") <= seconds("latency_s"));

    let refused = event(&log, "refused");
    assert_eq!(refused["span"]["id"], format!("cmpl-{spoofed}"));
    assert!(refused["error"].as_str().unwrap().contains("3000"), "{refused}");
    let place = |message| log.iter().position(|event| event["message"] == message);
    assert_eq!(place("stopped"), Some(log.len() - 1));
    assert_eq!(event(&log, "asked to stop; what is in progress is answered")["level"], "INFO");
}

#[test]
fn requests_are_logged_where_they_are_asked_for() {
    // One of them alone, by its id; as text, in which an id from outside begins no line.
    let server = serve(&["--log-level", "warn,[request{id=cmpl-b}]=debug,kvasir=info"]);
    for id in ["a", "b", "c\nINFO cmpl-b finished"] {
        server.post(COMPLETIONS, &json!({ "prompt": [1], "max_tokens": 1, "request_id": id })).ok();
    }
    server.wait_until("it is told", |server| server.said().iter().any(|l| l.contains("finished")));
    let said = server.said();
    let finished: Vec<&String> = said.iter().filter(|line| line.contains("finished")).collect();
    let [line] = finished[..] else { panic!("{said:#?}") };
    assert!(line.contains("cmpl-b") && line.contains("finish_reason=\"length\""), "{line}");
    assert!(!said.iter().any(|line| line.contains("the weights are loaded")), "{said:#?}");
}

#[test]
fn a_server_whose_log_nobody_reads_answers_all_the_same() {
    let mut process = Command::new(env!("CARGO_BIN_EXE_kvasir"))
        .arg("serve")
        .arg(smollm2())
        .args(["--port", "0", "--max-model-len", "256", "--enable-log-requests"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let url = lines.find_map(|line| listening_on(&line.unwrap())).unwrap();
    drop(lines);
    let mut said = String::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
        let body = json!({ "prompt": [1, 2, 3], "max_tokens": 1 }).to_string();
        let head = format!(
            "POST {COMPLETIONS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        said.clear();
        stream.read_to_string(&mut said).unwrap();
        assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    }
    process.kill().unwrap();
    process.wait().unwrap();
}
