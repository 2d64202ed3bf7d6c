//! Flags over the environment over `kvasir.toml` over defaults: who wins, and what is said of mistakes.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::command::{ByteModel, Run, kvasir_in};

/// A folder with a `kvasir.toml`.
struct Folder(tempfile::TempDir);

impl Folder {
    fn with(config: &str) -> Folder {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("kvasir.toml"), config).unwrap();
        Folder(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, args: &[&str], variables: &[(&str, &str)]) -> Run {
        kvasir_in(self.path(), args, variables, "")
    }

    /// What `--show-config` says.
    fn shown(&self, args: &[&str], variables: &[(&str, &str)]) -> Vec<Value> {
        let run = self.run(&[args, &["--show-config", "--json"]].concat(), variables);
        serde_json::from_str(&run.ok()).unwrap()
    }
}

/// Value and source of an option; several values with commas.
fn of(shown: &[Value], option: &str) -> Option<(String, String)> {
    let found = shown.iter().find(|shows| shows["option"] == option)?;
    let values: Vec<&str> =
        found["values"].as_array().unwrap().iter().map(|value| value.as_str().unwrap()).collect();
    let place = found["place"].as_str().map_or(String::new(), |place| format!(" {place}"));
    Some((values.join(","), format!("{}{place}", found["source"].as_str().unwrap())))
}

fn is(shown: &[Value], option: &str, value: &str, source: &str) {
    assert_eq!(of(shown, option), Some((value.to_owned(), source.to_owned())), "{option}");
}

#[test]
fn each_layer_wins_over_those_below() {
    let folder = Folder::with(
        "block-size = 8\nmax-num-seqs = 9\n\n[serve]\nmax-num-seqs = 4\nport = 9_000\n",
    );
    let variables = [("KVASIR_PORT", "9001"), ("KVASIR_DTYPE", "float32")];
    let shown = folder.shown(&["serve", "--dtype", "float16"], &variables);
    is(&shown, "dtype", "float16", "flag");
    is(&shown, "port", "9001", "environment KVASIR_PORT");
    is(&shown, "max-num-seqs", "4", "file serve.max-num-seqs (kvasir.toml, line 5)");
    is(&shown, "block-size", "8", "file block-size (kvasir.toml, line 1)");
    is(&shown, "host", "127.0.0.1", "default");
    is(&shown, "max-num-batched-tokens", "2048", "default");
    // Another command has nothing of the section.
    let shown = folder.shown(&["generate"], &variables);
    is(&shown, "max-num-seqs", "9", "file max-num-seqs (kvasir.toml, line 2)");
    assert_eq!(of(&shown, "port"), None);
    is(
        &folder.shown(&["bench", "ttft"], &[]),
        "block-size",
        "8",
        "file block-size (kvasir.toml, line 1)",
    );
    let table = folder.run(&["serve", "--show-config"], &variables).ok();
    assert!(table.contains("KVASIR_PORT"), "{table}");
}

#[test]
fn a_higher_layer_takes_back_what_a_lower_one_says() {
    let folder = Folder::with(
        "enable-prefix-caching = false\nkv-cache-memory-bytes = 1_048_576\nmodel = \"some\"\n\
         stop = [\"a\", \"b,c\"]\nlogit-bias = { 5 = -2.5 }\n[plan]\ncontext = 64\n",
    );
    let shown = folder.shown(&["generate"], &[]);
    is(
        &shown,
        "no-enable-prefix-caching",
        "true",
        "file enable-prefix-caching (kvasir.toml, line 1)",
    );
    is(&shown, "stop", "a,b,c", "file stop (kvasir.toml, line 4)");
    is(&shown, "logit-bias", "{\"5\":-2.5}", "file logit-bias (kvasir.toml, line 5)");
    is(&shown, "model", "some", "file model (kvasir.toml, line 3)");
    let args = ["generate", "--enable-prefix-caching", "--gpu-memory-utilization", "0.5"];
    let shown = folder.shown(&args, &[]);
    is(&shown, "enable-prefix-caching", "true", "flag");
    assert_eq!(of(&shown, "no-enable-prefix-caching"), None);
    assert_eq!(of(&shown, "kv-cache-memory-bytes"), None);
    let shown = folder.shown(&["serve", "other"], &[("KVASIR_ENABLE_PREFIX_CACHING", "yes")]);
    is(&shown, "MODEL", "other", "flag");
    assert_eq!(of(&shown, "model"), None);
    is(&shown, "enable-prefix-caching", "true", "environment KVASIR_ENABLE_PREFIX_CACHING");
}

#[test]
fn the_engine_runs_with_what_is_shown() {
    let model = ByteModel::new();
    let folder = Folder::with(&format!(
        "model = {:?}\n[generate]\nmax-tokens = 5\nraw = true\n",
        model.arg()
    ));
    let args = ["generate", "hi", "--ignore-eos", "--json"];
    let tokens = |variables: &[(&str, &str)]| {
        let run = folder.run(&args, variables);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let summary: Value = serde_json::from_str(&run.stderr).unwrap();
        summary["output"]["outputs"][0]["token_ids"].as_array().unwrap().len()
    };
    assert_eq!((tokens(&[]), tokens(&[("KVASIR_MAX_TOKENS", "3")])), (5, 3));
}

