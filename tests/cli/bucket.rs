//! KV in a bucket, behind the command: over a real S3 server in a process of its own.

use serde_json::{Value, json};

use crate::command::{ByteModel, family, kvasir_with};
use crate::running::{Running, serve_model};
use crate::server::{ACCESS_KEY, SECRET_KEY, Server};

/// Runs the command with what the environment says of the server; its standard output and error.
fn kvasir(server: &Server, args: &[&str], input: &str) -> (String, String) {
    let variables = [
        ("AWS_ENDPOINT_URL", server.endpoint.as_str()),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
    ];
    let run = kvasir_with(args, &variables, input);
    let stderr = run.stderr.clone();
    (run.ok(), stderr)
}

fn start() -> (tempfile::TempDir, Server) {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("kv-chunks")).unwrap();
    let server = Server::start(root.path());
    (root, server)
}

#[test]
fn what_one_process_computed_another_loads_from_the_bucket() {
    let (_root, server) = start();
    let model = family("llama");
    let tokens: Vec<u32> = (0..100).map(|i| i * 7 % 250).collect();
    let line =
        format!("{{\"prompt_token_ids\": {tokens:?}, \"max_tokens\": 4, \"ignore_eos\": true}}\n");
    let generate = |place: &[&str]| {
        let base = ["generate", "--model", model.to_str().unwrap(), "--input", "-", "--json"];
        let sizes = ["--max-model-len", "128", "--kv-cache-memory-bytes", "2000000"];
        let (stdout, stderr) = kvasir(&server, &[&base[..], &sizes, place].concat(), &line);
        let summary: Value = serde_json::from_str(stderr.lines().last().unwrap()).expect(&stderr);
        let answer: Value = serde_json::from_str(&stdout).unwrap();
        (answer["outputs"].clone(), summary["num_loaded_tokens"]["object"].as_u64().unwrap())
    };
    let place = ["--kv-storage-path", "s3://kv-chunks/shared/a"];
    let (expected, _) = generate(&[]);
    assert_eq!(generate(&place), (expected.clone(), 0), "nothing is there yet");
    assert_eq!(generate(&place), (expected, 96));
    let (listed, _) = kvasir(&server, &["store", "stat", "s3://kv-chunks/shared/a", "--json"], "");
    let stat: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(stat["groups"][0]["num_tokens"], 96, "{stat}");
}

#[test]
fn a_bucket_is_measured_and_left_empty() {
    let (root, server) = start();
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().to_str().unwrap();
    let sizes = ["--chunk-size", "16", "--depth", "2", "--megabytes", "1", "--repeats", "1"];
    let place = ["--directory", directory, "--s3", "s3://kv-chunks/mine", "--json"];
    let args = [&["bench", "store"][..], &sizes, &place].concat();
    let (report, _) = kvasir(&server, &args, "");
    let report: Value = serde_json::from_str(&report).unwrap();
    let rows = report["rows"].as_array().unwrap().iter().filter(|row| row["tier"] == "bucket");
    let ops: Vec<_> =
        rows.map(|row| (row["op"].as_str().unwrap(), &row["beside"]["what"])).collect();
    assert_eq!(ops, [("get", &Value::from("plain get")), ("put", &Value::Null)]);
    let mut left = vec![root.path().join("kv-chunks")];
    while let Some(path) = left.pop() {
        assert!(path.is_dir(), "{} stays", path.display());
        left.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
    }
}

#[test]
fn a_server_finds_in_the_bucket_what_another_computed_and_outlives_it() {
    let (_root, mut bucket) = start();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("kv.yaml");
    // No variable: the file alone says how the bucket is reached.
    let text = format!(
        "chunk_size: 32\nlocal_host: cpu\nmax_host_size: 100MB\nmax_cache_size: 1GB\n\
        storage_path: s3://kv-chunks/served?endpoint_url={}&region=us-east-1\n\
        s3_access_key_id: {ACCESS_KEY}\ns3_secret_access_key: {SECRET_KEY}\n",
        bucket.endpoint
    );
    std::fs::write(&config, text).unwrap();
    let model = ByteModel::new();
    let sizes = ["--max-model-len", "128", "--kv-cache-memory-bytes", "2000000"];
    let with_store = ["--kv-config", config.to_str().unwrap()];
    let serve = |store: &[&str]| serve_model(model.path(), &[&sizes[..], store].concat());
    let ask = |server: &Running, first: u32| {
        let tokens: Vec<u32> = (first..first + 100).map(|i| i * 7 % 250).collect();
        let body = json!({
            "prompt": tokens, "max_tokens": 4, "temperature": 0, "ignore_eos": true, "logprobs": 1,
        });
        let answer = server.post("/v1/completions", &body).ok();
        let details = &answer["usage"]["prompt_tokens_details"];
        (answer["choices"].clone(), details["cached_tokens"].as_u64().unwrap())
    };
    let alone = serve(&[]);
    let expected = [0, 1, 2].map(|first| ask(&alone, first).0);
    drop(alone);
    let mut computing = serve(&with_store);
    for first in [0, 1] {
        assert_eq!(ask(&computing, first as u32), (expected[first].clone(), 0), "nothing is there");
    }
    // What is still being written then is written before it ends.
    computing.terminate();
    assert!(computing.wait().success());
    let loading = serve(&with_store);
    assert_eq!(ask(&loading, 0), (expected[0].clone(), 96));
    bucket.kill();
    // It is known to be there, and does not come; and it was never there.
    for first in [1, 2] {
        assert_eq!(ask(&loading, first as u32), (expected[first].clone(), 0), "it is computed");
    }
    assert_eq!(loading.get("/health").status, 200);
    assert!(!loading.has_panicked());
}
