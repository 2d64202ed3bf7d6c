//! The directory tier on real files: restarts, damage, caps.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kv_store::clock::Clock;
use kv_store::disk::{DirectDisk, Disk as _};
use kv_store::keys::{ChunkOf, Salt};
use kv_store::outcome::{Corruption, Lookup, Miss, Put, Reject, TierKind};
use kv_store::store::{Store, StoreConfig, StoreError};
use kv_store::tier::{DirectoryConfig, Durability, HostConfig};

use crate::support::{HandClock, SHAPE, bytes_of, identity, new_chunk, prompt};

/// A record of eight tokens: header, and payload with trailer.
const RECORD_BYTES: u64 = 8192;

fn config(path: &Path, cap_records: u64) -> StoreConfig {
    let directory = DirectoryConfig::new(path.join("kv"), cap_records * RECORD_BYTES);
    let directory = DirectoryConfig { durability: Durability::Strict, ..directory };
    StoreConfig {
        chunk_size: 8,
        tail_granularity: 2,
        directory: Some(directory),
        ..StoreConfig::default()
    }
}

fn open(path: &Path, cap_records: u64) -> Store {
    Store::open(config(path, cap_records), identity(1), SHAPE).unwrap()
}

fn put(store: &Store, chunk: &ChunkOf) -> Put {
    let bytes = bytes_of(&chunk.key, chunk.tokens.len());
    store.put(new_chunk(chunk), bytes).of(TierKind::Disk).unwrap()
}

fn get(store: &Store, chunk: &ChunkOf) -> Lookup {
    let num_tokens = chunk.tokens.len();
    let mut out = vec![0; SHAPE.chunk_bytes(num_tokens)];
    let lookup = store.get(&chunk.key, 0..3, &mut out);
    if lookup.is_hit() {
        assert_eq!(out, bytes_of(&chunk.key, num_tokens));
    }
    lookup
}

fn files(path: &Path, directory: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path.join("kv").join(directory)).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            let name = entry.file_name().into_string().unwrap();
            found.extend(files(path, &format!("{directory}/{name}")));
        } else {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn a_restarted_store_has_what_was_stored() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = prompt(29);
    let chunks = {
        let store = open(dir.path(), 100);
        let chunks = store.chunks_of(&Salt::shared(), &tokens);
        assert!(chunks.iter().all(|chunk| put(&store, chunk) == Put::Stored));
        assert!(chunks.iter().all(|chunk| put(&store, chunk) == Put::AlreadyThere));
        chunks
    };
    assert!(files(dir.path(), "members").is_empty() && files(dir.path(), "staging").is_empty());
    let store = open(dir.path(), 100);
    assert_eq!(store.lookup(&Salt::shared(), &tokens).num_tokens(), 28);
    assert!(chunks.iter().all(|chunk| get(&store, chunk).is_hit()));
    // Another model's store finds nothing in the same directory, and does no harm.
    let other = Store::open(config(dir.path(), 100), identity(2), SHAPE).unwrap();
    assert_eq!(other.lookup(&Salt::shared(), &tokens).num_tokens(), 0);
    assert!(matches!(get(&other, &chunks[0]), Lookup::Corrupt(Corruption::Identity)));
    assert!(get(&store, &chunks[0]).is_hit());
}

#[test]
fn a_damaged_record_is_put_aside_and_can_be_stored_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 100);
    let chunk = store.chunks_of(&Salt::shared(), &prompt(8)).remove(0);
    put(&store, &chunk);
    let path = files(dir.path(), "records-v1").remove(0);
    let good = fs::read(&path).unwrap();
    for (at, expected) in [
        (0, Corruption::Format),
        (33, Corruption::Header),
        (4096 + 5, Corruption::Encoded { layer: 0 }),
        (RECORD_BYTES as usize - 60, Corruption::Trailer),
    ] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).unwrap();
        let lookup = get(&store, &chunk);
        assert!(matches!(lookup, Lookup::Corrupt(c) if c == expected), "{at} {lookup:?}");
        assert!(matches!(get(&store, &chunk), Lookup::Miss(Miss::Absent)));
        assert_eq!(put(&store, &chunk), Put::Stored);
        assert!(get(&store, &chunk).is_hit());
    }
    fs::write(&path, &good[..5000]).unwrap();
    // A writer does not take its existence for an answer either.
    assert_eq!(put(&store, &chunk), Put::Stored);
    assert!(get(&store, &chunk).is_hit());
    assert_eq!(store.stats()[0].2.quarantined, 5);
    assert_eq!(files(dir.path(), "quarantine").len(), 5);
}

