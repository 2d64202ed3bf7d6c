//! `hf:` models against a local server: whole pulls, interrupted ones, and servers that misbehave.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::server::{FakeHub, Resource, file, file_path, noise, sha256};
use engine::hub::{Hub, HubError, ModelName, Quiet};
use serde_json::json;

const CONFIG: &[u8] = br#"{"model_type": "llama"}"#;

fn hub(server: &FakeHub, folder: &Path) -> Hub {
    Hub::in_folder(folder).endpoint(server.url()).retry_delay(Duration::from_millis(1))
}

fn name(text: &str) -> ModelName {
    ModelName::parse(text).unwrap()
}

fn pull(server: &FakeHub, folder: &Path) -> Result<PathBuf, HubError> {
    hub(server, folder).pull(&name("hf:org/model"), &Quiet)
}

/// A listing entry with the digest that LFS files have.
fn lfs(name: &str, body: &[u8]) -> serde_json::Value {
    json!({"rfilename": name, "size": body.len(), "lfs": {"sha256": sha256(body), "size": body.len()}})
}

/// A listing entry as small files have it.
fn small(name: &str, body: &[u8]) -> serde_json::Value {
    json!({"rfilename": name, "size": body.len(), "blobId": &sha256(body)[..40]})
}

/// A repository with a config and one weight file.
fn serve_model(server: &FakeHub, weights: Resource) {
    server.put_listing(
        "main",
        &json!({"siblings": [small("config.json", CONFIG), lfs("model.safetensors", &weights.body)]}),
    );
    server.put_file("main", "config.json", CONFIG);
    server.put(&file_path("main", "model.safetensors"), weights);
}

/// Every file below `folder` that has a final name.
fn finished_files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with(".kvasir"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_whole_pull_takes_what_a_model_needs_and_nothing_else() {
    let server = FakeHub::start();
    let folder = tempfile::tempdir().unwrap();
    let weights = noise(300_000, 1);
    let mut siblings = vec![lfs("model.safetensors", &weights)];
    for name in [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "chat_template.jinja",
        "README.md",
        "pytorch_model.bin",
        "onnx/model.safetensors",
        "consolidated.safetensors",
    ] {
        siblings.push(small(name, name.as_bytes()));
        server.put_file("main", name, name.as_bytes());
    }
    server.put_file("main", "model.safetensors", &weights);
    server.put_listing("main", &json!({"siblings": siblings}));

    let path = pull(&server, folder.path()).unwrap();

    assert_eq!(path, folder.path().join("hf/org/model/main"));
    assert_eq!(
        finished_files(&path),
        [
            "chat_template.jinja",
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json"
        ]
    );
    assert!(fs::read(path.join("model.safetensors")).unwrap() == weights);

    server.forget_requests();
    let again = hub(&server, folder.path()).resolve(&name("hf:org/model"), &Quiet).unwrap();
    assert_eq!(again, path);
    assert_eq!(server.requests().len(), 0, "a model that is here needs no network");

    pull(&server, folder.path()).unwrap();
    assert_eq!(server.requests().len(), 1, "an unchanged model costs one listing");
}

#[test]
fn a_cut_connection_is_resumed_where_it_broke() {
    let server = FakeHub::start();
    let folder = tempfile::tempdir().unwrap();
    let weights = noise(1_000_000, 2);
    serve_model(&server, Resource { cuts: vec![333_333, 200_001], ..file(&weights) });

    let path = pull(&server, folder.path()).unwrap();

    assert!(fs::read(path.join("model.safetensors")).unwrap() == weights);
    let requests = server.file_requests("model.safetensors");
    let ranges: Vec<_> =
        requests.iter().map(|r| r.headers.get("range").map(String::as_str)).collect();
    assert_eq!(ranges, [None, Some("bytes=333333-"), Some("bytes=533334-")]);
    assert!(requests[1].headers.contains_key("if-range"));
    let sent: usize = requests.iter().map(|r| r.sent_bytes).sum();
    assert_eq!(sent, weights.len(), "no byte is fetched twice");
}

#[test]
fn a_later_run_resumes_what_an_earlier_one_left() {
    let server = FakeHub::start();
    let folder = tempfile::tempdir().unwrap();
    let weights = noise(500_000, 3);
    let broken = Resource { status: Some(500), ..file(&weights) };
    serve_model(
        &server,
        Resource { cuts: vec![123_456], then: Some(Box::new(broken)), ..file(&weights) },
    );
    let error = pull(&server, folder.path()).unwrap_err();
    assert!(matches!(error, HubError::Http { status: 500, .. }), "{error}");
    let model = folder.path().join("hf/org/model/main");
    assert_eq!(
        finished_files(&model),
        ["config.json", "model.safetensors.part", "model.safetensors.part.json"]
    );

    server.put_file("main", "model.safetensors", &weights);
    server.forget_requests();
    // What is not complete is not taken for a model, so `resolve` goes on with the pull.
    let path = hub(&server, folder.path()).resolve(&name("hf:org/model"), &Quiet).unwrap();

    assert!(fs::read(path.join("model.safetensors")).unwrap() == weights);
    assert_eq!(finished_files(&model), ["config.json", "model.safetensors"]);
    let requests = server.file_requests("model.safetensors");
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].headers["range"], "bytes=123456-");
    assert_eq!(requests[0].sent_bytes, weights.len() - 123_456);
    assert_eq!(server.file_requests("config.json").len(), 0, "finished files are kept");
}

