//! How soon a server that is started answers.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::golden_model::is_long;
use crate::running::serve;
use crate::{CHAT, question, with};

/// What a server keeps on a machine that does nothing else, asked for by `KVASIR_LONG=1`.
const PROMISED: Duration = Duration::from_secs(3);

/// CI runs many tests at once on few cores that it shares: this bound tells a server that hangs from one that starts,
/// and says nothing of speed.
const AMONG_OTHER_TESTS: Duration = Duration::from_secs(60);

/// Starts of which the fastest counts: the first one may have to read the model from its disk.
const NUM_STARTS: usize = 3;

#[test]
fn the_first_token_comes_soon_after_the_start() {
    let num_starts = if is_long() { NUM_STARTS } else { 1 };
    let times: Vec<Duration> = (0..num_starts).map(|_| time_to_first_served_token()).collect();
    println!("from the start of the process to the first served token: {times:?}");
    let fastest = times.iter().min().unwrap();
    let bound = if is_long() { PROMISED } else { AMONG_OTHER_TESTS };
    assert!(*fastest < bound, "{fastest:?}; at most {bound:?}");
}

fn time_to_first_served_token() -> Duration {
    let start = Instant::now();
    let server = serve(&[]);
    let ask = with(question("Why is the sky blue?"), json!({ "stream": true, "max_tokens": 1 }));
    let chunks = server.stream(CHAT, &ask);
    let is_token = |chunk: &serde_json::Value| {
        chunk["choices"][0]["delta"]["content"].as_str().is_some_and(|text| !text.is_empty())
    };
    assert!(chunks.iter().any(is_token), "{chunks:?}");
    start.elapsed()
}
