//! What the user did wrong: exit code 2, an error that names it, and what to do.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use crate::command::{ByteModel, family, kvasir, kvasir_with_input};

fn llama() -> String {
    family("llama").to_str().unwrap().to_owned()
}

#[test]
fn flags_are_checked() {
    for (args, words) in [
        (&["generate"][..], &["PROMPT"][..]),
        (&["generate", "hi", "--temprature", "1"], &["--temprature", "--temperature"]),
        (&["generate", "hi", "--dtype", "bfloat32"], &["bfloat32", "a similar value exists"]),
        (
            &["generate", "hi", "--backend", "gpu"],
            &["gpu", "[possible values: cpu, reference, hip]"],
        ),
        (&["generate", "hi", "--cpu-isa", "avx51"], &["avx51", "'avx512'"]),
        (&["generate", "hi", "--max-tokens", "0"], &["whole number from 1 up"]),
        (&["generate", "hi", "--temperature", "-1"], &["--temperature", "from 0 up"]),
        (&["generate", "hi", "--temperature", "NaN"], &["from 0 up"]),
        (&["generate", "hi", "--top-p", "0"], &["above 0 and up to 1"]),
        (&["generate", "hi", "--top-k", "-2"], &["-2 is not in -1.."]),
        (&["generate", "hi", "--threads", "0"], &["--threads"]),
        (&["generate", "hi", "--chat", "--raw"], &["cannot be used with"]),
        (&["generate", "hi", "--raw", "--system", "x"], &["cannot be used with"]),
        (&["generate", "hi", "--input", "x"], &["cannot be used with"]),
        (&["generate", "hi", "--output", "x"], &["--output", "cannot be used with"]),
        (&["generate", "--output", "x"], &["--input"]),
        (&["generate", "hi", "--stop", ""], &["--stop"]),
        (&["generate", "hi", "--logprobs", "2"], &["--logprobs has no effect", "hint: add --json"]),
        (
            &["generate", "hi", "--backend", "reference", "--cpu-isa", "avx2"],
            &["--cpu-isa has no effect"],
        ),
        (&["generate", "hi", "--kv-cache-dtype", "fp9"], &["fp9", "fp8_e5m2"]),
        (&["generate", "hi", "--fp8-flavour", "fnuz"], &["--fp8-flavour has no effect", "fp8"]),
        (&["calibrate", "some-model", "--input", "x"], &["--output"]),
        (&["pull"], &["NAME"]),
        (&["generat", "hi"], &["generat", "'generate'"]),
    ] {
        kvasir(args).usage_error(words);
    }
}

/// A large model takes minutes to load; what has nothing to do with it is said before. Here is none.
#[test]
fn a_server_looks_at_its_flags_before_the_model() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (args, words) in [
        (&["--port", &port][..], &["cannot listen on 127.0.0.1:", "--port"][..]),
        (&["--host", "192.0.2.1"], &["cannot listen on 192.0.2.1:", "--host"]),
        (&["--ssl-certfile", "none", "--ssl-keyfile", "none"], &["cannot use none", "--ssl-cert"]),
        (&["--api-key", ""], &["API key", "--api-key"]),
        (&["--served-model-name", ""], &["name of the model", "--served-model-name"]),
        (&["--allowed-origin", "https://a.org/"], &["`https://a.org/` is no origin"]),
        (&["--max-connections", "0"], &["--max-connections"]),
    ] {
        kvasir(&[&["serve", "no-such-model"], args].concat()).usage_error(words);
    }
    kvasir(&["serve", "no-such-model", "--port", "0"]).usage_error(&["no-such-model"]);
}

#[test]
fn prompts_are_checked() {
    let model = llama();
    kvasir(&["generate", "", "--model", &model]).usage_error(&["the prompt is empty"]);
    kvasir(&["generate", " \n", "--model", &model]).usage_error(&["the prompt is empty"]);
    kvasir_with_input(&["generate", "-", "--model", &model], "")
        .usage_error(&["the prompt is empty"]);
    kvasir(&["generate", "hi", "--model", &model]).usage_error(&["no tokenizer"]);
    kvasir(&["generate", "hi", "--chat", "--model", &model])
        .usage_error(&["no chat template", "--chat"]);
    let bytes = ByteModel::new();
    let long = "x".repeat(500);
    kvasir(&["generate", &long, "--raw", "--model", bytes.arg()]).usage_error(&[
        "500 tokens",
        "max_model_len is 128",
        "hint: ",
    ]);
}