#[test]
fn a_server_that_ignores_ranges_still_delivers() {
    let server = FakeHub::start();
    let folder = tempfile::tempdir().unwrap();
    let weights = noise(400_000, 4);
    serve_model(&server, Resource { cuts: vec![100_000], ignores_range: true, ..file(&weights) });

    let path = pull(&server, folder.path()).unwrap();

    assert!(fs::read(path.join("model.safetensors")).unwrap() == weights);
    assert_eq!(server.file_requests("model.safetensors").len(), 2);
}

#[test]
fn a_file_that_changes_in_the_middle_is_begun_anew() {
    let server = FakeHub::start();
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (noise(200_000, 5), noise(200_000, 6));
    // A listing without digests: only the ETag can tell.
    server.put_listing(
        "main",
        &json!({"siblings": [{"rfilename": "config.json"}, {"rfilename": "model.safetensors"}]}),
    );
    server.put_file("main", "config.json", CONFIG);
    server.put(
        &file_path("main", "model.safetensors"),
        Resource { cuts: vec![150_000], then: Some(Box::new(file(&new))), ..file(&old) },
    );

    let path = pull(&server, folder.path()).unwrap();

    assert!(fs::read(path.join("model.safetensors")).unwrap() == new);
    let requests = server.file_requests("model.safetensors");
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].headers["if-range"], file(&old).etag.unwrap());

    server.forget_requests();
    pull(&server, folder.path()).unwrap();
    let sent: usize = server.file_requests("model.safetensors").iter().map(|r| r.sent_bytes).sum();
    assert_eq!(sent, 0, "an unchanged ETag needs no second download");
}

#[test]
fn a_revision_that_moves_replaces_its_files() {
    let server = FakeHub::start();
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (noise(50_000, 7), noise(60_000, 8));
    let index = |shards: &[&str]| {
        let map: serde_json::Map<_, _> =
            shards.iter().map(|s| (format!("t.{s}"), json!(s))).collect();
        json!({"metadata": {}, "weight_map": map}).to_string().into_bytes()
    };
    let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let first = "a".repeat(40);
    let index_bytes = index(&shards);
    server.put_listing(
        "main",
        &json!({"sha": first, "siblings": [
        small("config.json", CONFIG), small("model.safetensors.index.json", &index_bytes),
        lfs(shards[0], &old), lfs(shards[1], &new), lfs("consolidated.safetensors", &old)]}),
    );
    for (name, body) in [
        ("config.json", CONFIG),
        ("model.safetensors.index.json", &index_bytes),
        (shards[0], &old),
        (shards[1], &new),
    ] {
        server.put_file(&first, name, body);
    }
    let path = pull(&server, folder.path()).unwrap();
    assert_eq!(
        finished_files(&path),
        ["config.json", shards[0], shards[1], "model.safetensors.index.json"]
    );

    let second = "b".repeat(40);
    server.put_listing(
        "main",
        &json!({"sha": second, "siblings": [
        small("config.json", CONFIG), lfs("model.safetensors", &new)]}),
    );
    server.put_file(&second, "model.safetensors", &new);
    server.forget_requests();
    assert_eq!(pull(&server, folder.path()).unwrap(), path);

    assert_eq!(finished_files(&path), ["config.json", "model.safetensors"]);
    assert_eq!(server.requests().len(), 2, "listing and the new file, by its commit");
}

