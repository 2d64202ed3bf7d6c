//! The page at `/`, and the state that it shows.

use serde_json::{Value, json};

use crate::ask_and_read_a_little;
use crate::running::{Running, serve};

/// Status and headers, and what came.
fn get(server: &Running, path: &str) -> (u16, impl Fn(&str) -> String, String) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut response = agent.get(server.url(path)).call().unwrap();
    let body = response.body_mut().read_to_string().unwrap();
    let headers = response.headers().clone();
    let header = move |name: &str| {
        headers.get(name).map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    };
    (response.status().as_u16(), header, body)
}

fn state(server: &Running) -> Value {
    server.get("/kvasir/state").ok()
}

/// kv_blocks by what they are used for.
fn num_blocks(state: &Value, name: &str) -> u64 {
    state["kv_blocks"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {state}"))
}

#[test]
fn a_browser_gets_the_page_and_nothing_that_it_must_not_trust() {
    let server = serve(&["--api-key", "one"]);
    for (path, content_type, begin) in [
        ("/", "text/html; charset=utf-8", "<!doctype html>"),
        ("/page/style.css", "text/css; charset=utf-8", "/*"),
        ("/page/main.js", "text/javascript; charset=utf-8", "//"),
        ("/page/icon.svg", "image/svg+xml", "<svg"),
    ] {
        let (status, header, body) = get(&server, path);
        assert_eq!((status, header("content-type").as_str()), (200, content_type), "{path}");
        assert!(body.starts_with(begin), "{path}: {body}");
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert_eq!(header("x-content-type-options"), "nosniff");
    }
    server.get("/page/nothing.js").refused(404);
    server.get("/kvasir/state").refused(401);
}

#[test]
fn who_wants_no_page_has_none() {
    let server = serve(&["--disable-page"]);
    server.get("/").refused(404);
    server.get("/page/main.js").refused(404);
    assert!(num_blocks(&state(&server), "total") > 0);
}

#[test]
fn the_state_adds_up_and_agrees_with_the_metrics() {
    let server = serve(&[]);
    let idle = state(&server);
    let total = num_blocks(&idle, "total");
    assert_eq!(num_blocks(&idle, "free"), total);
    assert_eq!(idle["kv_store"], Value::Null);
    // One prompt twice: its full blocks are there once.
    let clients = [(); 2].map(|()| ask_and_read_a_little(&server, 1900));
    let mut busy = Value::Null;
    server.wait_until("blocks are shared", |server| {
        busy = state(server);
        num_blocks(&busy, "shared") > 0 && busy["scheduler"]["running"] == 2
    });
    drop(clients);
    let names = ["free", "cached", "active", "shared", "pinned"];
    let sum: u64 = names.iter().map(|name| num_blocks(&busy, name)).sum();
    assert_eq!(sum, total, "{busy}");
    assert!(num_blocks(&busy, "active") > 0 && num_blocks(&busy, "pinned") == 0, "{busy}");
    let map = busy["kv_blocks"]["map"].as_str().unwrap();
    let per_cell = num_blocks(&busy, "blocks_per_cell");
    assert_eq!(map.len() as u64, total.div_ceil(per_cell));
    if per_cell == 1 {
        for name in names {
            let cells = map.matches(&name[..1]).count() as u64;
            assert_eq!(cells, num_blocks(&busy, name), "{name}");
        }
    }
    assert!(busy["scheduler"]["total_step_s"].as_f64().unwrap() > 0.0);
    server.wait_until("they are withdrawn", |server| {
        server.metric("vllm:num_requests_running") == 0.0
    });
    let after = state(&server);
    assert_eq!(num_blocks(&after, "free") + num_blocks(&after, "cached"), total, "{after}");
    assert!(num_blocks(&after, "cached") > 0);
    let tokens = &after["prompt_tokens"];
    for (name, metric) in
        [("queried", "vllm:prefix_cache_queries_total"), ("device", "vllm:prefix_cache_hits_total")]
    {
        assert_eq!(tokens[name].as_f64(), Some(server.metric(metric)), "{name}");
        assert!(tokens[name].as_u64().unwrap() > 0, "{name}");
    }
    let steps = after["scheduler"]["steps"].as_f64();
    assert_eq!(steps, Some(server.metric("vllm:iteration_tokens_total_count")));
    assert_eq!(server.post("/reset_prefix_cache", &json!({})).status, 200);
    assert_eq!(num_blocks(&state(&server), "free"), total);
}