#[test]
fn the_cap_holds() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 3);
    let chunks = store.chunks_of(&Salt::shared(), &prompt(6 * 8));
    for chunk in &chunks {
        assert_eq!(put(&store, chunk), Put::Stored);
        assert!(files(dir.path(), "records-v1").len() <= 3);
    }
    let hits = chunks.iter().filter(|chunk| get(&store, chunk).is_hit()).count();
    assert_eq!(hits, 3);
    assert_eq!(store.stats()[0].2.evicted, 3);
    let other = tempfile::tempdir().unwrap();
    let tiny = open(other.path(), 0);
    assert_eq!(put(&tiny, &chunks[0]), Put::Rejected(Reject::TooLarge));
}

#[test]
fn two_stores_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (open(dir.path(), 100), open(dir.path(), 100));
    let chunks = a.chunks_of(&Salt::shared(), &prompt(32));
    for (i, chunk) in chunks.iter().enumerate() {
        let (writer, reader) = if i % 2 == 0 { (&a, &b) } else { (&b, &a) };
        assert_eq!(put(writer, chunk), Put::Stored);
        assert_eq!(put(reader, chunk), Put::AlreadyThere);
        assert!(get(reader, chunk).is_hit());
    }
}

#[test]
fn what_the_disk_had_goes_to_host_memory() {
    let dir = tempfile::tempdir().unwrap();
    let chunk = {
        let store = open(dir.path(), 100);
        let chunk = store.chunks_of(&Salt::shared(), &prompt(8)).remove(0);
        put(&store, &chunk);
        chunk
    };
    let config = StoreConfig { host: Some(HostConfig::lru(1 << 20)), ..config(dir.path(), 100) };
    let store = Store::open(config, identity(1), SHAPE).unwrap();
    let tier = |lookup| match lookup {
        Lookup::Hit(found) => found.tier,
        other => panic!("{other:?}"),
    };
    assert_eq!(tier(get(&store, &chunk)), TierKind::Disk);
    assert_eq!(tier(get(&store, &chunk)), TierKind::Host);
    let path = files(dir.path(), "records-v1").remove(0);
    fs::remove_file(path).unwrap();
    assert_eq!(tier(get(&store, &chunk)), TierKind::Host);
}

#[test]
fn reads_past_the_page_cache_give_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let disk = DirectDisk::new(dir.path());
    println!("{:?}", disk.fallbacks());
    let mut config = config(dir.path(), 100);
    if let Some(directory) = &mut config.directory {
        directory.disk = Arc::new(disk);
    }
    let store = Store::open(config, identity(1), SHAPE).unwrap();
    let chunks = store.chunks_of(&Salt::shared(), &prompt(29));
    for chunk in &chunks {
        assert_eq!(put(&store, chunk), Put::Stored);
        assert!(get(&store, chunk).is_hit());
        assert_eq!(put(&store, chunk), Put::AlreadyThere);
    }
    let path = files(dir.path(), "records-v1").remove(0);
    let good = fs::read(&path).unwrap();
    fs::write(&path, &good[..5000]).unwrap();
    let num_hits = chunks.iter().filter(|chunk| get(&store, chunk).is_hit()).count();
    assert_eq!((num_hits, store.stats()[0].2.quarantined), (chunks.len() - 1, 1));
}

#[test]
fn a_direct_disk_reads_its_own_directory_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (inside, outside) = (dir.path().join("kv/a"), dir.path().join("b"));
    fs::create_dir(dir.path().join("kv")).unwrap();
    fs::write(&inside, b"inside").unwrap();
    fs::write(&outside, b"outside").unwrap();
    let disk = DirectDisk::new(dir.path().join("kv"));
    assert_eq!(disk.open(&inside).unwrap().num_bytes().unwrap(), 6);
    let kind = |path: &Path| disk.open(path).err().map(|error| error.kind());
    assert_eq!(kind(&inside.with_file_name("c")), Some(ErrorKind::NotFound));
    for path in [outside, dir.path().join("kv/../b")] {
        assert_eq!(kind(&path), Some(ErrorKind::InvalidInput), "{}", path.display());
    }
}

#[test]
fn an_expired_record_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(HandClock::default());
    let config = StoreConfig {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        ttl_ms: Some(100),
        ..config(dir.path(), 100)
    };
    let store = Store::open(config, identity(1), SHAPE).unwrap();
    let chunk = store.chunks_of(&Salt::shared(), &prompt(8)).remove(0);
    put(&store, &chunk);
    clock.advance(100);
    assert!(matches!(get(&store, &chunk), Lookup::Miss(Miss::Expired)));
    assert!(files(dir.path(), "records-v1").is_empty());
    assert!(files(dir.path(), "quarantine").is_empty());
    assert_eq!(put(&store, &chunk), Put::Stored);
    assert!(get(&store, &chunk).is_hit());
}

#[test]
fn a_path_that_is_no_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir.path().join("missing"), 1);
    let error = Store::open(config, identity(1), SHAPE).err().unwrap();
    assert!(matches!(error, StoreError::Directory(_)), "{error}");
    assert!(error.to_string().contains("missing"), "{error}");
}