#[test]
fn a_listing_that_names_new_content_outweighs_an_old_validator() {
    let server = FakeHub::start();
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (noise(5_000, 19), noise(5_000, 20));
    let etag = Some("\"never-changes\"".to_owned());
    serve_model(&server, Resource { etag: etag.clone(), ..file(&old) });
    pull(&server, folder.path()).unwrap();
    serve_model(&server, Resource { etag, ..file(&new) });
    let path = pull(&server, folder.path()).unwrap();
    assert!(fs::read(path.join("model.safetensors")).unwrap() == new);
}

#[test]
fn a_shard_that_is_not_there_is_named() {
    let server = FakeHub::start();
    let folder = tempfile::tempdir().unwrap();
    let index = br#"{"weight_map": {"w": "model-00009.safetensors"}}"#;
    server.put_listing(
        "main",
        &json!({"siblings": [small("config.json", CONFIG),
        small("model.safetensors.index.json", index), lfs("model-00001.safetensors", b"x")]}),
    );
    server.put_file("main", "config.json", CONFIG);
    server.put_file("main", "model.safetensors.index.json", index);
    let error = pull(&server, folder.path()).unwrap_err().to_string();
    assert!(error.contains("model-00009.safetensors"), "{error}");
}

#[test]
fn wrong_bytes_are_discarded() {
    let server = FakeHub::start();
    let folder = tempfile::tempdir().unwrap();
    let weights = noise(10_000, 9);
    serve_model(&server, file(&weights));
    let mut damaged = weights;
    damaged[5_000] ^= 1;
    server.put_file("main", "model.safetensors", &damaged);

    let error = pull(&server, folder.path()).unwrap_err();

    assert!(matches!(error, HubError::WrongDigest { .. }), "{error}");
    assert_eq!(finished_files(&folder.path().join("hf/org/model/main")), ["config.json"]);
}

#[test]
fn a_wrong_length_is_refused() {
    let weights = noise(10_000, 10);
    for (body, announced_len) in [
        (&weights[..9_000], None),
        (&[weights.as_slice(), b"more"].concat()[..], None),
        (&weights[..9_000], Some(10_000)),
    ] {
        let server = FakeHub::start();
        let folder = tempfile::tempdir().unwrap();
        serve_model(&server, file(&weights));
        server
            .put(&file_path("main", "model.safetensors"), Resource { announced_len, ..file(body) });
        let error = pull(&server, folder.path()).unwrap_err();
        assert!(
            matches!(
                error,
                HubError::WrongSize { .. }
                    | HubError::Offline { .. }
                    | HubError::WrongDigest { .. }
                    | HubError::BadReply { .. }
                    | HubError::Http { .. }
            ),
            "{error}"
        );
        assert!(!folder.path().join("hf/org/model/main/model.safetensors").exists());
    }
}

#[test]
fn a_server_that_always_breaks_off_is_given_up() {
    let server = FakeHub::start();
    let folder = tempfile::tempdir().unwrap();
    let weights = noise(10_000, 15);
    for ignores_range in [true, false] {
        let cuts = vec![if ignores_range { 4_000 } else { 0 }; 100];
        serve_model(&server, Resource { cuts, ignores_range, ..file(&weights) });
        server.forget_requests();
        let error = pull(&server, folder.path()).unwrap_err();
        assert!(matches!(error, HubError::Offline { .. }), "{error}");
        assert!(server.file_requests("model.safetensors").len() <= 6);
    }
}

