//! What is refused names the key, its line and the way out.

use kv_store::config::{ConfigError, Level, Place};

use crate::machine::{TestMachine, read, read_on, refusal, texts};

#[test]
fn an_unknown_key_is_told_with_its_line_and_the_nearest() {
    let text = "chunk_size: 256\n\nevicton_policy: lru\n";
    assert_eq!(
        refusal(text),
        "line 3: unknown key \"evicton_policy\"; did you mean \"eviction_policy\"?"
    );
    assert!(refusal("zzz: 1").ends_with("unknown key \"zzz\""));
    assert!(refusal("tenants: {a: {cache_tll: 5}}").contains("\"cache_ttl\""));
}

#[test]
fn names_of_lmcache_itself_are_translated() {
    for (theirs, ours) in [
        ("local_cpu", "local_host"),
        ("max_local_cpu_size", "max_host_size"),
        ("local_disk", "storage_path"),
        ("max_local_disk_size", "max_cache_size"),
        ("cache_policy", "eviction_policy"),
    ] {
        assert!(refusal(&format!("{theirs}: 5")).contains(&format!("{ours:?}?")), "{theirs}");
    }
}

#[test]
fn a_wrong_value_says_what_could_be() {
    for (line, expected) in [
        ("chunk_size: 0", "auto, or a number of tokens"),
        ("chunk_size: large", "auto, or a number of tokens"),
        ("chunk_size: -5", "chunk_size is -5"),
        ("max_cache_size: 50G", "50G"),
        ("max_cache_size: 1.5", "KiB"),
        ("max_cache_size: 0", "KiB"),
        ("max_cache_size: 99999999999999999999999", "KiB"),
        ("eviction_policy: lfru", "did you mean"),
        ("prefetch: 1", "true or false"),
        ("prefetch: \"true\"", "true or false"),
        ("compression_level: 10", "from 1 to 9"),
        ("metrics_port: 65536", "from 0 to 65535"),
        ("local_host: gpu", "cpu"),
        ("local_device: tpu", "rocm"),
        ("gds_num_threads: 0", "from 1 to 1024"),
        ("nixl_backend: GDR", "did you mean GDS"),
        ("lossy_codec: fp4", "none, fp8"),
        ("lossy_max_error: 1.0", "such as 0.05"),
        ("lossy_max_error: 5", "such as 0.05"),
        ("cache_ttl: 1w", "number of seconds"),
        ("storage_path: [a]", "a list"),
        ("storage_path: ftp://a/b", "nfs://"),
        ("tenants: 5", "tenants is 5"),
    ] {
        let message = refusal(line);
        assert!(message.starts_with("line 1: ") && message.contains(expected), "{line}: {message}");
    }
}

