//! Clients that are slow, too many, encrypted or impatient.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::running::{PATIENCE, Running, serve};
use crate::{CHAT, COMPLETIONS, question, with};

const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/server/tls/cert.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/server/tls/key.pem");

fn connect(server: &Running) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// All that a connection says until it is closed.
fn rest(mut stream: TcpStream) -> String {
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    String::from_utf8(said).unwrap()
}

fn story(more: Value) -> Value {
    with(
        question("Tell me a long story."),
        with(json!({ "max_tokens": 1900, "ignore_eos": true }), more),
    )
}

#[test]
fn a_client_may_take_so_long_and_no_longer() {
    let server =
        serve(&["--header-timeout", "0.4", "--body-timeout", "0.4", "--request-timeout", "2"]);
    // A head that never ends, one letter at a time: what was sent before does not count.
    let mut slow = connect(&server);
    let start = Instant::now();
    for byte in b"GET /health HTTP/1.1\r\nHost: x\r\nX-".iter().cycle() {
        if slow.write_all(&[*byte]).is_err() || start.elapsed() > PATIENCE {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(!rest(connect(&server)).contains("200"), "a silent client is let go");
    let mut slow = connect(&server);
    slow.write_all(
        format!("POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{{").as_bytes(),
    )
    .unwrap();
    let said = rest(slow);
    assert!(said.starts_with("HTTP/1.1 408 ") && said.contains("within 0.4 s"), "{said}");
    // An answer that takes too long is given up, and its request with it.
    let error = server.post(CHAT, &story(json!({}))).refused(504);
    assert!(error["message"].as_str().unwrap().contains("within 2 s"), "{error}");
    let chunks = server.stream(CHAT, &story(json!({ "stream": true })));
    assert_eq!(chunks.last().unwrap()["error"]["code"], 504);
    assert!(chunks.len() > 2);
    server.wait_until("the requests end", |server| {
        server.get("/load").ok()["server_load"] == 0
            && server.metric("vllm:num_requests_running") == 0.0
    });
}

#[test]
fn who_finds_no_place_is_told_to_come_again() {
    let server = serve(&["--max-connections", "2"]);
    let idle = [connect(&server), connect(&server)];
    let said = rest(connect(&server));
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("retry-after: 1"), "{head}");
    let error: Value = serde_json::from_str(body).unwrap();
    assert_eq!(error["error"]["code"], 503);
    drop(idle);
    server.wait_until("there is a place again", |server| server.get("/health").status == 200);
}

#[test]
fn connections_can_be_encrypted() {
    let mut server = serve(&["--ssl-certfile", CERTIFICATE, "--ssl-keyfile", KEY]);
    assert!(server.url("").starts_with("https://127.0.0.1:"));
    let pem = std::fs::read(CERTIFICATE).unwrap();
    let roots = RootCerts::from(vec![Certificate::from_pem(&pem).unwrap()]);
    let tls = TlsConfig::builder().root_certs(roots).build();
    let agent = Agent::config_builder().tls_config(tls).timeout_global(Some(PATIENCE)).build();
    let agent = agent.new_agent();
    let mut answer = agent
        .post(server.url(CHAT))
        .send(question("Hi").to_string())
        .expect("the certificate is known");
    let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
    assert_eq!(answer["object"], "chat.completion");
    // Who does not know the certificate, or speaks plainly, is not answered.
    assert!(Agent::new_with_defaults().get(server.url("/health")).call().is_err());
    let mut plain = TcpStream::connect(server.url("").strip_prefix("https://").unwrap()).unwrap();
    plain.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP"));
    server.terminate();
    assert!(server.wait().success());
}

#[test]
fn requests_have_the_ids_that_clients_give_them() {
    let server = serve(&["--enable-request-id-headers"]);
    let body = json!({ "prompt": "Hi", "max_tokens": 2, "request_id": "in-body" }).to_string();
    let ask = |id: Option<&str>| {
        let mut request = ureq::post(server.url(COMPLETIONS));
        if let Some(id) = id {
            request = request.header("X-Request-Id", id);
        }
        let mut response = request.send(&body).unwrap();
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let body: Value =
            serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap();
        (id, body["id"].as_str().unwrap().to_owned())
    };
    assert_eq!(ask(Some("mine")), ("mine".to_owned(), "cmpl-mine".to_owned()));
    let (id, in_answer) = ask(None);
    assert_eq!((id.len(), in_answer), (32, format!("cmpl-{id}")));
    let plain = serve(&[]);
    let response = ureq::post(plain.url(COMPLETIONS)).send(&body).unwrap();
    assert!(!response.headers().contains_key("x-request-id"), "only where it is asked for");
    let long = json!({ "prompt": "Hi", "request_id": "x".repeat(300) });
    plain.post(COMPLETIONS, &long).refused(400);
}

/// A short request for the whole vocabulary at each token of a long prompt would take all memory.
#[test]
fn log_probabilities_are_bounded() {
    let ask = |server: &Running, path, fields| {
        server.post(path, &with(json!({ "max_tokens": 1, "temperature": 0 }), fields))
    };
    let server = serve(&[]);
    for (field, fields) in [
        ("logprobs", json!({ "prompt": "Hi", "logprobs": 21 })),
        ("prompt_logprobs", json!({ "prompt": "Hi", "prompt_logprobs": 21 })),
        ("prompt_logprobs", json!({ "prompt": "Hi", "prompt_logprobs": -1 })),
    ] {
        let error = ask(&server, COMPLETIONS, fields).refused(400);
        assert_eq!(error["param"], field);
        assert!(error["message"].as_str().unwrap().contains("--max-logprobs"), "{error}");
    }
    let chat = with(question("Hi"), json!({ "logprobs": true, "top_logprobs": 21 }));
    assert_eq!(server.post(CHAT, &chat).refused(400)["param"], "top_logprobs");
    let most = json!({ "prompt": "Hi", "logprobs": 20, "prompt_logprobs": 20 });
    ask(&server, COMPLETIONS, most).ok();
    let server = serve(&["--max-logprobs", "50000"]);
    let all = ask(&server, COMPLETIONS, json!({ "prompt": [1, 2], "prompt_logprobs": -1 })).ok();
    let of_prompt = &all["choices"][0]["prompt_logprobs"];
    assert_eq!(of_prompt[1].as_object().unwrap().len(), 49_152, "the vocabulary");
}
