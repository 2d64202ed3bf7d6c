//! What the recipe writes runs as it is written, and means what it says.

use std::num::NonZero;
use std::path::Path;

use kv_store::config::{
    ChunkSize, Compression, Durability, Eviction, KvConfig, Level, Overrides, Place, Resolved,
    S3Settings, Source,
};

use crate::machine::{FREE_MEMORY, FREE_STORAGE, TestMachine, mounted, read, read_on, texts};

fn recipe(name: &str) -> Resolved {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/recipe").join(name);
    read(&mounted(&std::fs::read_to_string(path).unwrap())).unwrap()
}

fn directory(path: &str, is_shared: bool) -> Place {
    Place::Directory { path: mounted(path).into(), is_shared }
}

fn tokens(tokens: u32) -> ChunkSize {
    ChunkSize::Tokens(NonZero::new(tokens).unwrap())
}

#[test]
fn one_machine_with_three_tiers() {
    let resolved = recipe("basic.yaml");
    let config = &resolved.config;
    assert_eq!(config.chunk_size, tokens(256));
    assert!(config.use_device);
    assert_eq!(config.host_bytes, Some(FREE_MEMORY / 5 * 4));
    assert_eq!(
        texts(&resolved, Level::Info),
        ["max_host_size is not set: 80.0 GB, 80 % of the 100.0 GB of free memory"]
    );
    let storage = config.storage.as_ref().unwrap();
    assert_eq!(storage.place, directory("{mnt}/nvme/lmcache", false));
    assert_eq!(storage.cap_bytes, Some(50_000_000_000));
    assert_eq!(config.eviction, Eviction::Lru);
    assert_eq!(config.compression, Compression::None);
    assert_eq!((config.prefetch, config.async_write, config.metrics_port), (false, false, None));
    assert_eq!((config.durability, config.ttl), (Durability::None, None));
    assert_eq!(texts(&resolved, Level::Warning), [""; 0]);
}

#[test]
fn a_shared_mount_is_known_as_one() {
    let resolved = recipe("storage.yaml");
    let config = &resolved.config;
    let storage = config.storage.as_ref().unwrap();
    assert_eq!(storage.place, directory("{mnt}/vast/lmcache", true));
    assert_eq!(storage.cap_bytes, Some(500_000_000_000));
    assert_eq!((config.prefetch, config.metrics_port), (true, Some(8080)));
}

#[test]
fn storage_alone_has_no_host_tier() {
    let config = recipe("vast.yaml").config;
    assert_eq!((config.host_bytes, config.use_device), (None, false));
    assert_eq!(config.storage.unwrap().cap_bytes, Some(1_000_000_000_000));
    assert_eq!((config.prefetch, config.async_write), (true, true));
    assert_eq!(config.metrics_port, Some(8080), "the recipe's port, where none is named");
}

#[test]
fn gds_is_missed_aloud_and_replaced() {
    let resolved = recipe("nixl.yaml");
    let config = &resolved.config;
    let storage = config.storage.as_ref().unwrap();
    assert_eq!(storage.place, directory("{mnt}/vast_gds", false));
    assert_eq!(storage.cap_bytes, Some(FREE_STORAGE / 5 * 4));
    assert_eq!(config.num_io_threads.map(NonZero::get), Some(32));
    let [warning, direct] = texts(&resolved, Level::Warning)[..] else {
        panic!("two warnings, not {:?}", resolved.notes);
    };
    assert!(warning.contains("GDS is not there") && warning.contains("hipFile"), "{warning}");
    assert!(warning.contains("through host memory"), "{warning}");
    assert!(storage.is_direct && direct.contains("past the page cache"), "{direct}");
    let [info] = texts(&resolved, Level::Info)[..] else {
        panic!("one choice, not {:?}", resolved.notes);
    };
    assert!(info.contains("1.6 TB, 80 % of the 2.0 TB"), "{info}");
}

#[test]
fn gds_can_be_asked_for_by_its_older_key() {
    let text =
        "storage_backend: nixl\nstorage_path: /srv/x\nmax_cache_size: 1GB\ngds_enabled: true";
    assert!(texts(&read(text).unwrap(), Level::Warning)[0].contains("GDS is not there"));
}

#[test]
fn compression_has_algorithm_and_level() {
    assert_eq!(recipe("compressed.yaml").config.compression, Compression::Zstd { level: 3 });
    let with = |lines: &str| {
        let text = format!("storage_path: /x\nmax_cache_size: 1GB\n{lines}");
        let resolved = read(&text).unwrap();
        let warnings = texts(&resolved, Level::Warning).len();
        (resolved.config.compression, warnings)
    };
    assert_eq!(with("compression: true"), (Compression::Zstd { level: 3 }, 0));
    assert_eq!(with("compression: true\ncompression_algorithm: LZ4"), (Compression::Lz4, 0));
    let leveled_lz4 = "compression: true\ncompression_algorithm: lz4\ncompression_level: 9";
    assert_eq!(with(leveled_lz4), (Compression::Lz4, 1));
    assert_eq!(with("compression_algorithm: zstd"), (Compression::None, 1));
    assert_eq!(
        with("compression: true\ncompression_algorithm: byteplane\ncompression_level: 1"),
        (Compression::BytePlane { level: 1 }, 0)
    );
}