#[test]
fn keys_stay_secret() {
    let folder = Folder::with("[serve]\napi-key = [\"sesame-1\", \"sesame-2\"]\n");
    for args in [&["serve", "--show-config"][..], &["serve", "--show-config", "--json"]] {
        let shown = folder.run(args, &[]).ok();
        assert!(!shown.contains("sesame") && shown.contains("(hidden)"), "{shown}");
        let shown = folder.run(args, &[("KVASIR_API_KEY", "sesame-3")]).ok();
        assert!(!shown.contains("sesame") && shown.contains("KVASIR_API_KEY"), "{shown}");
        let shown = folder.run(args, &[("KVASIR_KV_STORAGE_PATH", "s3://me:sesame-4@b/kv")]).ok();
        assert!(!shown.contains("sesame") && shown.contains("s3://(hidden)@b/kv"), "{shown}");
    }
    let header = ["bench", "serve", "--show-config", "--header", "Authorization=Bearer sesame-4"];
    let shown = folder.run(&header, &[]).ok();
    assert!(!shown.contains("sesame") && shown.contains("(hidden)"), "{shown}");
}

#[test]
fn a_variable_can_have_several_values() {
    let folder = Folder::with("stop = [\"x\"]\n");
    let shown = |variable, value| folder.shown(&["generate"], &[(variable, value)]);
    is(&shown("KVASIR_STOP", "a, b"), "stop", "a,b", "environment KVASIR_STOP");
    is(&shown("KVASIR_STOP", "[\"a, b\", \"\\n\"]"), "stop", "a, b,\n", "environment KVASIR_STOP");
    let ids = shown("KVASIR_STOP_TOKEN_IDS", "[1, 2]");
    is(&ids, "stop-token-ids", "1,2", "environment KVASIR_STOP_TOKEN_IDS");
    // An empty variable is none.
    assert_eq!(of(&shown("KVASIR_STOP", ""), "stop").unwrap().0, "x");
    let run = |variable, value| folder.run(&["serve", "--show-config"], &[(variable, value)]);
    let stderr = run("KVASIR_API_KEY", "sesame,,other").stderr;
    assert!(!stderr.contains("sesame"), "{stderr}");
    run("KVASIR_API_KEY", "sesame,,other")
        .usage_error(&["KVASIR_API_KEY: value 2 of 3 is empty", "take it out"]);
    run("KVASIR_SERVED_MODEL_NAME", "[a]")
        .usage_error(&["KVASIR_SERVED_MODEL_NAME: no JSON list", "[\"one\", \"two\"]"]);
    folder
        .run(&["generate", "hi"], &[("KVASIR_STOP_TOKEN_IDS", "1,two")])
        .usage_error(&["KVASIR_STOP_TOKEN_IDS: invalid value 'two'"]);
}

#[test]
fn mistakes_are_named_with_file_line_and_key() {
    for (config, words) in [
        (
            "\nblok-size = 8",
            &["kvasir.toml, line 2: there is no option blok-size", "did you mean block-size?"][..],
        ),
        (
            "[serve]\nmax_num_seqs = 8",
            &["line 2", "serve.max_num_seqs", "did you mean max-num-seqs?"],
        ),
        ("[server]\nport = 8", &["line 1", "did you mean serve?"]),
        ("[generate]\nport = 8", &["line 2", "there is no option generate.port"]),
        ("input = \"x\"", &["there is no option input", "--input on the command line"]),
        (
            "[serve]\nport = \"8000\"",
            &["kvasir.toml, line 2: serve.port is a text", "hint: give a number"],
        ),
        ("[serve]\nport = 99999", &["kvasir.toml, line 2: serve.port: invalid value '99999'"]),
        ("block-size = 0", &["line 1: block-size: invalid value '0'", "whole number from 1 up"]),
        ("block-size = 1.5", &["line 1: block-size: invalid value '1.5'"]),
        ("dtype = 16", &["line 1: dtype is a whole number", "give a text"]),
        ("dtype = \"bf17\"", &["line 1: dtype: invalid value 'bf17'", "bfloat16"]),
        (
            "enable-prefix-caching = 1",
            &["line 1: enable-prefix-caching is a whole number", "true or false"],
        ),
        ("model = [\"a\"]", &["model is a list", "give a text"]),
        ("block-size = 8\nblock-size = 9", &["kvasir.toml, line 2", "duplicate key"]),
        ("block-size =", &["kvasir.toml, line 1", "TOML"]),
        (
            "kv-cache-memory-bytes = 9\ngpu-memory-utilization = 0.5",
            &["line 1", "line 2", "together"],
        ),
    ] {
        Folder::with(config).run(&["serve", "--show-config"], &[]).usage_error(words);
    }
    let folder = Folder::with("");
    let run = |variable, value| folder.run(&["serve", "--show-config"], &[(variable, value)]);
    run("KVASIR_PORT", "many").usage_error(&["KVASIR_PORT: invalid value 'many'"]);
    run("KVASIR_ENABLE_CHUNKED_PREFILL", "perhaps")
        .usage_error(&["KVASIR_ENABLE_CHUNKED_PREFILL", "true or false"]);
    run("KVASIR_CONFIG", "none.toml").usage_error(&["cannot read none.toml"]);
    // An empty variable is none.
    assert_eq!(run("KVASIR_PORT", "").code, Some(0));
    folder.run(&["serve", "--json"], &[]).usage_error(&["--show-config"]);
}

#[test]
fn the_file_can_lie_anywhere() {
    let (here, there) = (Folder::with("block-size = 8"), Folder::with("block-size = 4"));
    let file = there.path().join("kvasir.toml");
    let file = file.to_str().unwrap();
    let of = |shown: Vec<Value>| of(&shown, "block-size").unwrap().0;
    assert_eq!(of(here.shown(&["serve"], &[])), "8");
    assert_eq!(of(here.shown(&["serve"], &[("KVASIR_CONFIG", file)])), "4");
    assert_eq!(
        of(there.shown(&["serve", "--config", file], &[("KVASIR_CONFIG", "none.toml")])),
        "4"
    );
}
