//! Spans of requests, as a collector of OpenTelemetry gets them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;
use serde_json::{Value, json};

use crate::running::serve;
use crate::{CHAT, COMPLETIONS, ask_and_read_a_little, question, with};

/// Takes spans by OTLP over HTTP.
struct Collector {
    url: String,
    taken: Arc<Mutex<Vec<ResourceSpans>>>,
}

impl Collector {
    fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let taken = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&taken);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let spans = take(stream.unwrap());
                kept.lock().unwrap().extend(spans);
            }
        });
        Collector { url, taken }
    }

    /// Those so far, with what is said of who sent them.
    fn spans(&self) -> (Vec<KeyValue>, Vec<Span>) {
        let taken = self.taken.lock().unwrap().clone();
        let resource = taken[0].resource.clone().unwrap().attributes;
        let scopes = taken.into_iter().flat_map(|of_resource| of_resource.scope_spans);
        (resource, scopes.flat_map(|scope| scope.spans).collect())
    }
}

/// One export, which is taken whole.
fn take(mut stream: TcpStream) -> Vec<ResourceSpans> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_ascii_lowercase()),
        }
    }
    assert_eq!(head[0], "post /v1/traces http/1.1");
    assert!(head.contains(&"content-type: application/x-protobuf".to_owned()), "{head:?}");
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    // The message that says that all was taken has no bytes.
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\
                  Connection: close\r\n\r\n";
    stream.write_all(answer.as_bytes()).unwrap();
    ExportTraceServiceRequest::decode(&body[..]).unwrap().resource_spans
}

/// An attribute, as JSON.
fn attribute(attributes: &[KeyValue], name: &str) -> Value {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    let found = found.unwrap_or_else(|| panic!("no {name} in {attributes:#?}"));
    as_json(found.value.clone().unwrap())
}

fn as_json(value: AnyValue) -> Value {
    match value.value.unwrap() {
        Any::StringValue(text) => json!(text),
        Any::IntValue(count) => json!(count),
        Any::DoubleValue(number) => json!(number),
        Any::ArrayValue(list) => list.values.into_iter().map(as_json).collect(),
        other => panic!("{other:?}"),
    }
}

fn span_of<'a>(spans: &'a [Span], request_id: &str) -> &'a Span {
    let is_its = |span: &&Span| attribute(&span.attributes, "gen_ai.request.id") == request_id;
    let of_request: Vec<&Span> = spans.iter().filter(is_its).collect();
    let [span] = of_request[..] else { panic!("{request_id}: {spans:#?}") };
    span
}

#[test]
fn each_request_is_a_span_below_its_clients() {
    let collector = Collector::start();
    let mut server = serve(&["--otlp-traces-endpoint", &collector.url]);
    let ask = json!({ "request_id": "a", "n": 2, "temperature": 0.5, "top_p": 0.75, "seed": 1 });
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let answered =
        server.post_with_header(CHAT, &with(question("Hi"), ask), ("traceparent", parent)).ok();
    let refused = json!({ "prompt": vec![1; 3000], "max_tokens": 1, "request_id": "b" });
    let refused = server.post(COMPLETIONS, &refused).refused(400);
    // A client that asked for no trace, by the flag of its parent, gets none.
    let silent = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
    let one = json!({ "prompt": [1], "max_tokens": 1, "request_id": "c" });
    server.post_with_header(COMPLETIONS, &one, silent).ok();
    drop(ask_and_read_a_little(&server, 1900));
    // Long before a batch is due: the end of the server sends what it has.
    server.terminate();
    assert!(server.wait().success());

    let (resource, spans) = collector.spans();
    assert_eq!(attribute(&resource, "service.name"), "kvasir");
    assert_eq!(spans.len(), 3, "{spans:#?}");
    let span = span_of(&spans, "chatcmpl-a");
    assert_eq!((span.name.as_str(), span.kind()), ("llm_request", SpanKind::Server));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let ids = (hex(&span.trace_id), hex(&span.parent_span_id));
    assert_eq!(format!("00-{}-{}-01", ids.0, ids.1), parent);
    let of = |name: &str| attribute(&span.attributes, &format!("gen_ai.{name}"));
    assert_eq!(of("request.temperature"), 0.5);
    assert_eq!(of("request.top_p"), 0.75);
    assert_eq!((of("request.n"), of("request.max_tokens")), (json!(2), json!(12)));
    let usage = &answered["usage"];
    assert_eq!(of("usage.prompt_tokens"), usage["prompt_tokens"]);
    assert_eq!(of("usage.completion_tokens"), usage["completion_tokens"]);
    let choices = answered["choices"].as_array().unwrap();
    let reasons: Value = choices.iter().map(|choice| choice["finish_reason"].clone()).collect();
    assert_eq!(of("response.finish_reasons"), reasons);
    let seconds = |name: &str| of(&format!("latency.{name}")).as_f64().unwrap();
    let (first, last) = (seconds("time_to_first_token"), seconds("e2e"));
    assert!(0.0 <= seconds("time_in_queue") && seconds("time_in_queue") <= first && first <= last);
    let lasted = (span.end_time_unix_nano - span.start_time_unix_nano) as f64 * 1e-9;
    assert!(lasted > last - 1e-3, "{lasted} s for {last} s");
    assert!(span.status.as_ref().is_none_or(|status| status.code() == StatusCode::Unset));

    let span = span_of(&spans, "cmpl-b");
    assert!(span.parent_span_id.is_empty());
    let status = span.status.as_ref().unwrap();
    assert_eq!(status.code(), StatusCode::Error);
    assert!(refused["message"].as_str().unwrap().contains(&status.message), "{status:?}");

    // Its client went away.
    let is_aborted = |span: &&Span| {
        let reasons = span.attributes.iter().find(|of| of.key == "gen_ai.response.finish_reasons");
        reasons.is_some_and(|of| as_json(of.value.clone().unwrap()) == json!(["abort"]))
    };
    assert_eq!(spans.iter().filter(is_aborted).count(), 1, "{spans:#?}");
}

#[test]
fn a_collector_that_takes_nothing_disturbs_nobody() {
    // One listens and never answers, the other is not there.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [silent.local_addr().unwrap(), gone] {
        let mut server = serve(&["--otlp-traces-endpoint", &format!("http://{address}/v1/traces")]);
        for _ in 0..3 {
            server.post(COMPLETIONS, &json!({ "prompt": [1, 2], "max_tokens": 2 })).ok();
        }
        server.terminate();
        assert!(server.wait().success());
        let is_told = |line: &String| line.contains("ERROR opentelemetry_sdk");
        server.wait_until("it tells that", |server| server.said().iter().any(is_told));
    }
}