#[test]
fn models_are_checked() {
    kvasir(&["generate", "hi", "--model", "smollm-135m"])
        .usage_error(&["unknown model `smollm-135m`", "hint: did you mean `smollm2-135m`?"]);
    kvasir(&["generate", "hi", "--model", "no/such.gguf"]).usage_error(&["no/such.gguf"]);
    kvasir(&["inspect", "no/such.gguf"]).usage_error(&["no/such.gguf"]);
    kvasir(&["pull", "hf:justone"]).usage_error(&["hf:justone", "hf:ORG/MODEL"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.gguf");
    fs::write(&file, "not a model").unwrap();
    kvasir(&["generate", "hi", "--model", file.to_str().unwrap()])
        .usage_error(&["model.gguf", "GGUF"]);
    kvasir(&["inspect", folder.path().to_str().unwrap()]).usage_error(&[]);
}

#[test]
fn lines_are_checked_before_any_is_answered() {
    let model = llama();
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.jsonl");
    let run = |line: &str| {
        let input = format!("{{\"prompt_token_ids\": [1]}}\n\n{line}\n");
        let args =
            ["generate", "--model", &model, "--input", "-", "--output", output.to_str().unwrap()];
        kvasir_with_input(&args, &input)
    };
    run("{\"prompt\": ").usage_error(&["line 3", "not valid JSON"]);
    run("{\"prompt_token_ids\": [1], \"temprature\": 1}").usage_error(&[
        "line 3",
        "`temprature`",
        "did you mean `temperature`?",
    ]);
    run("{\"prompt_token_ids\": [1], \"n\": 2}")
        .usage_error(&["line 3", "n above 1 cannot be used with temperature 0"]);
    run("{\"prompt_token_ids\": [1], \"best_of\": 2}")
        .usage_error(&["line 3", "`best_of` is not supported"]);
    run("{\"prompt_token_ids\": [1], \"presence_penalty\": 3}")
        .usage_error(&["line 3", "presence_penalty is 3"]);
    run("{\"prompt_token_ids\": [1], \"top_p\": 0}").usage_error(&["line 3", "top_p is 0"]);
    run("{\"prompt_token_ids\": [1], \"min_tokens\": 300}")
        .usage_error(&["line 3", "min_tokens is 300"]);
    run("{\"prompt_token_ids\": [1], \"stop\": \"\"}").usage_error(&["line 3", "stop"]);
    run("{\"prompt_token_ids\": [256]}").usage_error(&["line 3", "256"]);
    run("{\"prompt_token_ids\": [1], \"stop_token_ids\": [999]}").usage_error(&["line 3", "999"]);
    run("{\"prompt\": \"text\"}").usage_error(&["line 3", "no tokenizer"]);
    run("{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}").usage_error(&["line 3"]);
    let long = format!("{{\"prompt_token_ids\": {:?}}}", vec![1; 200]);
    run(&long).usage_error(&["line 3", "200 tokens", "128"]);
    assert!(!output.exists(), "no answer was begun");
}

#[test]
fn files_are_checked() {
    let model = llama();
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent.jsonl");
    kvasir(&["generate", "--model", &model, "--input", absent.to_str().unwrap()]).usage_error(&[
        "cannot read",
        "absent.jsonl",
        "hint: ",
    ]);
    let input = folder.path().join("in.jsonl");
    fs::write(&input, "\n\n").unwrap();
    let path = input.to_str().unwrap();
    kvasir(&["generate", "--model", &model, "--input", path]).usage_error(&["has no requests"]);
    fs::write(&input, "{\"prompt_token_ids\": [1]}\n").unwrap();
    kvasir(&["generate", "--model", &model, "--input", path, "--output", path])
        .usage_error(&["the same file"]);
    kvasir(&[
        "generate",
        "--model",
        &model,
        "--input",
        path,
        "--output",
        "/no/such/folder/out.jsonl",
    ])
    .usage_error(&["cannot write /no/such/folder/out.jsonl"]);
    assert_eq!(fs::read_to_string(&input).unwrap(), "{\"prompt_token_ids\": [1]}\n");
}

#[test]
fn engine_options_are_checked() {
    let model = llama();
    let run = |flags: &[&str]| {
        let mut args = vec!["generate", "--model", &model, "--input", "-"];
        args.extend(flags);
        kvasir_with_input(&args, "{\"prompt_token_ids\": [1]}")
    };
    run(&["--max-tokens", "100000000"]).usage_error(&["line 1", "max_tokens is 100000000"]);
    run(&["--max-model-len", "100000"]).usage_error(&["100000", "128"]);
    run(&["--kv-cache-memory-bytes", "10"]).usage_error(&["hint: "]);
    run(&["--block-size", "100000"]).usage_error(&["100000"]);
}

/// The default model on a machine where nothing can be fetched.
fn first_use(path: &std::path::Path) -> (Option<i32>, String) {
    let cache = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_kvasir"))
        .args(["generate", "hi"])
        .env("XDG_CACHE_HOME", cache.path())
        .env("PATH", path)
        .output()
        .unwrap();
    assert!(output.stdout.is_empty());
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_machine_without_pip_is_told_what_to_install() {
    let empty = tempfile::tempdir().unwrap();
    let (code, stderr) = first_use(empty.path());
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("hint: install Python 3 with pip"), "{stderr}");
}

#[cfg(unix)]
#[test]
fn a_machine_without_a_network_is_told_to_connect() {
    use std::os::unix::fs::PermissionsExt;
    let tools = tempfile::tempdir().unwrap();
    let python = tools.path().join("python3");
    fs::write(&python, "#!/bin/sh\necho \"Failed to establish a new connection\" >&2\nexit 1\n")
        .unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let (code, stderr) = first_use(tools.path());
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("error: cannot reach the Python package index"), "{stderr}");
    assert!(stderr.contains("hint: connect to the network"), "{stderr}");
}