#[test]
fn the_cluster_says_it_in_variables() {
    let mut machine = TestMachine::default();
    let from = |machine: &TestMachine| {
        KvConfig::read(Source::Environment, &Overrides::default(), machine).unwrap()
    };
    assert_eq!(from(&machine), None, "nothing is said");
    machine.variables = vec![
        ("LMCACHE_BACKEND", "nfs://vast/cache".to_owned()),
        ("NIXL_BACKEND", "OFI".to_owned()),
    ];
    let resolved = from(&machine).unwrap();
    assert_eq!(
        resolved.config.storage.as_ref().unwrap().place,
        directory("{mnt}/vast/cache", true)
    );
    assert_eq!(resolved.config.chunk_size, tokens(256));
    assert!(texts(&resolved, Level::Warning)[0].contains("libfabric is not in this build"));

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/recipe/nixl.yaml");
    machine.variables = vec![("LMCACHE_CONFIG_FILE", path.to_str().unwrap().to_owned())];
    let config = from(&machine).unwrap().config;
    assert_eq!(config.num_io_threads.map(NonZero::get), Some(32));
}

#[test]
fn the_caller_comes_before_the_environment_before_the_file() {
    let text = "storage_path: /file\nmax_cache_size: 1GB\nenable_metrics: false";
    let mut machine = TestMachine::default();
    let place = |resolved: Resolved| resolved.config.storage.unwrap().place;
    assert_eq!(place(read_on(text, &machine).unwrap()), directory("/file", false));
    machine.variables = vec![("LMCACHE_BACKEND", "file:///variable".to_owned())];
    assert_eq!(place(read_on(text, &machine).unwrap()), directory("/variable", false));
    let overrides = Overrides { storage_path: Some("/flag".to_owned()), metrics_port: Some(9) };
    let resolved = KvConfig::read(Source::Text(text), &overrides, &machine).unwrap().unwrap();
    assert_eq!(resolved.config.metrics_port, Some(9));
    assert_eq!(place(resolved), directory("/flag", false));
}

#[test]
fn vllm_arguments_name_a_url() {
    let machine = TestMachine::default();
    let from_on = |connector, config, machine: &TestMachine| {
        let source = Source::KvTransfer { connector: Some(connector), config };
        KvConfig::read(source, &Overrides::default(), machine)
    };
    let from = |connector, config| from_on(connector, config, &machine);
    for config in [
        "{'backend': 'nfs://vast-cluster/cache',\n}",
        r#"{"backend": "nfs://vast-cluster/cache"}"#,
        r#"{"kv_connector": "LMCacheConnectorV1", "kv_role": "kv_both", "backend": "nfs://vast-cluster/cache"}"#,
    ] {
        let resolved = from("lmcache", config).unwrap().unwrap();
        assert_eq!(resolved.config.storage.unwrap().place, directory("{mnt}/cluster", true));
    }
    // As LMCache's own guide has it: the connector on the command line, the rest in the environment.
    let variables = vec![("LMCACHE_BACKEND", "file:///variable".to_owned())];
    let told = TestMachine { variables, ..TestMachine::default() };
    let config = r#"{"kv_connector": "LMCacheConnectorV1", "kv_role": "kv_both"}"#;
    let resolved = from_on("lmcache", config, &told).unwrap().unwrap();
    assert_eq!(resolved.config.storage.unwrap().place, directory("/variable", false));
    let message = |connector, config| from(connector, config).unwrap_err().to_string();
    assert!(message("lmcach", "{}").contains("did you mean lmcache?"));
    assert!(message("lmcache", "{}").contains("backend"));
    assert!(message("lmcache", "{'kv_role': 'kv_producer'}").contains("expected kv_both"));
    assert!(message("lmcache", "{'kv_connector': 'lmcach'}").contains("did you mean lmcache?"));
    assert!(message("lmcache", "{'backen': 'x'}").contains("did you mean \"backend\"?"));
}

#[test]
fn a_bucket_has_no_free_space() {
    let resolved = read("storage_path: s3://kv-chunks/a").unwrap();
    let storage = resolved.config.storage.as_ref().unwrap();
    let settings = S3Settings::default();
    let bucket = Place::Bucket { bucket: "kv-chunks".to_owned(), prefix: "a".to_owned(), settings };
    assert_eq!((&storage.place, storage.cap_bytes), (&bucket, None));
    assert!(texts(&resolved, Level::Warning)[0].contains("no cap"));
}

#[test]
fn chunks_grow_with_the_context() {
    let auto = read("local_host: cpu\nchunk_size: auto").unwrap().config.chunk_size;
    let sizes = [1, 8192, 8193, 32768, 32769, 131072].map(|context| auto.tokens(context));
    assert_eq!(sizes, [128, 128, 256, 256, 512, 512]);
    assert_eq!(tokens(64).tokens(131072), 64);
}

#[test]
fn the_log_level_decides_what_is_told() {
    let text = "storage_path: /x\nnixl_backend: GDS\nlog_level: ";
    let count = |level| read(&format!("{text}{level}")).unwrap().notes.len();
    assert_eq!([count("INFO"), count("WARNING"), count("ERROR")], [2, 1, 0]);
}

#[test]
fn tenants_have_rules_of_their_own() {
    let config = read(
        "local_host: cpu\ncache_ttl: 7d\ntenants:\n  customer_a: { cache_ttl: 86400, cache_quota: 10GB, cache_floor: 1GB }\n  \
         customer_b:\n",
    )
    .unwrap()
    .config;
    assert_eq!(config.ttl.map(|ttl| ttl.as_secs()), Some(7 * 86400));
    let [a, b] = &config.tenants[..] else { panic!("{:?}", config.tenants) };
    assert_eq!(
        (a.name.as_str(), a.quota_bytes, a.floor_bytes),
        ("customer_a", Some(10_000_000_000), 1_000_000_000)
    );
    assert_eq!(a.ttl.map(|ttl| ttl.as_secs()), Some(86400));
    assert_eq!(
        (b.name.as_str(), b.quota_bytes, b.floor_bytes, b.ttl),
        ("customer_b", None, 0, None)
    );
}
