//! The recipe's configurations of its KV store, as they are, in front of a small model.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::Value;

use crate::command::{ByteModel, Run, family, kvasir, kvasir_with};
use crate::golden_model::smollm2;

/// Configuration 1 of the recipe.
const BASIC: &str = r#"
# lmcache_config.yaml
chunk_size: 256  # Tokens per cache chunk
local_device: "cuda"  # Use GPU memory first
local_host: "cpu"  # Fallback to CPU RAM

# Storage backend (optional - for persistent cache)
storage_backend: "file"
storage_path: "{mnt}/nvme/lmcache"  # Fast NVMe storage

# Cache eviction policy
eviction_policy: "lru"  # Least Recently Used
max_cache_size: 50000000000  # 50GB max cache
"#;

/// Configuration 2, on storage that nodes share.
const SHARED: &str = r#"
# lmcache_config_storage.yaml
chunk_size: 256

# Tiered storage configuration
local_device: "cuda"  # L1: GPU memory (192GB per MI300X)
local_host: "cpu"     # L2: CPU RAM (2TB typical)

# L3: Shared persistent storage (NFS/VAST)
storage_backend: "file"
storage_path: "{mnt}/vast/lmcache"  # Shared NFS mount

# For NFS over RDMA (NFSoRDMA) - better performance
# storage_path: "{mnt}/vast_rdma/lmcache"

# Advanced: Use NIXL GDS plugin for direct GPU<->Storage
# storage_backend: "nixl"
# gds_enabled: true

# Cache management
eviction_policy: "lru"
max_cache_size: 500000000000  # 500GB (shared across cluster)
prefetch: true  # Prefetch cache entries
compression: false  # Disable for speed (enable to save space)

# Monitoring
enable_metrics: true
metrics_port: 8080
"#;

/// Configuration 3, for very long prompts.
const LONG: &str = r#"
# lmcache_config_vast.yaml
chunk_size: 256

# Storage configuration (simulating VAST AI OS)
storage_backend: "file"
storage_path: "{mnt}/vast/kvcache"  # NFS mount to storage

# For testing without storage, use local:
# storage_path: "{tmp}/lmcache"

# Optimization for large contexts
prefetch: true
async_write: true
max_cache_size: 1000000000000  # 1TB

# Enable metrics
enable_metrics: true
"#;

/// The one with NIXL.
const NIXL: &str = r#"
# lmcache_config_nixl.yaml
chunk_size: 256

# Use NIXL backend with GDS
storage_backend: "nixl"

# NIXL configuration
nixl_backend: "GDS"  # GPUDirect Storage
nixl_filepath: "{mnt}/vast_gds"  # GDS-enabled mount

# GDS parameters
gds_enable_direct: true
gds_num_threads: 32

# Performance tuning
async_write: true
prefetch: true
compression: false  # GDS is fast enough without compression

# Monitoring
enable_metrics: true
log_level: "INFO"
"#;

