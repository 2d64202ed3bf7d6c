//! Any text: an answer or an error, never a panic, and what is answered keeps the rules.

#[path = "../../../../fuzz/src/store_config.rs"]
mod invariants;

use proptest::prelude::*;

/// Lines that come close to being a configuration.
fn lines() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "chunk_size",
        "local_device",
        "local_host",
        "max_host_size",
        "storage_backend",
        "storage_path",
        "max_cache_size",
        "eviction_policy",
        "prefetch",
        "durability",
        "compression",
        "compression_algorithm",
        "compression_level",
        "cache_ttl",
        "tenants",
        "metrics_port",
        "nixl_backend",
        "nixl_filepath",
        "gds_num_threads",
        "log_level",
        "chunksize",
    ]);
    let value = prop_oneof![
        prop::sample::select(vec![
            "auto",
            "cpu",
            "cuda",
            "file",
            "nixl",
            "/a",
            "nfs://vast/x",
            "s3://bucket/p",
            "true",
            "zstd",
            "GDS",
            "7d",
            "1.5GiB",
            "{a: {cache_ttl: 5}}",
            "strict",
            "s3-fifo",
            "~",
            "",
        ])
        .prop_map(str::to_owned),
        any::<u64>().prop_map(|number| number.to_string()),
        "\\PC{0,12}",
    ];
    let line = (key, value).prop_map(|(key, value)| format!("{key}: {value}\n"));
    prop::collection::vec(line, 0..6).prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn close_to_a_configuration(text in lines()) {
        invariants::store_config(text.as_bytes());
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        invariants::store_config(&bytes);
    }

    #[test]
    fn any_text(text in "\\PC*") {
        invariants::store_config(text.as_bytes());
    }
}

#[test]
fn the_seeds_are_accepted() {
    let seeds =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/store_config");
    let mut count = 0;
    for seed in std::fs::read_dir(seeds).unwrap() {
        let path = seed.unwrap().path();
        assert!(invariants::store_config(&std::fs::read(&path).unwrap()), "{}", path.display());
        count += 1;
    }
    assert!(count >= 3, "{count} seeds");
}
