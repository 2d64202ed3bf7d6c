//! Any body: understood or refused with what is wrong, never a panic.

#[path = "../../../fuzz/src/request_body.rs"]
mod invariants;

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;
use server::Endpoint;

/// Bodies of the fuzzer, by their names.
fn seeds() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/request_body");
    let seed = |path: &Path| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    let mut seeds: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| seed(&entry.unwrap().path())).collect();
    seeds.sort();
    seeds
}

/// A seed that is refused everywhere would never lead behind the first check.
#[test]
fn every_path_understands_the_seeds_that_are_meant_for_it() {
    let seeds = seeds();
    assert!(seeds.len() >= 8, "{} seeds", seeds.len());
    for (name, body) in seeds {
        let expected = match name.split('_').next().unwrap() {
            "chat" => Endpoint::ChatCompletions,
            "completions" => Endpoint::Completions,
            "responses" => Endpoint::Responses,
            "tokenize" => Endpoint::Tokenize,
            "detokenize" => Endpoint::Detokenize,
            other => panic!("{other} is no path"),
        };
        let understood = invariants::request_body(body.as_bytes());
        assert!(understood.contains(&expected), "{name}: {understood:?}");
        assert_eq!(
            invariants::request_body(&body.as_bytes()[1..]),
            [],
            "{name} without its first byte"
        );
    }
}

/// `body` with a list of its values in place of each object, one at a time, but for those with fields of the client's own.
fn with_lists(value: &Value) -> Vec<Value> {
    const FREE: [&str; 4] = ["schema", "metadata", "parameters", "chat_template_kwargs"];
    let within = |inner: &Value| -> Vec<Value> {
        let list = inner.as_object().map(|fields| fields.values().cloned().collect());
        list.map(Value::Array).into_iter().chain(with_lists(inner)).collect()
    };
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(name, _)| !FREE.contains(&name.as_str()));
            let changed = fields.flat_map(|(name, inner)| {
                within(inner).into_iter().map(move |inner| {
                    let mut value = value.clone();
                    value[name] = inner;
                    value
                })
            });
            changed.collect()
        }
        Value::Array(items) => {
            let changed = items.iter().enumerate().flat_map(|(idx, inner)| {
                within(inner).into_iter().map(move |inner| {
                    let mut value = value.clone();
                    value[idx] = inner;
                    value
                })
            });
            changed.collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn a_list_is_no_object() {
    let mut num_bodies = 0;
    for (name, body) in seeds() {
        for body in with_lists(&serde_json::from_str(&body).unwrap()) {
            let body = body.to_string();
            assert_eq!(invariants::request_body(body.as_bytes()), [], "{name}: {body}");
            num_bodies += 1;
        }
    }
    assert!(num_bodies > 20, "{num_bodies}");
}

fn spliced(body: &str, at: Index, num_bytes: usize, with: &str) -> String {
    let places: Vec<usize> = body.char_indices().map(|(place, _)| place).collect();
    let start = places[at.index(places.len())];
    let end = places.iter().find(|&&place| place >= start + num_bytes).unwrap_or(&start);
    [&body[..start], with, &body[*end..]].concat()
}

proptest! {
    #[test]
    fn close_to_a_body(seed in select(seeds()), at: Index, num_bytes in 0usize..12, with in select(vec![
        "", "null", "-1", "1e999", "\"", "[", "]", "{}", "true", ",", "1e39", "99999999999999999999", "\u{0}", "é",
    ])) {
        invariants::request_body(spliced(&seed.1, at, num_bytes, with).as_bytes());
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        invariants::request_body(&bytes);
    }
}
