//! `kvasir bench serve`: load on our own server, whose counters must agree, and on endpoints that fail.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use serde_json::{Value, json};

use crate::command::{ByteModel, Run, kvasir, kvasir_with};
use crate::page::Report;
use crate::running::{PATIENCE, Running, serve_model};

/// A load on an endpoint, with the tokenizer of `model`; what `more` does not say is small.
fn load(url: &str, model: &ByteModel, more: &[&str]) -> Run {
    let mut args = vec!["bench", "serve", "--tokenizer", model.arg(), "--json"];
    let defaults = [
        ["--base-url", url],
        ["--input-len", "24"],
        ["--output-len", "6"],
        ["--num-prompts", "12"],
    ];
    args.extend(defaults.iter().filter(|[name, _]| !more.contains(name)).flatten());
    args.extend(more);
    kvasir(&args)
}

fn result(run: Run) -> Value {
    serde_json::from_str(&run.ok()).unwrap()
}

fn number(result: &Value, key: &str) -> f64 {
    result[key].as_f64().unwrap_or_else(|| panic!("{key}: {result}"))
}

fn numbers(result: &Value, key: &str) -> Vec<f64> {
    result[key].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

/// Prompt tokens, tokens of answers, and requests, by the server's count.
fn counted(server: &Running) -> [f64; 3] {
    ["prompt_tokens_total", "generation_tokens_total", "request_success_total"]
        .map(|name| server.metric(&format!("vllm:{name}")))
}

#[test]
fn figures_are_those_of_the_servers_metrics() {
    let model = ByteModel::new();
    let server = serve_model(model.path(), &[]);
    for endpoint in ["/v1/completions", "/v1/chat/completions"] {
        let before = counted(&server);
        let more = ["--endpoint", endpoint, "--random-range-ratio", "0.5", "--random-prefix-len"];
        let traffic = ["8", "--max-concurrency", "3", "--request-rate", "200", "--save-detailed"];
        let result = result(load(&server.url(""), &model, &[&more[..], &traffic].concat()));
        let after = counted(&server);
        let of_server: Vec<f64> =
            before.iter().zip(after).map(|(before, after)| after - before).collect();
        let of_client = ["total_input_tokens", "total_output_tokens", "completed"];
        assert_eq!(
            of_client.map(|key| number(&result, key)),
            of_server[..],
            "{endpoint}: {result}"
        );
        assert_eq!((number(&result, "completed"), number(&result, "failed")), (12.0, 0.0));
        check_sums(&result);
        assert_eq!(result["model_id"], "smollm2", "the first that the server lists");
    }
}

/// What is said of the whole run is what is said of its requests.
fn check_sums(result: &Value) {
    let sum = |key: &str| numbers(result, key).iter().sum::<f64>();
    assert_eq!(sum("input_lens"), number(result, "total_input_tokens"));
    assert_eq!(sum("output_lens"), number(result, "total_output_tokens"));
    assert!(numbers(result, "output_lens").iter().all(|len| (3.0..=9.0).contains(len)), "{result}");
    let duration = number(result, "duration");
    let is = |key: &str, num: f64| {
        assert!((number(result, key) * duration / num - 1.0).abs() < 1e-9, "{key}: {result}");
    };
    is("request_throughput", 12.0);
    is("output_throughput", sum("output_lens"));
    is("total_token_throughput", sum("input_lens") + sum("output_lens"));
    assert!(number(result, "max_concurrent_requests") <= 3.0, "{result}");
    let mean_ttft_ms = sum("ttfts") / 12.0 * 1e3;
    assert!((number(result, "mean_ttft_ms") / mean_ttft_ms - 1.0).abs() < 1e-9, "{result}");
    let itls = result["itls"].as_array().unwrap();
    for (index, latency) in numbers(result, "latencies").into_iter().enumerate() {
        let itls: f64 =
            itls[index].as_array().unwrap().iter().map(|itl| itl.as_f64().unwrap()).sum();
        assert!(numbers(result, "ttfts")[index] + itls <= latency, "{result}");
    }
    for key in
        ["std_itl_ms", "median_tpot_ms", "p99_itl_ms", "burstiness", "max_output_tokens_per_s"]
    {
        assert!(result[key].is_number(), "{key}: {result}");
    }
    for key in ["date", "backend", "tokenizer_id", "endpoint_type"] {
        assert!(result[key].is_string(), "{key}: {result}");
    }
    assert_eq!(
        (result["errors"][11].as_str(), result["request_rate"].as_f64()),
        (Some(""), Some(200.0))
    );
}

#[test]
fn the_same_seed_asks_the_same_and_a_trace_keeps_its_times() {
    let model = ByteModel::new();
    let server = serve_model(model.path(), &[]);
    let texts = |more: &[&str]| {
        let greedy = ["--save-detailed", "--temperature", "0", "--input-len", "9"];
        result(load(&server.url(""), &model, &[&greedy, more].concat()))["generated_texts"].clone()
    };
    assert_eq!(texts(&["--seed", "3"]), texts(&["--seed", "3"]));
    assert_ne!(texts(&["--seed", "3"]), texts(&["--seed", "4"]));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.jsonl");
    let line = |ms: u32, length: u32, ids: &[u32]| {
        json!({ "timestamp": ms, "input_length": length, "output_length": 2, "hash_ids": ids })
            .to_string()
    };
    let lines = [line(1000, 40, &[1, 2, 3]), line(1300, 32, &[1, 2]), line(1500, 20, &[1, 7])];
    std::fs::write(&path, lines.join("\n")).unwrap();
    let trace = ["--dataset-name", "timed_trace", "--dataset-path", path.to_str().unwrap()];
    let chunk = ["--timed-trace-chunk-hash-size", "16", "--save-detailed", "--num-warmups", "1"];
    let before = server.metric("vllm:prefix_cache_hits_total");
    let result = result(load(&server.url(""), &model, &[&trace[..], &chunk].concat()));
    assert_eq!(numbers(&result, "input_lens"), [40.0, 32.0, 20.0]);
    assert_eq!(numbers(&result, "output_lens"), [2.0; 3]);
    let starts = numbers(&result, "start_times");
    assert!(starts[1] >= 0.3 && starts[2] >= 0.5, "{starts:?}");
    // What the warm-up computed, the first finds; of the others, the blocks of 16 tokens that the first has too. Of a
    // prompt that is all there, the last block is computed again.
    let found = server.metric("vllm:prefix_cache_hits_total") - before;
    assert_eq!(found, 32.0 + 16.0 + 16.0);
    let chat = ["--endpoint", "/v1/chat/completions"];
    load(&server.url(""), &model, &[&trace[..], &chunk, &chat].concat())
        .usage_error(&["token ids", "/v1/completions"]);
}

#[test]
fn a_report_has_figures_pictures_and_no_secret() {
    let model = ByteModel::new();
    let server = serve_model(model.path(), &["--api-key", "the-secret"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    let pid = server.pid().to_string();
    let figures =
        ["--goodput", "ttft:1e9", "e2el:1e9", "--pid", &pid, "--percentile-metrics", "e2el"];
    let files = ["--html", path.to_str().unwrap(), "--api-key", "the-secret"];
    let save = ["--append-result", "--result-dir", folder.path().to_str().unwrap()];
    let name = ["--result-filename", "all.jsonl", "--metadata", "run=x"];
    let again = [&figures[..], &files, &save, &name].concat();
    let shown = result(load(&server.url(""), &model, &again));
    assert_eq!(shown["request_goodput"], shown["request_throughput"]);
    assert!(shown["p99_e2el_ms"].is_number() && shown["p99_ttft_ms"].is_null(), "{shown}");
    assert!(number(&shown["memory"], "host_peak_bytes") > 1e6, "{shown}");
    assert_eq!(shown["errors"], Value::Null, "only with --save-detailed");
    let report = Report::read(&path);
    assert_eq!(report.num_pictures, 6);
    for text in
        ["Time to First Token", "Memory over time", "Processor", "--api-key ***", "bench serve"]
    {
        assert!(report.says(text), "{text}");
    }
    assert!(!report.says("the-secret"));
    load(&server.url(""), &model, &again).ok();
    let saved = std::fs::read_to_string(folder.path().join("all.jsonl")).unwrap();
    let saved: Vec<Value> = saved.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((saved.len(), &saved[0], &saved[1]["run"]), (2, &shown, &json!("x")));

    let denied = kvasir_with(
        &["bench", "serve", "--base-url", &server.url(""), "--tokenizer", model.arg()],
        &[("OPENAI_API_KEY", "wrong")],
        "",
    );
    assert!(denied.code == Some(2) && denied.stderr.contains("401"), "{}", denied.stderr);
}

#[test]
fn a_server_behind_tls_is_reached_if_its_certificate_is_trusted() {
    let file = |name: &str| format!("{}/tests/server/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let model = ByteModel::new();
    let (certificate, key) = (file("cert.pem"), file("key.pem"));
    let server =
        serve_model(model.path(), &["--ssl-certfile", &certificate, "--ssl-keyfile", &key]);
    let url = server.url("");
    assert!(url.starts_with("https://"), "{url}");
    let trusted = result(load(&url, &model, &["--insecure"]));
    assert_eq!(number(&trusted, "completed"), 12.0);
    let run = load(&url, &model, &["--model", "smollm2"]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("certificate"), "{}", run.stderr);
}

#[test]
fn endpoints_that_fail_are_counted_and_named() {
    let model = ByteModel::new();
    // Nobody listens on a port that was just given back.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    load(&url, &model, &[]).usage_error(&["/v1/models", "--base-url"]);
    let run = load(&url, &model, &["--model", "m"]);
    assert_eq!(run.code, Some(2));
    assert!(
        run.stderr.contains("all of 12 requests failed") && run.stderr.contains("refused"),
        "{}",
        run.stderr
    );
    let result: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((number(&result, "failed"), number(&result, "completed")), (12.0, 0.0));
    load(&url, &model, &["--model", "m", "--num-warmups", "1"])
        .usage_error(&["warm-up", "refused"]);
    load(&url, &model, &["--base-url", "localhost:8000"]).usage_error(&["http://"]);
    load(&url, &model, &["--endpoint", "/v1/embeddings"]).usage_error(&["/v1/chat/completions"]);
    load(&url, &model, &["--random-range-ratio", "1"]).usage_error(&["below 1"]);
    load(&url, &model, &["--model", "m", "--dataset-name", "sharegpt"])
        .usage_error(&["--dataset-path"]);
}

/// Answers each connection in its way.
fn listen(answer: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(answer));
    url
}

/// What a run of a few requests says of the first that failed.
fn failure(url: &str, more: &[&str]) -> String {
    let start = Instant::now();
    let few = ["--model", "m", "--num-prompts", "3"];
    let run = load(url, &ByteModel::new(), &[&few, more].concat());
    assert!(start.elapsed() < PATIENCE);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    let result: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(number(&result, "failed"), 3.0);
    run.stderr
}

#[test]
fn an_endpoint_that_is_silent_or_breaks_off_is_waited_for_no_longer() {
    let (sender, kept) = std::sync::mpsc::channel();
    let silent = listen(move |stream| drop(sender.send(stream)));
    let said = failure(&silent, &["--request-timeout", "0.3"]);
    assert!(said.contains("timed out"), "{said}");
    drop(kept);

    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    let token = "data: {\"choices\":[{\"index\":0,\"text\":\"x\"}]}\n\n";
    let stream = format!("{head}{token}");
    let cut = listen(move |mut client| {
        let mut request = Vec::new();
        // A connection that is closed with something unread is reset, and what was written lost.
        while !request.ends_with(b"}") {
            let mut bytes = [0; 4096];
            let num = client.read(&mut bytes).unwrap_or(0);
            request.extend_from_slice(&bytes[..num]);
            if num == 0 {
                break;
            }
        }
        let _ = client.write_all(stream.as_bytes());
    });
    let said = failure(&cut, &[]);
    assert!(said.contains("in the middle of the answer"), "{said}");
}

#[test]
fn a_server_that_dies_midway_leaves_counted_errors() {
    let model = ByteModel::new();
    let server = serve_model(model.path(), &[]);
    let url = server.url("");
    let run = std::thread::spawn(move || {
        load(
            &url,
            &model,
            &["--max-concurrency", "2", "--num-prompts", "4000", "--output-len", "40"],
        )
    });
    server.wait_until("some are answered", |server| {
        server.metric("vllm:request_success_total") >= 3.0
    });
    drop(server);
    let run = run.join().unwrap();
    assert!(run.stderr.contains("requests failed"), "{}", run.stderr);
    let result: Value = serde_json::from_str(&run.ok()).unwrap();
    let [completed, failed] = ["completed", "failed"].map(|key| number(&result, key));
    assert!(completed >= 3.0 && failed > 0.0 && completed + failed == 4000.0, "{result}");
}
