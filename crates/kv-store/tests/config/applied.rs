//! A configuration makes the store that it describes.

use std::path::Path;
use std::sync::Arc;

use kv_store::chunk::ChunkShape;
use kv_store::clock::{Clock, SystemClock};
use kv_store::config::{ConfigError, KvConfig};
use kv_store::eviction::Pins;
use kv_store::identity::{Identity, IdentityParts};
use kv_store::keys::{ChunkKey, Salt};
use kv_store::outcome::{Put, Reject, TierKind};
use kv_store::store::{NewChunk, Store, StoreConfig};

use crate::machine::read;

const SHAPE: ChunkShape =
    ChunkShape { num_layers: 2, num_kv_heads: 1, head_dim: 8, element_bytes: 2 };
/// Of a chunk of 16 tokens.
const CHUNK_BYTES: usize = 2 * 2 * 16 * 8 * 2;

fn open(config: &KvConfig, pins: &Pins) -> Store {
    let lossy_codec = config.lossy_codec();
    let parts = IdentityParts { lossy_codec, ..IdentityParts::of_no_model(1) };
    let config = config.store_config(4096, 16, pins).unwrap();
    Store::open(config, Identity::new(&parts).unwrap(), SHAPE).unwrap()
}

fn config(path: &Path, lines: &str) -> KvConfig {
    read(&format!("storage_path: {:?}\n{lines}", path.to_str().unwrap())).unwrap().config
}

fn key(i: u8) -> ChunkKey {
    ChunkKey([i; 32])
}

fn new(i: u8, tenant: &str) -> NewChunk {
    let tenant = Salt::tenant(tenant).tenant_tag();
    NewChunk { key: key(i), tokens: 0..16, tenant, ttl_ms: None }
}

fn put(store: &Store, i: u8, tenant: &str) -> Vec<(TierKind, Put)> {
    store.put(new(i, tenant), vec![i; CHUNK_BYTES]).0
}

fn reads(store: &Store, i: u8) -> bool {
    let mut out = vec![0; CHUNK_BYTES];
    store.get(&key(i), 0..2, &mut out).is_hit() && out == vec![i; CHUNK_BYTES]
}

#[test]
fn tiers_sizes_and_chunks_are_those_of_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(
        directory.path(),
        "max_cache_size: 1MB\nlocal_host: cpu\nmax_host_size: 4KiB\nchunk_size: auto\ngds_num_threads: 3",
    );
    let store = open(&config, &Pins::default());
    assert_eq!(store.chunk_size(), 128);
    let caps: Vec<_> =
        store.stats().iter().map(|(kind, usage, _)| (*kind, usage.cap_bytes)).collect();
    assert_eq!(caps, [(TierKind::Host, 4096), (TierKind::Disk, 1_000_000)]);
    assert_eq!(config.store_config(4096, 16, &Pins::default()).unwrap().num_workers, 3);
}

#[test]
fn every_compression_is_read_by_every_other() {
    let directory = tempfile::tempdir().unwrap();
    let algorithms = ["none", "lz4", "zstd", "byteplane"];
    let stores: Vec<Store> = algorithms
        .iter()
        .map(|algorithm| {
            let lines = match *algorithm {
                "none" => "max_cache_size: 1MB".to_owned(),
                name => {
                    format!("max_cache_size: 1MB\ncompression: true\ncompression_algorithm: {name}")
                }
            };
            open(&config(directory.path(), &lines), &Pins::default())
        })
        .collect();
    for (i, store) in (0..).zip(&stores) {
        assert_eq!(put(store, i, "a"), [(TierKind::Disk, Put::Stored)]);
        assert!(stores.iter().all(|reader| reads(reader, i)), "{}", algorithms[usize::from(i)]);
    }
}

#[test]
fn a_lossy_codec_rounds_and_is_named_and_keeps_to_its_error() {
    let directory = tempfile::tempdir().unwrap();
    let lines = "max_cache_size: 1MB\nlossy_codec: fp8\nlossy_max_error: 0.02";
    let lossy = config(directory.path(), lines);
    let store = open(&lossy, &Pins::default());
    assert_eq!((lossy.lossy_codec(), store.lossy_codec()), (Some("fp8-e4m3"), Some("fp8-e4m3")));
    // FP8 has 2, which is 0x4000; what it has next to 0x0707 is 5 % away.
    let two = [0x00, 0x40].repeat(CHUNK_BYTES / 2);
    assert_eq!(store.put(new(1, "a"), two.clone()).0, [(TierKind::Disk, Put::Stored)]);
    let mut out = vec![0; CHUNK_BYTES];
    assert!(store.get(&key(1), 0..2, &mut out).is_hit() && out == two);
    let off = [0x07, 0x07].repeat(CHUNK_BYTES / 2);
    assert_eq!(store.put(new(2, "a"), off).0, [(TierKind::Disk, Put::Rejected(Reject::Policy))]);
    // Who computes exactly finds none of it.
    let exact = open(&config(directory.path(), "max_cache_size: 1MB"), &Pins::default());
    assert_eq!(exact.lossy_codec(), None);
    assert!(!exact.get(&key(1), 0..2, &mut out).is_hit());
}

