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

/// What a bench found on the small model, and its page, which must have so many pictures and these texts.
fn measured(bench: &str, more: &[&str], num_pictures: usize, texts: &[&str]) -> Value {
    let model = ByteModel::new();
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    let args = ["bench", bench, model.arg(), "--json", "--html", page.to_str().unwrap()];
    let found: Value = serde_json::from_str(&kvasir(&[&args[..], more].concat()).ok()).unwrap();
    let report = Report::read(&page);
    assert_eq!(report.num_pictures, num_pictures, "{bench}");
    for text in [texts, &["Memory over time", "Processor", bench]].concat() {
        assert!(report.says(text), "{bench}: no {text}");
    }
    let samples = found["memory"]["samples"].as_array().unwrap();
    let peak = samples.iter().map(|sample| sample["host_bytes"].as_u64().unwrap()).max().unwrap();
    assert!(peak > 1 << 20 && found["memory"]["host_peak_bytes"] == peak, "{}", found["memory"]);
    found
}

fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer}: {value}"))
}

/// A least, a median and a most.
fn is_spread(value: &Value, pointer: &str) {
    let times =
        ["min_s", "median_s", "max_s"].map(|key| number(value, &format!("{pointer}/{key}")));
    assert!(times[0] > 0.0 && times.is_sorted(), "{pointer}: {value}");
}

#[test]
fn a_batch_has_vllms_figures() {
    let lengths = ["--input-len", "20", "--output-len", "5", "--batch-size", "3"];
    let runs = ["--num-iters", "4", "--num-iters-warmup", "1"];
    let args = [&lengths[..], &runs].concat();
    let found = measured("latency", &args, 3, &["3 prompts of 20 tokens, answers of 5"]);
    let latencies: Vec<f64> = found["latencies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|value| value.as_f64().unwrap())
        .collect();
    assert_eq!(latencies.len(), 4);
    let mean = latencies.iter().sum::<f64>() / 4.0;
    assert!((number(&found, "/avg_latency") / mean - 1.0).abs() < 1e-9, "{found}");
    assert!(number(&found, "/percentiles/99") <= latencies.iter().copied().fold(0.0, f64::max));
    assert_eq!(number(&found, "/percentiles/50"), number(&found, "/spread/median_s"));
    is_spread(&found, "/spread");
    is_spread(&found, "/ttft");
    let model = ByteModel::new();
    let long = ["bench", "latency", model.arg(), "--input-len", "120"];
    kvasir(&[&long[..], &["--output-len", "20"]].concat()).usage_error(&["128", "--input-len"]);
}

#[test]
fn throughput_counts_all_tokens_over_the_median() {
    let args = ["--input-len", "12", "--output-len", "6", "--num-prompts", "15"];
    let found = measured("throughput", &args, 3, &["15 prompts of 12 tokens"]);
    assert_eq!(number(&found, "/total_num_tokens"), 15.0 * 18.0);
    let elapsed = number(&found, "/elapsed_time");
    for (key, num) in [
        ("/requests_per_second", 15.0),
        ("/tokens_per_second", 270.0),
        ("/output_tokens_per_second", 90.0),
    ] {
        assert!((number(&found, key) * elapsed / num - 1.0).abs() < 1e-9, "{key}: {found}");
    }
    is_spread(&found, "/spread");
}

#[test]
fn contexts_grow_until_one_does_not_fit() {
    let args = ["--context-sizes", "32,64,4096", "--output-len", "8", "--num-iters", "2"];
    let found = measured("context-scaling", &args, 2, &["Latency by context"]);
    let results = found["results"].as_array().unwrap();
    let statuses: Vec<_> = results.iter().map(|row| row["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["SUCCESS", "SUCCESS", "FAILED"]);
    assert_eq!(
        (number(&results[1], "/prompt_tokens"), number(&results[1], "/context_size")),
        (32.0, 64.0)
    );
    let rate = number(&results[0], "/throughput_tok_per_sec") * number(&results[0], "/latency_sec");
    assert!((rate - 8.0).abs() < 1e-9, "{found}");
    is_spread(&results[0], "/ttft");
    assert!(results[2]["error"].as_str().unwrap().contains("128"), "{found}");
    let model = ByteModel::new();
    let args = ["bench", "context-scaling", model.arg(), "--context-sizes", "4096"];
    let run = kvasir(&args);
    assert!(run.code == Some(2) && run.stderr.contains("no context"), "{}", run.stderr);
}

#[test]
fn users_of_a_document_find_its_kv() {
    let documents = ["--num-documents", "2", "--document-len", "64", "--num-users", "6"];
    let lengths =
        ["--question-len", "9", "--output-len", "4", "--num-iters", "2", "--block-size", "8"];
    // One user's prompt a step, so that the next finds it.
    let steps = ["--max-num-batched-tokens", "80", "--max-num-seqs", "1"];
    let args = [&documents[..], &lengths, &steps].concat();
    let found = measured("multi-user", &args, 2, &["shared, documents there"]);
    let part = |row: usize| number(&found["rows"][row], "/part_found");
    // Of 6 prompts of 73 tokens, those of 4 users find the 64 of their document; then all of them their own 72.
    assert_eq!(part(0), 0.0);
    assert!((part(1) - 4.0 * 64.0 / (6.0 * 73.0)).abs() < 1e-9, "{found}");
    assert!((part(2) - 72.0 / 73.0).abs() < 1e-9, "{found}");
    assert_eq!(number(&found["rows"][0], "/ttft_improvement"), 1.0);
    (0..3).for_each(|row| is_spread(&found["rows"][row], "/elapsed"));
}

#[test]
fn kernels_are_timed_on_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    let runs = ["--num-iters", "3", "--num-iters-warmup", "0"];
    let files = ["--json", "--html", page.to_str().unwrap()];
    let run = kvasir(&[&["bench", "kernels", "rms_norm", "silu_mul"], &runs[..], &files].concat());
    let found: Value = serde_json::from_str(&run.ok()).unwrap();
    let ops: std::collections::BTreeSet<_> =
        found["cpu"].as_array().unwrap().iter().map(|row| row["op"].as_str().unwrap()).collect();
    assert_eq!(ops, ["rms_norm", "silu_mul"].into());
    for row in found["cpu"].as_array().unwrap() {
        let measured = &row["measured"];
        assert_eq!(
            (&measured["clock"], &measured["num_runs"]),
            (&"cpu".into(), &3.into()),
            "{row}"
        );
        assert!(number(measured, "/p10_us") <= number(measured, "/median_us"), "{row}");
    }
    // With no GPU there is a reason; with one there are variants.
    let is_told = found["no_device"].is_string();
    assert_eq!(is_told, found["hip"].as_array().unwrap().is_empty(), "{}", found["no_device"]);
    assert!(Report::read(&page).says("CPU kernels"));
    kvasir(&["bench", "kernels", "rms_nrom"]).usage_error(&["rms_nrom", "rms_norm"]);
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
            // Two turns: medians are means, and the ratio of two means is between those of the turns, however far the
            // turns are apart. A tenth of the way between the two from each end are p10 and p90.
            let ratio = number("/gb_s/median") / number("/beside/gb_s/median");
            let [p10, p90] = ["/beside/ratio/p10", "/beside/ratio/p90"].map(number);
            let tenth = (p90 - p10) / 8.0;
            let turns = (p10 - tenth) * (1.0 - 1e-9)..=(p90 + tenth) * (1.0 + 1e-9);
            assert!(turns.contains(&ratio) && ratio > 0.0, "{row}");
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
