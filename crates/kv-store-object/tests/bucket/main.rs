//! Chunks in a bucket: over memory with faults, and over a real S3 server in a process of its own.

mod inventory;
mod refusals;
mod s3;
mod server;
mod support;
mod transfers;

use std::sync::Arc;

use kv_store::eviction::{Pins, TenantRule, governed, lru};
use kv_store::keys::TenantTag;
use kv_store::outcome::{ChunkMeta, Corruption, Lookup, Miss, Put, Reject, TierKind};
use kv_store::tier::{Chunk, Tier};
use kv_store_object::ObjectConfig;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use support::{CHUNK_BYTES, SHAPE, bytes, chunk, get, key, open};

fn path(i: u8) -> Path {
    let name = key(i).to_string();
    Path::from(format!("kv/records-v{}/{}/{name}", kv_store::record::VERSION, &name[..2]))
}

fn memory() -> (Arc<InMemory>, ObjectConfig) {
    let store = Arc::new(InMemory::new());
    (Arc::clone(&store), ObjectConfig::new(store, "memory", "kv"))
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

#[test]
fn the_first_of_several_writers_wins() {
    let (_, config) = memory();
    let (one, other) = (open(&config), open(&config));
    assert_eq!(one.put(&chunk(1)), Put::Stored);
    assert_eq!(other.put(&chunk(1)), Put::AlreadyThere);
    assert!(get(&other, 1).is_hit());
    let Lookup::Hit(found) = get(&one, 1) else { panic!("it is there") };
    assert_eq!((found.tier, found.meta.num_tokens), (TierKind::Object, 16));
}

#[test]
fn promises_to_tenants_outlive_the_process() {
    let (_, mut config) = memory();
    let tenant = TenantTag([7; 16]);
    let of_tenant = |i| {
        let meta = ChunkMeta { tenant, ..chunk(i).meta().clone() };
        Arc::new(Chunk::seal(&SHAPE, key(i), meta, bytes(i)).unwrap())
    };
    let tier = open(&config);
    assert_eq!(tier.put(&of_tenant(1)), Put::Stored);
    let record_bytes = tier.usage().bytes;
    assert_eq!(tier.put(&of_tenant(2)), Put::Stored);
    let rule = |quota, floor| {
        let rule = TenantRule { tenant, quota_bytes: Some(quota), floor_bytes: floor };
        governed(lru(), Pins::default(), vec![rule])
    };
    config.policy = rule(2 * record_bytes, 0);
    let tier = open(&config);
    tier.maintain();
    assert_eq!(tier.put(&of_tenant(3)), Put::Stored);
    assert_eq!(tier.usage().num_chunks, 2, "what it stored before counts in its quota");
    (config.policy, config.cap_bytes) = (rule(u64::MAX, 2 * record_bytes), 2 * record_bytes);
    let tier = open(&config);
    assert_eq!(
        tier.put(&chunk(4)),
        Put::Rejected(Reject::Full),
        "the floor, before any maintenance"
    );
}

#[test]
fn what_others_do_is_found_by_listing() {
    let (_, mut config) = memory();
    config.list_every_ms = 0;
    let (one, other) = (open(&config), open(&config));
    assert_eq!(one.put(&chunk(1)), Put::Stored);
    assert!(!other.may_have(&key(1)));
    other.maintain();
    assert!(other.may_have(&key(1)));
    assert_eq!(other.usage().bytes, one.usage().bytes);
    other.remove(&key(1));
    assert!(matches!(get(&one, 1), Lookup::Miss(Miss::Absent)));
    assert!(!one.may_have(&key(1)), "a read found out");
    assert_eq!(open(&config).usage().num_chunks, 0);
}

/// Every byte of the record, one bit of each, by turns: exact bytes or none, and the record is put aside.
#[test]
fn no_flipped_bit_is_an_answer() {
    let (store, config) = memory();
    let tier = open(&config);
    assert_eq!(tier.put(&chunk(1)), Put::Stored);
    let record = wait(async { store.get(&path(1)).await.unwrap().bytes().await.unwrap() });
    let mut num_corrupt = 0;
    for at in 0..record.len() {
        let mut damaged = record.to_vec();
        damaged[at] ^= 1 << (at % 8);
        wait(async { store.put(&path(1), damaged.into()).await.unwrap() });
        match get(&tier, 1) {
            // Padding between the layers and the trailer.
            Lookup::Hit(_) => {}
            Lookup::Corrupt(corruption) => {
                num_corrupt += 1;
                let is_aside = wait(async { store.head(&path(1)).await.is_err() });
                assert_eq!(is_aside, corruption != Corruption::Codec, "{at}");
            }
            Lookup::Miss(miss) => assert_eq!(miss, Miss::Expired, "byte {at}"),
        }
    }
    assert!(num_corrupt > CHUNK_BYTES, "{num_corrupt}");
    assert!(tier.stats().quarantined > 0);
}

/// A layer of a damaged record is given if its own bytes, the header and the trailer are good, as from a file.
#[test]
fn layers_are_fetched_alone() {
    let (store, config) = memory();
    let tier = open(&config);
    assert_eq!(tier.put(&chunk(1)), Put::Stored);
    let record = wait(async { store.get(&path(1)).await.unwrap().bytes().await.unwrap() });
    let mut damaged = record.to_vec();
    damaged[4096 + CHUNK_BYTES / 2 + 5] ^= 1;
    wait(async { store.put(&path(1), damaged.into()).await.unwrap() });
    let mut out = vec![0; CHUNK_BYTES / 2];
    assert!(tier.get(&key(1), 0..1, &mut out).is_hit());
    assert_eq!(out, bytes(1)[..CHUNK_BYTES / 2]);
    assert!(matches!(
        tier.get(&key(1), 1..2, &mut out),
        Lookup::Corrupt(Corruption::Encoded { layer: 1 })
    ));
    assert_eq!(tier.stats().quarantined, 1);
    assert_eq!(tier.put(&chunk(1)), Put::Stored);
    assert!(tier.get(&key(1), 1..2, &mut out).is_hit());
    assert_eq!(out, bytes(1)[CHUNK_BYTES / 2..]);
    for wrong in [1..3, 2..3, 1..1, 7..9] {
        assert!(matches!(tier.get(&key(1), wrong, &mut out), Lookup::Miss(Miss::Request)));
    }
}

#[test]
fn what_is_wrong_is_replaced() {
    let (store, config) = memory();
    let tier = open(&config);
    for wrong in [Vec::new(), vec![0; 100], vec![7; 1 << 20]] {
        wait(async { store.put(&path(2), wrong.clone().into()).await.unwrap() });
        assert!(matches!(get(&tier, 2), Lookup::Corrupt(_)), "{} bytes", wrong.len());
        wait(async { store.put(&path(2), wrong.into()).await.unwrap() });
        assert_eq!(tier.put(&chunk(2)), Put::Stored);
        assert!(get(&tier, 2).is_hit());
        tier.remove(&key(2));
    }
    // A good record of another chunk.
    assert_eq!(tier.put(&chunk(3)), Put::Stored);
    wait(async { store.copy(&path(3), &path(4)).await.unwrap() });
    assert!(matches!(get(&tier, 4), Lookup::Corrupt(Corruption::Key)));
    assert!(get(&tier, 3).is_hit());
}

#[test]
fn the_cap_is_kept() {
    let (_, mut config) = memory();
    let one = open(&config);
    assert_eq!(one.put(&chunk(0)), Put::Stored);
    let record_bytes = one.usage().bytes;
    config.cap_bytes = 3 * record_bytes;
    let tier = open(&config);
    for i in 1..10 {
        assert_eq!(tier.put(&chunk(i)), Put::Stored);
        assert!(tier.usage().bytes <= config.cap_bytes);
    }
    assert_eq!(tier.stats().evicted, 7);
    assert!(get(&tier, 9).is_hit() && !get(&tier, 5).is_hit());
    config.cap_bytes = record_bytes - 1;
    assert_eq!(open(&config).put(&chunk(50)), Put::Rejected(Reject::TooLarge));
}

#[test]
fn a_tier_serves_and_ends_inside_another_runtime() {
    let (_, config) = memory();
    wait(async {
        let tier = open(&config);
        assert_eq!(tier.put(&chunk(1)), Put::Stored);
        let mut out = vec![0; CHUNK_BYTES];
        assert!(tier.get(&key(1), 0..2, &mut out).is_hit());
        assert_eq!(out, bytes(1));
    });
}