#[test]
fn a_busy_server_is_asked_again() {
    let server = FakeHub::start();
    let folder = tempfile::tempdir().unwrap();
    let weights = noise(1_000, 11);
    serve_model(&server, Resource { unavailable: 3, ..file(&weights) });
    pull(&server, folder.path()).unwrap();
    assert_eq!(server.file_requests("model.safetensors").len(), 4);
}

#[test]
fn refusals_say_what_to_do() {
    let server = FakeHub::start();
    let folder = tempfile::tempdir().unwrap();
    let error = pull(&server, folder.path()).unwrap_err();
    assert!(matches!(error, HubError::NotFound { .. }), "{error}");
    assert_eq!(server.requests().len(), 1, "what is not there is not asked for again");

    let listing = "/api/models/org/model/revision/main?blobs=true";
    for status in [401, 403] {
        server.put(listing, Resource { status: Some(status), ..Resource::default() });
        let error = pull(&server, folder.path()).unwrap_err().to_string();
        assert!(error.contains("set HF_TOKEN"), "{error}");
        let hub = hub(&server, folder.path()).token("secret-token");
        assert!(!format!("{hub:?}").contains("secret-token"));
        let error = hub.pull(&name("hf:org/model"), &Quiet).unwrap_err().to_string();
        assert!(error.contains("HF_TOKEN gives no access"), "{error}");
        assert!(!error.contains("secret-token"), "{error}");
    }
    server.put(listing, Resource { body: b"<html>".to_vec(), ..Resource::default() });
    let error = pull(&server, folder.path()).unwrap_err();
    assert!(matches!(error, HubError::BadReply { .. }), "{error}");
}

#[test]
fn the_token_goes_to_the_hub_and_to_no_other_host() {
    let server = FakeHub::start();
    let folder = tempfile::tempdir().unwrap();
    let weights = noise(1_000, 12);
    serve_model(&server, file(&weights));
    server.put("/elsewhere", file(&weights));
    let redirect = Some(format!("{}/elsewhere", server.other_url()));
    server
        .put(&file_path("main", "model.safetensors"), Resource { redirect, ..Resource::default() });

    let path = hub(&server, folder.path())
        .token("secret-token")
        .pull(&name("hf:org/model"), &Quiet)
        .unwrap();

    assert!(fs::read(path.join("model.safetensors")).unwrap() == weights);
    for request in server.requests() {
        let sent = request.headers.get("authorization").map(String::as_str);
        let expected = (request.path != "/elsewhere").then_some("Bearer secret-token");
        assert_eq!(sent, expected, "{}", request.path);
    }
}

#[test]
fn a_hostile_file_name_stops_the_pull() {
    for hostile in [
        "../evil.safetensors",
        "/etc/evil.safetensors",
        "a/../../evil.json",
        "a\\..\\evil.json",
        "a//b",
        "C:evil.json",
        "a\nb",
    ] {
        let server = FakeHub::start();
        let folder = tempfile::tempdir().unwrap();
        server.put_listing("main", &json!({"siblings": [small("config.json", CONFIG), small(hostile, b"x"), lfs("model.safetensors", b"w")]}));
        let error = pull(&server, folder.path()).unwrap_err();
        assert!(
            matches!(&error, HubError::UnsafeFileName { name, .. } if name == hostile),
            "{error}"
        );
        assert_eq!(server.requests().len(), 1, "nothing is downloaded");
    }
}

