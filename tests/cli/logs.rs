//! The log of commands, on standard error beside what they answer.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::command::{ByteModel, Run, family, kvasir, kvasir_in, kvasir_with};

/// Answers requests of 120 tokens each, in the prompt and in the answer, whose KV is kept in `store`.
fn generate(store: &Path, args: &[&str], num_requests: usize, num_prompt_tokens: usize) -> Run {
    let model = family("llama");
    let base = ["generate", "--model", model.to_str().unwrap(), "--input", "-", "--json"];
    let place = ["--max-model-len", "128", "--kv-storage-path", store.to_str().unwrap()];
    let line = |request: usize| {
        let tokens: Vec<usize> = (0..num_prompt_tokens).map(|i| (i * 7 + request) % 250).collect();
        let max_tokens = 120 - num_prompt_tokens;
        format!(
            "{{\"prompt_token_ids\": {tokens:?}, \"max_tokens\": {max_tokens}, \"ignore_eos\": true}}\n"
        )
    };
    let lines: String = (0..num_requests).map(line).collect();
    kvasir_with(&[&base[..], &place, args].concat(), &[], &lines)
}

/// The lines of a log in JSON, and the summary that `--json` ends it with.
fn log(run: &Run) -> Vec<Value> {
    let lines = run.stderr.lines();
    lines.map(|line| serde_json::from_str(line).expect(&run.stderr)).collect()
}

fn event<'a>(log: &'a [Value], message: &str) -> &'a Value {
    let is_meant =
        |event: &&Value| event["message"].as_str().is_some_and(|found| found.starts_with(message));
    log.iter().find(is_meant).unwrap_or_else(|| panic!("no {message:?} in {log:#?}"))
}

/// The records of a store.
fn records(folder: &Path) -> Vec<PathBuf> {
    let shards = fs::read_dir(folder.join("records-v1")).unwrap();
    let files = shards.flat_map(|shard| fs::read_dir(shard.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

#[test]
fn a_damaged_record_is_told_and_does_no_harm() {
    let store = tempfile::tempdir().unwrap();
    let json = ["--log-format", "json"];
    let expected = generate(store.path(), &json, 1, 100);
    let damaged = records(store.path());
    assert!(!damaged.is_empty());
    for path in &damaged {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    let run = generate(store.path(), &json, 1, 100);
    let log = log(&run);
    let told = event(&log, "a damaged record is set aside");
    assert_eq!((&told["level"], &told["tier"]), (&"WARN".into(), &"disk".into()));
    let path = told["path"].as_str().unwrap();
    assert!(path.contains(told["key"].as_str().unwrap()) && Path::new(path).exists(), "{told}");
    let answer = |run: Run| serde_json::from_str::<Value>(&run.ok()).unwrap()["outputs"].clone();
    assert_eq!(answer(run), answer(expected));
}

#[test]
fn a_kv_cache_that_is_too_small_is_told() {
    let store = tempfile::tempdir().unwrap();
    let json = ["--log-format", "json", "--log-level", "info"];
    let all = log(&generate(store.path(), &json, 1, 100));
    let of = |name: &str| event(&all, "the KV cache is allocated")[name].as_u64().unwrap();
    let bytes = of("bytes") / of("num_tokens") * 160;
    let small = ["--kv-cache-memory-bytes", &bytes.to_string(), "--block-size", "8"];
    let log = log(&generate(store.path(), &[&json[..], &small].concat(), 3, 20));
    let told = event(&log, "requests gave their KV blocks back");
    assert_eq!(
        (&told["level"], &told["target"]),
        (&"WARN".into(), &"engine::run_loop::log".into())
    );
    assert!(told["total"].as_u64() >= Some(1), "{told}");
}

#[test]
fn each_layer_of_options_says_what_is_logged() {
    let model = ByteModel::new();
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str], variables: &[(&str, &str)]| {
        let base = ["generate", "hi", "--ignore-eos", "--max-tokens", "2", "--model", model.arg()];
        kvasir_in(folder.path(), &[&base[..], args].concat(), variables, "")
    };
    let quiet = run(&[], &[]);
    assert_eq!(quiet.stderr.lines().count(), 1, "{}", quiet.stderr);
    let expected = quiet.ok();
    let is_told = |run: Run| {
        let is_told = run.stderr.contains("INFO engine::builder: the weights are loaded model=");
        assert_eq!(run.ok(), expected, "the answer is what it is");
        is_told
    };
    let info = [("KVASIR_LOG", "info")];
    assert!(is_told(run(&["--log-level", "info"], &[])));
    assert!(is_told(run(&[], &info)));
    assert!(!is_told(run(&["--log-level", "off"], &info)));
    assert!(!is_told(run(&[], &[("KVASIR_LOG", "")])));
    fs::write(folder.path().join("kvasir.toml"), "log-level = \"engine=info\"\n").unwrap();
    assert!(is_told(run(&[], &[])));
    assert!(!is_told(run(&[], &[("KVASIR_LOG", "engine=warn")])));
    let shown = kvasir_in(folder.path(), &["serve", "--show-config"], &info, "").ok();
    let line = shown.lines().find(|line| line.starts_with("log-level")).unwrap();
    assert!(line.ends_with("environment: KVASIR_LOG"), "{line}");
    // A command without kvasir.toml.
    let store = tempfile::tempdir().unwrap();
    generate(store.path(), &[], 1, 100).ok();
    let place = store.path().to_str().unwrap();
    kvasir_with(&["store", "stat", place], &[("KVASIR_LOG", "trace")], "").ok();
}

#[test]
fn what_is_no_format_or_level_is_refused() {
    kvasir(&["serve", "--log-format", "yaml"])
        .usage_error(&["yaml", "[possible values: text, json]"]);
    for (level, words) in [
        ("verbose", &["`verbose` is no level", "off, error, warn, info, debug or trace"][..]),
        ("info,kv_store", &["`kv_store` is no level", "PART=LEVEL"]),
        ("kv_store=loud", &["kv_store=loud", "LEVEL or PART=LEVEL"]),
    ] {
        kvasir(&["serve", "--log-level", level]).usage_error(words);
        let variable = [("KVASIR_LOG", level)];
        let named = [&["KVASIR_LOG"], &words[..1]].concat();
        kvasir_with(&["serve"], &variable, "").usage_error(&named);
        kvasir_with(&["store", "stat", "nowhere"], &variable, "").usage_error(&named);
    }
}