#[test]
fn quotas_floors_and_pins_hold_in_every_tier() {
    let directory = tempfile::tempdir().unwrap();
    let lines = "max_cache_size: 1MB\nlocal_host: cpu\nmax_host_size: 4KiB\ntenants:\n  \
                 small: { cache_quota: 2KiB }\n  kept: { cache_floor: 2KiB }\n  tiny: { cache_quota: 1KB }";
    let pins = Pins::default();
    let store = open(&config(directory.path(), lines), &pins);
    assert_eq!(CHUNK_BYTES, 1024, "four fit into the host tier");
    let host = |outcome: Vec<(TierKind, Put)>| outcome[0].1;
    let disk = |outcome: Vec<(TierKind, Put)>| outcome[1].1;

    assert_eq!(host(put(&store, 1, "kept")), Put::Stored);
    assert_eq!(host(put(&store, 2, "kept")), Put::Stored);
    for i in 10..20 {
        assert_eq!(host(put(&store, i, "noisy")), Put::Stored);
    }
    assert!(store.tiers()[0].may_have(&key(1)) && store.tiers()[0].may_have(&key(2)));

    pins.pin(&key(19));
    pins.pin(&key(18));
    assert_eq!(host(put(&store, 20, "noisy")), Put::Rejected(Reject::Full));
    pins.unpin(&key(18));
    assert_eq!(host(put(&store, 21, "noisy")), Put::Stored);
    assert!(store.tiers()[0].may_have(&key(19)));

    // A record is larger than its chunk, so that the quota has room for none.
    assert_eq!(disk(put(&store, 30, "tiny")), Put::Rejected(Reject::Policy));
}

/// A clock that is hours ahead.
struct Later(SystemClock);

impl Clock for Later {
    fn unix_ms(&self) -> u64 {
        self.0.unix_ms() + 3 * 3_600_000
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.monotonic_ms()
    }
}

#[test]
fn promises_to_tenants_outlive_the_process() {
    let directory = tempfile::tempdir().unwrap();
    // A record of 16 tokens takes two blocks: eight fit.
    let lines = "max_cache_size: 64KiB\ntenants:\n  small: { cache_quota: 24KiB }\n  \
                 kept: { cache_floor: 24KiB }\n  brief: { cache_ttl: 1h }";
    let config = config(directory.path(), lines);
    let store = open(&config, &Pins::default());
    for (i, tenant) in [(1, "kept"), (2, "kept"), (3, "small"), (4, "small"), (5, "small")] {
        assert_eq!(put(&store, i, tenant), [(TierKind::Disk, Put::Stored)]);
    }
    assert_eq!(put(&store, 6, "brief"), [(TierKind::Disk, Put::Stored)]);
    drop(store);

    let store = open(&config, &Pins::default());
    let held = |keys: std::ops::Range<u8>| keys.filter(|i| reads(&store, *i)).count();
    assert_eq!((held(1..7), store.stats()[0].1.num_chunks), (6, 6));
    assert_eq!(put(&store, 10, "small"), [(TierKind::Disk, Put::Stored)]);
    assert_eq!((held(3..6), held(10..11)), (2, 1), "what it stored before counts in its quota");
    for i in 20..40 {
        assert_eq!(put(&store, i, "noisy"), [(TierKind::Disk, Put::Stored)]);
    }
    assert_eq!(held(1..3), 2, "the floor holds for what was there before");
    assert_eq!(put(&store, 50, "brief"), [(TierKind::Disk, Put::Stored)]);
    drop(store);

    let later = StoreConfig {
        clock: Arc::new(Later(SystemClock::new())),
        ..config.store_config(4096, 16, &Pins::default()).unwrap()
    };
    let identity = Identity::new(&IdentityParts::of_no_model(1)).unwrap();
    let store = Store::open(later, identity, SHAPE).unwrap();
    assert!(!reads(&store, 50), "its time is over");
    assert!(reads(&store, 1) && reads(&store, 2) && reads(&store, 39), "theirs has no end");
}

#[test]
fn time_to_live_is_the_tenants_own_or_everyones() {
    let config =
        read("local_host: cpu\ncache_ttl: 1h\ntenants: { a: { cache_ttl: 5 } }").unwrap().config;
    assert_eq!((config.ttl_ms("a"), config.ttl_ms("b")), (Some(5000), Some(3_600_000)));
    assert_eq!(config.store_config(1, 16, &Pins::default()).unwrap().ttl_ms, Some(3_600_000));
}

#[test]
fn a_bucket_is_refused_by_name() {
    let config = read("storage_path: s3://kv-chunks").unwrap().config;
    let error = config.store_config(4096, 16, &Pins::default()).map(|_| ()).unwrap_err();
    assert!(
        matches!(&error, ConfigError::NoObjectTier { bucket } if bucket == "kv-chunks"),
        "{error}"
    );
}