/// A file with this text in `folder`.
fn config(folder: &Path, text: &str) -> String {
    let path = folder.join("kv.yaml");
    // Where mounts and scratch files are, by convention.
    let text = text.replace("{mnt}", concat!("/", "mnt")).replace("{tmp}", concat!("/", "tmp"));
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// 100 tokens, of which whole kv_blocks are kept: 96. A real model fills the recipe's chunks of 256 below.
fn prompt() -> String {
    let tokens: Vec<u32> = (0..100).map(|i| i * 7 % 250).collect();
    format!("{{\"prompt_token_ids\": {tokens:?}, \"max_tokens\": 4, \"ignore_eos\": true}}\n")
}

fn generate(args: &[&str], variables: &[(&str, &str)]) -> Run {
    let model = family("llama");
    let base = ["generate", "--model", model.to_str().unwrap(), "--input", "-", "--json"];
    let sizes = ["--max-model-len", "128", "--kv-cache-memory-bytes", "2000000"];
    kvasir_with(&[&base[..], &sizes, args].concat(), variables, &prompt())
}

/// The answer, and the tokens that came from each tier.
fn answer(run: Run) -> (Value, [u64; 2]) {
    let last = run.stderr.lines().last().unwrap_or_default().to_owned();
    let summary: Value = serde_json::from_str(&last).expect(&run.stderr);
    let loaded = ["host", "disk"].map(|tier| summary["num_loaded_tokens"][tier].as_u64().unwrap());
    let line: Value = serde_json::from_str(&run.ok()).unwrap();
    (line["outputs"].clone(), loaded)
}

#[test]
fn the_recipes_configurations_run_as_they_are() {
    let (expected, none) = answer(generate(&[], &[]));
    assert_eq!(none, [0, 0]);
    for (name, text, said) in [
        ("basic", BASIC, "80 % of"),
        ("shared", SHARED, "80 % of"),
        ("long", LONG, ""),
        ("nixl", NIXL, "hipFile, is not in this build; files are read and written by system calls"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (file, store) = (config(folder.path(), text), folder.path().join("store"));
        // Path and port alone differ between machines.
        let moved = ["--kv-storage-path", store.to_str().unwrap(), "--kv-metrics-port", "0"];
        let first = generate(&[&["--kv-config", &file], &moved[..]].concat(), &[]);
        assert!(first.stderr.contains(said), "{name}: {}", first.stderr);
        assert_eq!(answer(first), (expected.clone(), [0, 0]), "{name}");
        // Another process, and the file by its variable.
        let second = generate(&moved, &[("LMCACHE_CONFIG_FILE", &file)]);
        let (outputs, [_, disk]) = answer(second);
        assert_eq!((outputs, disk), (expected.clone(), 96), "{name}");
    }
}

#[test]
fn vllms_flag_and_the_pods_variables_name_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let url = format!("file://{store}");
    let flag = format!("{{\"kv_connector\": \"lmcache\", \"backend\": \"{url}\"}}");
    let (expected, _) = answer(generate(&["--kv-transfer-config", &flag], &[]));
    let pod = [("LMCACHE_BACKEND", url.as_str()), ("NIXL_BACKEND", "OFI")];
    let run = generate(&[], &pod);
    assert!(run.stderr.contains("libfabric is not in this build"), "{}", run.stderr);
    let (outputs, [_, disk]) = answer(run);
    assert_eq!((outputs, disk), (expected.clone(), 96));
    // A way without a place is none.
    let run = generate(&[], &[("NIXL_BACKEND", "OFI")]);
    assert!(run.stderr.contains("nothing says where KV is kept"), "{}", run.stderr);
    assert_eq!(answer(run), (expected, [0, 0]));
    // For people, in a sentence.
    let prompt: String = (0..100).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
    let model = ByteModel::new();
    let say = ["generate", "--model", model.arg(), "--raw", "--max-tokens", "2", &prompt];
    let args = [&say[..], &["--max-model-len", "128", "--kv-storage-path", store]].concat();
    assert!(!kvasir(&args).stderr.contains("from disk"));
    let warm = kvasir(&args).stderr;
    assert!(warm.contains("100 prompt tokens (96 from disk)"), "{warm}");
}

#[test]
fn what_is_wrong_with_a_store_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |text: &str, words: &[&str]| {
        let file = config(folder.path(), text);
        generate(&["--kv-config", &file], &[]).usage_error(words);
    };
    let moved = BASIC.replace("eviction_policy", "eviction_polcy");
    refused(&moved, &["kv.yaml", "line 12", "did you mean \"eviction_policy\"?"]);
    refused("storage_backend: file", &["storage_path"]);
    refused("storage_path: nfs://nowhere/x", &["mounted nowhere"]);
    generate(&["--kv-config", "/nowhere/kv.yaml"], &[]).usage_error(&["/nowhere/kv.yaml"]);
    let wrong = r#"{"kv_connector": "nixl"}"#;
    generate(&["--kv-transfer-config", wrong], &[]).usage_error(&["kv_connector", "lmcache"]);
    generate(&["--kv-metrics-port", "0"], &[]).usage_error(&["no place to keep chunks in"]);
    let place = folder.path().join("file");
    fs::write(&place, "").unwrap();
    // What was chosen for the user is said before.
    let told = |run: Run, words: &[&str]| {
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        words.iter().for_each(|word| assert!(run.stderr.contains(word), "{}", run.stderr));
    };
    let place = place.to_str().unwrap();
    told(generate(&["--kv-storage-path", place], &[]), &["error: ", place]);
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let store = folder.path().join("store");
    let moved = ["--kv-storage-path", store.to_str().unwrap(), "--kv-metrics-port", &port];
    told(generate(&moved, &[]), &[&port, "metrics_port"]);
}

#[test]
fn the_page_of_metrics_is_there_while_the_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let model = ByteModel::new();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_kvasir"))
        .args(["serve", model.arg(), "--port", "0", "--max-model-len", "128"])
        .args(["--kv-storage-path", folder.path().to_str().unwrap()])
        .args(["--kv-metrics-port", &port.to_string()])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    while !said.contains("listening on") {
        let read = std::io::BufRead::read_line(&mut stderr, &mut said).unwrap();
        assert!(read > 0, "{said}");
    }
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head =
        "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    for name in ["cache_hit_rate", "bytes_saved", "compute_time_saved_sec"] {
        assert!(page.contains(name), "{page}");
    }
}

#[test]
fn processes_of_a_real_model_share_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let (model, store) = (smollm2(), folder.path().to_str().unwrap());
    let run = |extra: &[&str], has_store: bool| {
        let tokens: Vec<u32> = (0..570).map(|i| 1000 + i * 37 % 900).collect();
        let line = format!("{{\"prompt_token_ids\": {tokens:?}, \"max_tokens\": 6}}\n");
        let base = ["generate", "--model", model.to_str().unwrap(), "--input", "-", "--json"];
        let sizes = ["--max-model-len", "768", "--kv-cache-memory-bytes", "100000000"];
        let place = if has_store { &["--kv-storage-path", store][..] } else { &[] };
        answer(kvasir_with(&[&base[..], &sizes, place, extra].concat(), &[], &line))
    };
    let (expected, _) = run(&[], false);
    // Two at once, on an empty directory.
    let small = ["--block-size", "8", "--max-num-batched-tokens", "200"];
    std::thread::scope(|scope| {
        let together = [&[][..], &small[..]].map(|extra| scope.spawn(move || run(extra, true)));
        for one in together {
            assert_eq!(one.join().unwrap().0, expected);
        }
    });
    // Afterwards others, with other blocks and steps.
    for (extra, tokens) in [(&[][..], 560), (&small[..], 568)] {
        let (outputs, [_, disk]) = run(extra, true);
        assert_eq!((outputs, disk), (expected.clone(), tokens), "{extra:?}");
    }
}
