//! Many clients at once, most of them bad: afterwards the server has what it had before.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::COMPLETIONS;
use crate::running::{PATIENCE, Running, serve_model};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/families/llama");
const NUM_CLIENTS: usize = 256;

/// Longest that the server's health may take to tell, for 99 of 100: while all cores are busy with 256 clients on the same
/// machine, and other tests; alone, as in long runs, less.
fn health_bound() -> Duration {
    Duration::from_millis(if is_long() { 50 } else { 500 })
}

fn is_long() -> bool {
    std::env::var_os("KVASIR_LONG").is_some_and(|value| value == "1")
}

/// A request for a stream.
fn request(client: usize) -> String {
    let prompt: Vec<usize> = (0..20).map(|place| 3 + (client * 7 + place * 13) % 250).collect();
    let body = json!({
        "prompt": prompt, "max_tokens": 60, "ignore_eos": true, "logprobs": 3, "stream": true, "seed": client,
    });
    let body = body.to_string();
    format!(
        "POST {COMPLETIONS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn connect(address: &str) -> Option<TcpStream> {
    let stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    Some(stream)
}

fn read_all(mut stream: TcpStream) -> String {
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

/// One visit; whether an answer came whole.
fn visit(address: &str, client: usize, round: usize) -> Option<bool> {
    let mut stream = connect(address)?;
    let request = request(client);
    let asks = |stream: &mut TcpStream| stream.write_all(request.as_bytes()).is_ok();
    match (client + round) % 8 {
        // Goes away in the middle.
        3 => {
            asks(&mut stream);
            let _ = stream.read(&mut [0; 300]);
        }
        // Reads nothing for a while, and goes.
        4 => {
            asks(&mut stream);
            std::thread::sleep(Duration::from_millis(700));
        }
        // Sends slowly, but all.
        5 => {
            for piece in request.as_bytes().chunks(40) {
                stream.write_all(piece).ok()?;
                std::thread::sleep(Duration::from_millis(10));
            }
            return Some(read_all(stream).contains("[DONE]"));
        }
        // Sends what is no request, or none that can be answered.
        6 => {
            let bad = [
                "\0\u{1}\u{2}\r\n\r\n".to_owned(),
                request.replace("\"prompt\"", "\"promt\""),
                request.replace("HTTP/1.1", "HTTP/9"),
                request.replace("Content-Length: ", "Content-Length: 9"),
            ];
            let _ = stream.write_all(bad[round % bad.len()].as_bytes());
            let _ = stream.shutdown(std::net::Shutdown::Write);
            read_all(stream);
        }
        // Begins a head, and waits.
        7 => {
            let _ = stream.write_all(&request.as_bytes()[..30]);
            std::thread::sleep(Duration::from_millis(300));
        }
        _ => {
            asks(&mut stream);
            return Some(read_all(stream).contains("[DONE]"));
        }
    }
    None
}

/// How long `/health` took, each time, sorted.
fn watch_health(address: &str, is_over: &AtomicBool) -> Vec<Duration> {
    let mut taken = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let start = Instant::now();
        let mut stream = connect(address).expect("there is a place for whoever asks for health");
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        assert!(read_all(stream).starts_with("HTTP/1.1 200"));
        taken.push(start.elapsed());
        std::thread::sleep(Duration::from_millis(10));
    }
    taken.sort();
    taken
}

fn num_files(server: &Running) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count()
}

fn resident_kib(server: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn rush(server: &Running, duration: Duration) -> (u64, u64, Vec<Duration>) {
    let (address, is_over) = (server.address(), AtomicBool::new(false));
    let (num_whole, num_broken) = (AtomicU64::new(0), AtomicU64::new(0));
    let end = Instant::now() + duration;
    let taken = std::thread::scope(|scope| {
        let health = scope.spawn(|| watch_health(address, &is_over));
        let clients: Vec<_> = (0..NUM_CLIENTS)
            .map(|client| {
                let (num_whole, num_broken) = (&num_whole, &num_broken);
                scope.spawn(move || {
                    for round in (0..).take_while(|_| Instant::now() < end) {
                        match visit(address, client, round) {
                            Some(true) => num_whole.fetch_add(1, Ordering::Relaxed),
                            Some(false) => num_broken.fetch_add(1, Ordering::Relaxed),
                            None => 0,
                        };
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        is_over.store(true, Ordering::Relaxed);
        health.join().unwrap()
    });
    (num_whole.into_inner(), num_broken.into_inner(), taken)
}

#[test]
fn a_rush_of_bad_clients_leaves_nothing_behind() {
    let server = serve_model(
        MODEL,
        &["--max-model-len", "128", "--kv-cache-memory-bytes", "33554432", "--dtype", "float32"],
    );
    // What is made once is made.
    rush(&server, Duration::from_millis(500));
    let is_quiet = |server: &Running| {
        server.get("/load").ok()["server_load"] == 0
            && server.metric("vllm:num_requests_running") == 0.0
            && server.metric("vllm:num_requests_waiting") == 0.0
            && server.metric("vllm:kv_cache_usage_perc") == 0.0
    };
    server.wait_until("it is quiet before", is_quiet);
    let (files, memory) = (num_files(&server), resident_kib(&server));
    let (num_whole, num_broken, taken) =
        rush(&server, Duration::from_secs(if is_long() { 120 } else { 5 }));
    server.wait_until("it is quiet again", is_quiet);
    server.wait_until("files are closed", |server| num_files(server) <= files);
    let grown = resident_kib(&server).saturating_sub(memory);
    let p99 = taken[taken.len() * 99 / 100];
    println!(
        "{num_whole} whole answers; /health {} times, median {:?}, p99 {p99:?}; {grown} KiB more than before",
        taken.len(),
        taken[taken.len() / 2],
    );
    assert_eq!(num_broken, 0, "answers to those who read them");
    assert!(num_whole > NUM_CLIENTS as u64 / 4);
    assert!(grown < 48 << 10, "{grown} KiB were not given back");
    assert!(p99 < health_bound(), "{p99:?}");
    assert!(!server.has_panicked());
}
