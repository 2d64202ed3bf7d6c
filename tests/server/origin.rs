//! Web pages of other origins, as their browsers ask.

use serde_json::json;

use crate::running::{Running, serve};
use crate::{COMPLETIONS, question};

const OURS: &str = "https://ours.example";
const STRANGE: &str = "https://strange.example";

/// The status of a request that a page sends without its browser asking first.
fn status_for(server: &Running, origin: &str, path: &str) -> u16 {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let request = agent.post(server.url(path)).header("Origin", origin);
    let request = request.header("Content-Type", "text/plain");
    let body = json!({ "prompt": "Hi", "max_tokens": 1 }).to_string();
    request.send(body).unwrap().status().as_u16()
}

#[test]
fn pages_of_an_allowed_origin_may_ask() {
    assert_eq!(serve(&[]).allowed_origin(OURS), None);
    let server = serve(&["--allowed-origin", OURS]);
    assert_eq!(server.allowed_origin(OURS).as_deref(), Some(OURS));
    assert_eq!(server.allowed_origin(STRANGE), None);
    assert_eq!(status_for(&server, OURS, COMPLETIONS), 200);
    assert_eq!(status_for(&server, STRANGE, COMPLETIONS), 403);
    let server = serve(&["--allowed-origin", "*"]);
    assert_eq!(server.allowed_origin(STRANGE).as_deref(), Some("*"));
    assert_eq!(status_for(&server, STRANGE, COMPLETIONS), 200);
}

#[test]
fn a_strange_page_has_nothing_done() {
    let server = serve(&[]);
    for path in [COMPLETIONS, "/reset_prefix_cache"] {
        assert_eq!(status_for(&server, STRANGE, path), 403, "{path}");
    }
    assert_eq!(server.metric("vllm:request_success_total"), 0.0);
    // The server's own page says an origin too.
    let own = server.url("");
    assert_eq!(status_for(&server, &own, COMPLETIONS), 200);
    server.post(crate::CHAT, &question("Hi")).ok();
}