#[test]
fn keys_that_contradict_or_need_each_other() {
    for (text, expected) in [
        ("storage_backend: file", "storage_path"),
        ("storage_backend: nixl", "nixl_filepath"),
        ("storage_path: /a\nnixl_filepath: /b", "two places"),
        ("storage_path: /a\nmax_cache_size: 1GB\nmax_host_size: 1GB", "local_host"),
        ("storage_path: /a\nmax_cache_size: 1GB\ncompression: true\nlossy_codec: fp8", "one codec"),
        ("local_host: cpu\nmax_cache_size: 1GB\nmax_host_size: 2GB", "keep one"),
        ("tenants: {a: {cache_quota: 1GB, cache_floor: 2GB}}", "more than it may have"),
        ("", "no place to keep chunks in"),
        ("local_device: cuda", "no place to keep chunks in"),
        ("storage_path: nfs://elsewhere/x", "mount elsewhere:/x"),
    ] {
        let message = refusal(text);
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn without_storage_the_cache_is_the_host_tier() {
    let resolved =
        read("local_host: cpu\nmax_cache_size: 1GB\nnixl_backend: GDS\nprefetch: true").unwrap();
    assert_eq!(resolved.config.host_bytes, Some(1_000_000_000));
    let warnings = texts(&resolved, Level::Warning);
    assert_eq!(
        warnings,
        [
            "nixl_backend has no effect without storage_path",
            "prefetch has no effect without storage_path"
        ]
    );
}

#[test]
fn a_share_of_an_unknown_space_is_not_guessed() {
    let machine = TestMachine { has_no_free_space: true, ..TestMachine::default() };
    let error = read_on("storage_path: /x", &machine).unwrap_err().to_string();
    assert!(error.contains("max_cache_size") && error.contains("stale file handle"), "{error}");
    assert!(read_on("storage_path: /x\nmax_cache_size: 1GB", &machine).is_ok());
}

#[test]
fn a_port_that_nobody_serves_is_told() {
    let text = "local_host: cpu\nenable_metrics: false\nmetrics_port: 80";
    let resolved = read(text).unwrap();
    assert_eq!(resolved.config.metrics_port, None);
    assert!(texts(&resolved, Level::Warning)[0].contains("metrics_port"));
}

#[test]
fn hostile_documents_are_refused() {
    let long = format!("local_host: cpu # {}", "x".repeat(70_000));
    assert!(matches!(read(&long), Err(ConfigError::TooLong { most: 65536, .. })));
    for text in [
        "- a\n- b",
        "just words",
        "a: 1\n---\nb: 2",
        "local_host: cpu\nlocal_host: cpu",
        "tenants: &a {x: {cache_ttl: 1}}\nchunk_size: *a",
        "tenants: {a: {b: {c: {d: {e: 1}}}}}",
        "? [a]\n: 5",
        "\u{0}",
    ] {
        assert!(matches!(read(text), Err(ConfigError::Yaml(_))), "{text:?}: {:?}", read(text));
    }
    let deep = "[".repeat(20_000);
    assert!(matches!(read(&deep), Err(ConfigError::Yaml(_))));
}

#[test]
fn credentials_of_a_bucket_are_whole_and_never_shown() {
    let bucket = "storage_path: s3://kv-chunks/a\nmax_cache_size: 1GB\n";
    let both = "s3_access_key_id: AKIA\ns3_secret_access_key: hush\n";
    let resolved = read(&format!("{bucket}{both}s3_session_token: hush")).unwrap();
    let Some(Place::Bucket { settings, .. }) = resolved.config.storage.map(|s| s.place) else {
        panic!("it is a bucket")
    };
    let shown = format!("{settings:?}");
    assert!(!shown.contains("hush") && !shown.contains("AKIA"), "{shown}");
    let credentials = settings.credentials.expect("they are there");
    assert_eq!(credentials.access_key_id, "AKIA");
    assert_eq!(credentials.secret_access_key, "hush");
    assert_eq!(credentials.session_token.as_deref(), Some("hush"));
    for (said, words) in [
        ("s3_access_key_id: AKIA", "s3_access_key_id is set, and s3_secret_access_key is not"),
        ("s3_session_token: hush", "s3_session_token is set, and s3_access_key_id is not"),
        ("s3_secret_access_key: hush", "s3_secret_access_key is set, and s3_access_key_id is not"),
        ("s3_secret_access_key: 4711", "line 3: s3_secret_access_key is not shown; expected text"),
        ("aws_session_token: hush", "did you mean \"s3_session_token\"?"),
    ] {
        let message = refusal(&format!("{bucket}{said}"));
        assert!(message.contains(words), "{said}: {message}");
        assert!(!message.contains("hush") && !message.contains("4711"), "{said}: {message}");
    }
    let message = refusal("storage_path: s3://kv-chunks/a?secret_access_key=hush");
    assert!(message.contains("s3://kv-chunks/a?…") && !message.contains("hush"), "{message}");
    let elsewhere = read(&format!("local_host: cpu\nmax_host_size: 1GB\n{both}")).unwrap();
    let warnings = texts(&elsewhere, Level::Warning);
    assert!(warnings[0].contains("s3_access_key_id has no effect"), "{warnings:?}");
    let directory = read(&format!("storage_path: kv\nmax_cache_size: 1GB\n{both}")).unwrap();
    let warnings = texts(&directory, Level::Warning);
    assert!(warnings[0].contains("s3_access_key_id has no effect"), "{warnings:?}");
}
