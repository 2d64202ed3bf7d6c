//! `kvasir bench`, on a model so small that only the counters mean something.

use serde_json::Value;

use crate::command::{ByteModel, kvasir};
use crate::page::Report;

fn ttft(more: &[&str]) -> crate::command::Run {
    let model = ByteModel::new();
    let args = ["bench", "ttft", model.arg(), "--prompt-tokens", "60", "--block-size", "4"];
    kvasir(&[&args[..], more].concat())
}

#[test]
fn a_kept_prefix_comes_from_each_place_and_is_compared_with_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().to_str().unwrap();
    let args = ["--repeats", "2", "--directory", directory, "--json"];
    let page = tempfile::NamedTempFile::new().unwrap();
    let args = [&args[..], &["--html", page.path().to_str().unwrap()]].concat();
    let report: Value = serde_json::from_str(&ttft(&args).ok()).unwrap();
    let page = Report::read(page.path());
    assert!(page.num_pictures == 2 && page.says("KV from host memory"));
    let tokens = report["num_prompt_tokens"].as_u64().unwrap();
    assert!((60..=110).contains(&tokens), "{report}");
    let kv_bytes = report["kv_bytes"].as_u64().unwrap();
    assert!(kv_bytes > 0 && kv_bytes.is_multiple_of(tokens), "{report}");
    let methods: Vec<_> =
        report["rows"].as_array().unwrap().iter().map(|row| &row["method"]).collect();
    assert_eq!(methods, ["computed", "device", "host", "disk"]);
    assert_eq!(report["rows"][0]["improvement"], 1.0);
    for row in &report["rows"].as_array().unwrap()[1..] {
        let number = |name: &str| row[name].as_f64().unwrap();
        let of_limit = row["ttft"]["median_s"].as_f64().unwrap() / number("limit_s");
        assert!((number("of_limit") / of_limit - 1.0).abs() < 1e-9, "{row}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "what was written is removed");
}

#[test]
fn the_table_has_the_recipes_columns() {
    let table = ttft(&["--repeats", "1"]).ok();
    for text in
        ["| Method", "Time to first token", "Improvement", "baseline", "x faster", "raw reads"]
    {
        assert!(table.contains(text), "{text}: {table}");
    }
}

fn store(more: &[&str]) -> crate::command::Run {
    let args = ["bench", "store", "--chunk-size", "16", "--megabytes", "4", "--repeats", "2"];
    kvasir(&[&args[..], more].concat())
}

#[test]
fn each_tier_is_measured_beside_what_the_machine_does() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().to_str().unwrap();
    let page = tempfile::NamedTempFile::new().unwrap();
    let args = ["--depth", "1,2", "--directory", directory, "--json", "--html"];
    let run = store(&[&args[..], &[page.path().to_str().unwrap()]].concat());
    let report: Value = serde_json::from_str(&run.ok()).unwrap();
    let page = Report::read(page.path());
    assert!(page.num_pictures == 2 && page.says("files, direct"));
    let rows = report["rows"].as_array().unwrap();
    let kinds: Vec<_> = rows
        .iter()
        .map(|row| {
            let of = |name: &str| row[name].as_str().unwrap().to_owned();
            (of("tier"), of("op"), row["depth"].as_u64().unwrap())
        })
        .collect();
    let kinds: Vec<_> = kinds.iter().map(|(tier, op, depth)| (&**tier, &**op, *depth)).collect();
    let mut expected = Vec::new();
    for (tier, ops) in
        [("host", &["get", "put"][..]), ("page_cache", &["get", "put"]), ("disk", &["get"])]
    {
        for depth in [1, 2] {
            expected.extend(ops.iter().map(|op| (tier, *op, depth)));
        }
    }
    assert_eq!(kinds, expected);
    for row in rows {
        let number = |pointer: &str| row.pointer(pointer).and_then(Value::as_f64).unwrap();
        assert_eq!((number("/chunk_bytes"), number("/num_turns")), (368_640.0, 2.0), "{row}");
        let rates = ["/gb_s/p10", "/gb_s/median", "/gb_s/p90"].map(number);
        assert!(0.0 < rates[0] && rates.is_sorted(), "{row}");
        if row["op"] == "get" {
            // Two turns: the medians of speeds and of their ratio are means, and near each other.
            let ratio = number("/gb_s/median") / number("/beside/gb_s/median");
            assert!(number("/beside/ratio/p10") <= ratio * 1.5 && ratio > 0.0, "{row}");
            assert!(number("/verification/median") < 1.0, "{row}");
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "what was written is removed");
}

#[test]
fn the_stores_table_names_tiers_and_what_they_are_compared_with() {
    let table = store(&["--depth", "1", "--seconds", "0"]).ok();
    for text in ["| Tier", "Verification", "host memory", "of memcpy", "of direct read", "of write"]
    {
        assert!(table.contains(text), "{text}: {table}");
    }
    store(&["--s3", "/a/folder"]).usage_error(&["--s3", "--directory"]);
    store(&["--depth", "0"]).usage_error(&["--depth"]);
    store(&["--directory", "/nonexistent"]).usage_error(&["/nonexistent", "--directory"]);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    ttft(&["--directory", "/nonexistent"]).usage_error(&["/nonexistent", "--directory"]);
    ttft(&["--max-model-len", "32"]).usage_error(&["60 tokens", "--prompt-tokens"]);
    // Blocks as long as the prompt: nothing that a prefix cache could keep.
    let model = ByteModel::new();
    let args = ["bench", "ttft", model.arg(), "--prompt-tokens", "60", "--block-size", "128"];
    assert!(kvasir(&args).stderr.contains("came from the device"));
    kvasir(&["bench", "ttft", model.arg(), "--repeats", "0"]).usage_error(&["--repeats"]);
}
