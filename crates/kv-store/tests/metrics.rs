//! Figures as Prometheus and as the recipe's client read them, over a socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use kv_store::counters::TierStats;
use kv_store::metrics::{
    Format, MetricsServer, ServeError, Served, Service, Snapshot, json, prometheus,
};
use kv_store::outcome::TierKind;
use kv_store::planner::PredictionError;
use kv_store::tier::Usage;
use serde_json::Value;

fn snapshot() -> Snapshot {
    let served = Served::default();
    let clone = served.clone();
    clone.count(&Service { num_tokens: 300, ..Service::default() });
    served.count(&Service {
        num_tokens: 900,
        num_cached_tokens: 768,
        bytes: 5_000_000_000,
        compute_time_saved: Duration::from_millis(2500),
    });
    let usage = Usage { num_chunks: 3, bytes: 12, cap_bytes: 100 };
    let stats = |hits| {
        let mut stats = TierStats::default();
        stats.hits = hits;
        stats.read_us = 1_500_000;
        stats
    };
    Snapshot {
        served: served.sums(),
        tiers: vec![(TierKind::Host, usage, stats(7)), (TierKind::Disk, usage, stats(2))],
        prediction: Some(PredictionError { num_plans: 4, mean: 0.125, last: 0.0 }),
    }
}

#[test]
fn the_recipes_client_finds_its_names() {
    let value: Value = serde_json::from_str(&json(&snapshot())).unwrap();
    assert_eq!(value["cache_hit_rate"], 0.64);
    assert_eq!(value["bytes_saved"], 5_000_000_000u64);
    assert_eq!(value["compute_time_saved_sec"], 2.5);
    assert_eq!((&value["requests"], &value["hits"]), (&2.into(), &1.into()));
    assert_eq!(value["tiers"]["disk"]["hits"], 2);
    let empty: Value = serde_json::from_str(&json(&Snapshot::default())).unwrap();
    assert_eq!(empty["cache_hit_rate"], 0.0, "and no division by nothing");
}

/// Each family has one HELP, one TYPE and then its samples; each sample is a name, perhaps a label, and a number.
#[test]
fn prometheus_text_is_well_formed() {
    let text = prometheus(&snapshot());
    let mut family = String::new();
    let mut families = std::collections::BTreeSet::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().unwrap().to_owned();
            assert!(families.insert(family.clone()), "{family} twice");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(name == family && ["gauge", "counter"].contains(&kind), "{line}");
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(name.split('{').next().unwrap(), family);
            assert!(value.parse::<f64>().unwrap().is_finite(), "{line}");
        }
    }
    for line in [
        "kvasir_cache_hit_rate 0.64",
        "kvasir_bytes_saved 5000000000",
        "kvasir_compute_time_saved_sec 2.5",
        "kvasir_cache_misses_total 1",
        "kvasir_planner_prediction_error 0.125",
        "kvasir_tier_hits_total{tier=\"host\"} 7",
        "kvasir_tier_hits_total{tier=\"disk\"} 2",
        "kvasir_tier_read_seconds_total{tier=\"disk\"} 1.5",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn accept_chooses() {
    for (accept, format) in [
        ("", Format::Json),
        ("*/*", Format::Json),
        ("application/json", Format::Json),
        ("text/plain", Format::Prometheus),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
            Format::Prometheus,
        ),
        ("*/*, text/plain", Format::Prometheus),
        ("text/plain;q=0.2, application/json;q=0.8", Format::Json),
        ("text/plain;q=0, */*", Format::Json),
        ("image/png", Format::Json),
        ("text/plain;q=NaN", Format::Json),
        (";;,,q=", Format::Json),
    ] {
        assert_eq!(Format::accepted(accept), format, "{accept:?}");
    }
}

fn get(port: u16, path: &str, accept: &str) -> (u16, String, String) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let url = format!("http://127.0.0.1:{port}{path}");
    let mut answer = agent.get(url).header("Accept", accept).call().unwrap();
    let media =
        answer.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
    let body = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), media.unwrap_or_default(), body)
}

#[test]
fn the_page_is_served() {
    let server = MetricsServer::start(0, Arc::new(snapshot)).unwrap();
    let (status, media, body) = get(server.port(), "/metrics?x=1", "*/*");
    assert_eq!((status, media.as_str()), (200, "application/json"));
    assert_eq!(body, json(&snapshot()));
    let (status, media, body) = get(server.port(), "/metrics", "text/plain");
    assert!(status == 200 && media.contains("version=0.0.4"), "{media}");
    assert_eq!(body, prometheus(&snapshot()));
    assert_eq!(get(server.port(), "/", "*/*").0, 404);
}

#[test]
fn what_is_no_request_for_metrics_is_refused() {
    let server = MetricsServer::start(0, Arc::new(snapshot)).unwrap();
    let status = |request: &[u8]| {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        // The server may answer and close before it has all.
        let _ = stream.write_all(request);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer.split(' ').nth(1).map(str::to_owned).unwrap_or_default()
    };
    assert_eq!(status(b"POST /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), "405");
    assert_eq!(status(b"\xff\xfe\0\r\n\r\n"), "400");
    assert_eq!(get(server.port(), "/metrics", "*/*").0, 200, "it goes on");
}

/// One that is connected and says nothing keeps nobody waiting, not even who ends the server.
#[test]
fn a_silent_client_holds_nobody_up() {
    let server = MetricsServer::start(0, Arc::new(snapshot)).unwrap();
    let silent = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    assert_eq!(get(server.port(), "/metrics", "*/*").0, 200);
    drop(server);
    let mut end = [0];
    assert_eq!((&silent).read(&mut end).unwrap_or(0), 0, "it was cut off");
}

#[test]
fn a_port_is_had_by_one_and_given_back() {
    let server = MetricsServer::start(0, Arc::new(snapshot)).unwrap();
    let port = server.port();
    let Err(ServeError::Bind { port: told, .. }) = MetricsServer::start(port, Arc::new(snapshot))
    else {
        panic!("{port} is taken");
    };
    assert_eq!(told, port);
    drop(server);
    assert!(MetricsServer::start(port, Arc::new(snapshot)).is_ok());
}