#[test]
fn a_gguf_repository_asks_which_file() {
    let server = FakeHub::start();
    let folder = tempfile::tempdir().unwrap();
    let weights = noise(2_000, 13);
    server.put_listing(
        "main",
        &json!({"siblings": [lfs("model-q4.gguf", &weights), lfs("big/model-f16.gguf", b"x")]}),
    );
    server.put_file("main", "model-q4.gguf", &weights);

    let error = pull(&server, folder.path()).unwrap_err().to_string();
    for choice in ["hf:org/model:model-q4.gguf", "hf:org/model:big/model-f16.gguf"] {
        assert!(error.contains(choice), "{error}");
    }
    let chosen = name("hf:org/model:model-q4.gguf");
    let path = hub(&server, folder.path()).resolve(&chosen, &Quiet).unwrap();
    assert_eq!(path.file_name().unwrap(), "model-q4.gguf");
    assert!(fs::read(&path).unwrap() == weights);

    server.forget_requests();
    assert_eq!(hub(&server, folder.path()).resolve(&chosen, &Quiet).unwrap(), path);
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn a_repository_without_a_model_says_what_is_missing() {
    let server = FakeHub::start();
    let folder = tempfile::tempdir().unwrap();
    server.put_listing("main", &json!({"siblings": [small("README.md", b"x")]}));
    let error = pull(&server, folder.path()).unwrap_err().to_string();
    assert!(error.contains("*.safetensors"), "{error}");
    server.put_listing("main", &json!({"siblings": [lfs("model.safetensors", b"x")]}));
    let error = pull(&server, folder.path()).unwrap_err().to_string();
    assert!(error.contains("config.json"), "{error}");
}

#[test]
fn nobody_there_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    // Bound and dropped: nothing listens there any more.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let hub = Hub::in_folder(folder.path()).endpoint(format!("http://127.0.0.1:{port}"));
    let error = hub.pull(&name("hf:org/model"), &Quiet).unwrap_err();
    assert!(matches!(error, HubError::Offline { .. }), "{error}");
    assert!(error.to_string().contains("connect to the network"), "{error}");
}

#[test]
fn two_pulls_at_once_share_the_work() {
    let server = FakeHub::start();
    let folder = tempfile::tempdir().unwrap();
    let weights = noise(2_000_000, 14);
    serve_model(&server, file(&weights));
    std::thread::scope(|scope| {
        let pulls: Vec<_> =
            (0..4).map(|_| scope.spawn(|| pull(&server, folder.path()).unwrap())).collect();
        for pull in pulls {
            let path = pull.join().unwrap();
            assert!(fs::read(path.join("model.safetensors")).unwrap() == weights);
        }
    });
    assert_eq!(server.file_requests("model.safetensors").len(), 1);
}

#[test]
fn the_command_pulls_and_prints_the_path_last() {
    let server = FakeHub::start();
    let cache = tempfile::tempdir().unwrap();
    serve_model(&server, file(&noise(3_000, 16)));
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_kvasir"))
        .args(["pull", "hf:org/model"])
        .env("XDG_CACHE_HOME", cache.path())
        .env("HF_ENDPOINT", server.url())
        .env("HF_TOKEN", "secret-token")
        .output()
        .unwrap();
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let path = cache.path().join("kvasir/models/hf/org/model/main");
    assert_eq!(stdout.lines().last(), path.to_str());
    assert!(path.join("model.safetensors").exists());
    assert!(stderr.contains("fetching model.safetensors"), "progress is shown: {stderr}");
    assert!(!stderr.contains("secret-token"));
    assert_eq!(server.requests()[0].headers["authorization"], "Bearer secret-token");
}

#[test]
fn the_command_tells_failures_of_the_user_from_others() {
    let server = FakeHub::start();
    let cache = tempfile::tempdir().unwrap();
    let pull = || {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_kvasir"))
            .args(["pull", "hf:org/model"])
            .env("XDG_CACHE_HOME", cache.path())
            .env("HF_ENDPOINT", server.url())
            .env_remove("HF_TOKEN")
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, stderr) = pull();
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("\nhint: check the spelling"), "{stderr}");
    let weights = noise(3_000, 17);
    serve_model(&server, file(&weights));
    server.put_file("main", "model.safetensors", &noise(3_000, 18));
    let (code, stderr) = pull();
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("error: model.safetensors has sha256"), "{stderr}");
}
