//! Wrong KV with a success status, as it happened to others: each incident, as far as it concerns a store alone, with
//! what must happen instead. What concerns an engine's blocks is tested where these are.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use kv_store::chunk::ChunkShape;
use kv_store::clock::Clock;
use kv_store::disk::{Disk, DiskFile, Listed, LocalDisk};
use kv_store::keys::{ChunkKey, ChunkOf, Salt};
use kv_store::outcome::{Corruption, Lookup, Miss, Put, TierKind};
use kv_store::store::{Done, NewChunk, Request, Store, StoreConfig};
use kv_store::tier::{DirectoryConfig, HostConfig};

use crate::support::{HandClock, SHAPE, bytes_of, identity, new_chunk, prompt};

const LAYERS: Range<usize> = 0..3;

/// A disk that others act on at given moments, and that can fail.
#[derive(Default)]
struct HookedDisk {
    before_link: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    fails_to_open: bool,
}

impl Disk for HookedDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        LocalDisk.create_dir(path)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        LocalDisk.create_new(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let is_record = path.to_string_lossy().contains("records");
        if self.fails_to_open && is_record && path.exists() {
            return Err(io::Error::other("EIO"));
        }
        LocalDisk.open(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let hook = self.before_link.lock().unwrap().take();
        if let Some(hook) = hook {
            hook();
        }
        LocalDisk.link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        LocalDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        LocalDisk.remove(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        LocalDisk.list(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        LocalDisk.sync_dir(path)
    }

    fn unique(&self) -> io::Result<u128> {
        LocalDisk.unique()
    }
}

fn config(dir: &Path) -> StoreConfig {
    StoreConfig {
        chunk_size: 8,
        tail_granularity: 2,
        directory: Some(DirectoryConfig::new(dir.join("kv"), 1 << 24)),
        ..StoreConfig::default()
    }
}

fn on_disk(dir: &Path, disk: HookedDisk) -> Store {
    let mut config = config(dir);
    if let Some(directory) = &mut config.directory {
        directory.disk = Arc::new(disk);
    }
    Store::open(config, identity(1), SHAPE).unwrap()
}

fn open(dir: &Path) -> Store {
    on_disk(dir, HookedDisk::default())
}

fn chunk_of(store: &Store, salt: &Salt) -> ChunkOf {
    store.chunks_of(salt, &prompt(8)).remove(0)
}

fn put(store: &Store, chunk: &ChunkOf) -> bool {
    store.put(new_chunk(chunk), bytes_of(&chunk.key, chunk.tokens.len())).is_there()
}

/// A hit is exact.
fn get(store: &Store, chunk: &ChunkOf) -> Lookup {
    let mut out = vec![0xee; SHAPE.chunk_bytes(chunk.tokens.len())];
    let lookup = store.get(&chunk.key, LAYERS, &mut out);
    assert!(!lookup.is_hit() || out == bytes_of(&chunk.key, chunk.tokens.len()));
    lookup
}

fn record_path(dir: &Path, key: &ChunkKey) -> std::path::PathBuf {
    let name = key.to_string();
    dir.join("kv/records-v1").join(&name[..1]).join(name)
}

#[test]
fn w01_a_reference_that_is_unknown_used_up_or_out_of_range_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let chunk = chunk_of(&store, &Salt::shared());
    assert!(matches!(get(&store, &chunk), Lookup::Miss(Miss::Absent)));
    assert!(put(&store, &chunk));
    let beyond = store.get(&chunk.key, 2..4, &mut vec![0; 2 * SHAPE.layer_bytes(8)]);
    assert!(matches!(beyond, Lookup::Miss(Miss::Request)));
    // The same reference twice gives the same bytes; after removal, none: never those of another prompt.
    assert!(get(&store, &chunk).is_hit() && get(&store, &chunk).is_hit());
    store.tiers()[0].remove(&chunk.key);
    assert!(put(&store, &store.chunks_of(&Salt::tenant("other"), &prompt(8))[0]));
    assert!(matches!(get(&store, &chunk), Lookup::Miss(Miss::Absent)));
}

#[test]
fn w02_what_expired_while_the_reader_waited_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(HandClock::default());
    let config = StoreConfig {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        ttl_ms: Some(30_000),
        ..config(dir.path())
    };
    let store = Store::open(config, identity(1), SHAPE).unwrap();
    let chunk = chunk_of(&store, &Salt::shared());
    assert!(put(&store, &chunk));
    assert_eq!(store.lookup(&Salt::shared(), &prompt(8)).num_tokens(), 8);
    clock.advance(30_000);
    assert!(matches!(get(&store, &chunk), Lookup::Miss(Miss::Expired)));
}

#[test]
fn w03_a_partial_hit_is_aligned_with_its_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let tokens = prompt(45);
    for chunk in store.chunks_of(&Salt::shared(), &tokens[..37]) {
        assert!(put(&store, &chunk));
    }
    for num_tokens in 0..=45 {
        let hits = store.lookup(&Salt::shared(), &tokens[..num_tokens]);
        let mut next = 0;
        for hit in &hits.chunks {
            assert_eq!(hit.tokens.start, next);
            next = hit.tokens.end;
            assert!(get(&store, &ChunkOf { key: hit.key, tokens: hit.tokens.clone() }).is_hit());
        }
        assert!(next <= num_tokens && next >= num_tokens.min(36) / 8 * 8, "{num_tokens}: {next}");
    }
}

#[test]
fn w04_w05_w10_one_failed_part_neither_hides_nor_harms_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let chunk = chunk_of(&store, &Salt::shared());
    assert!(put(&store, &chunk));
    let path = record_path(dir.path(), &chunk.key);
    let mut record = std::fs::read(&path).unwrap();
    record[4096 + SHAPE.layer_range(1, 8).start] ^= 1;
    std::fs::write(&path, record).unwrap();
    let mut tickets = Vec::new();
    for layer in [0, 2, 1, 0] {
        let buffer = vec![0xee; SHAPE.layer_bytes(8)];
        let load = Request::Load { key: chunk.key, layers: layer..layer + 1, buffer };
        tickets.push((store.submit(load).unwrap(), layer));
        store.flush();
    }
    let mut completions = store.poll();
    completions.sort_by_key(|completion| completion.ticket);
    assert_eq!(completions.len(), tickets.len());
    for ((ticket, layer), completion) in tickets.into_iter().zip(completions) {
        assert_eq!(ticket, completion.ticket);
        // The buffer was the store's until now: no late write can reach its next owner.
        let Done::Loaded { lookup, loaded } = completion.done else { panic!("not a load") };
        let exact = *loaded.bytes() == bytes_of(&chunk.key, 8)[SHAPE.layer_range(layer, 8)];
        match ticket.0 {
            0 | 1 => assert!(lookup.is_hit() && exact),
            2 => assert!(matches!(lookup, Lookup::Corrupt(Corruption::Encoded { layer: 1 }))),
            _ => assert!(matches!(lookup, Lookup::Miss(Miss::Absent))),
        }
    }
}

#[test]
fn w06_a_transfer_that_failed_is_not_counted_as_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let chunk = {
        let store = open(dir.path());
        let chunk = chunk_of(&store, &Salt::shared());
        assert!(put(&store, &chunk));
        chunk
    };
    let store = on_disk(dir.path(), HookedDisk { fails_to_open: true, ..HookedDisk::default() });
    assert!(matches!(get(&store, &chunk), Lookup::Miss(Miss::Io)));
    let (_, _, stats) = store.stats()[0];
    assert_eq!((stats.hits, stats.read_bytes, stats.io_misses), (0, 0, 1));
    assert!(!put(&store, &chunk));
    assert_eq!(store.stats()[0].2.failed, 1);
}

#[test]
fn w07_two_writers_of_one_key_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let other = open(dir.path());
    let chunk = chunk_of(&other, &Salt::shared());
    let disk = HookedDisk::default();
    let other_put = chunk.clone();
    *disk.before_link.lock().unwrap() = Some(Box::new(move || {
        // Between our write and our publication another stores the same key, and dies.
        assert!(put(&other, &other_put));
        std::mem::forget(other);
    }));
    let store = on_disk(dir.path(), disk);
    let puts = store.put(new_chunk(&chunk), bytes_of(&chunk.key, 8));
    assert_eq!(puts.of(TierKind::Disk), Some(Put::AlreadyThere));
    assert!(get(&store, &chunk).is_hit());
    assert_eq!(std::fs::read_dir(dir.path().join("kv/staging")).unwrap().count(), 0);
}

#[test]
fn w08_no_session_reads_anothers_content() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { host: Some(HostConfig::lru(3_000)), ..config(dir.path()) };
    let store = Store::open(config, identity(1), SHAPE).unwrap();
    let tenants: Vec<_> = (0..12).map(|i| Salt::tenant(format!("tenant {i}"))).collect();
    for round in 0..3 {
        for (i, salt) in tenants.iter().enumerate() {
            let found = store.lookup(salt, &prompt(24)).num_tokens();
            assert_eq!(found, if round == 0 { 0 } else { 24 }, "tenant {i}");
            for chunk in store.chunks_of(salt, &prompt(24)) {
                assert!(round == 0 || get(&store, &chunk).is_hit());
                assert!(put(&store, &chunk));
            }
        }
    }
}

#[test]
fn w09_w16_reads_while_the_same_key_is_written_repeat_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let (store, second) = (open(dir.path()), open(dir.path()));
    let chunks = store.chunks_of(&Salt::shared(), &prompt(32));
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (store, chunks) = (if thread % 2 == 0 { &store } else { &second }, &chunks);
            scope.spawn(move || {
                for round in 0..60 {
                    let chunk = &chunks[(thread + round) % chunks.len()];
                    match (thread + round) % 3 {
                        0 => drop(put(store, chunk)),
                        1 if round % 7 == 0 => store.tiers()[0].remove(&chunk.key),
                        _ => drop(get(store, chunk)),
                    }
                }
            });
        }
    });
    for store in [&store, &second] {
        assert_eq!((store.stats()[0].2.corrupt, store.stats()[0].2.quarantined), (0, 0));
    }
}

#[test]
fn w11_a_hit_is_in_the_readers_buffer() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let chunk = chunk_of(&store, &Salt::shared());
    assert!(put(&store, &chunk));
    for poison in [0x00, 0xff, 0x5a] {
        let mut out = vec![poison; SHAPE.chunk_bytes(8)];
        assert!(store.get(&chunk.key, LAYERS, &mut out).is_hit());
        assert_eq!(out, bytes_of(&chunk.key, 8));
    }
    assert!(!store.get(&chunk.key, LAYERS, &mut []).is_hit());
}

#[test]
fn w12_a_chunk_is_all_its_layers_and_tokens_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let chunk = chunk_of(&store, &Salt::shared());
    // Fewer bytes than tokens are not stored, and fewer tokens than asked for are no hit.
    assert!(!store.put(new_chunk(&chunk), vec![0; SHAPE.chunk_bytes(7)]).is_there());
    let short = NewChunk { tokens: 0..6, ..new_chunk(&chunk) };
    assert!(store.put(short, vec![1; SHAPE.chunk_bytes(6)]).is_there());
    assert!(matches!(get(&store, &chunk), Lookup::Miss(Miss::Request)));
}

#[test]
fn w13_w14_other_layouts_formats_and_weights_share_a_directory_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let other_shape = ChunkShape { num_layers: 2, num_kv_heads: 3, ..SHAPE };
    let stores = [
        Store::open(config(dir.path()), identity(1), SHAPE).unwrap(),
        Store::open(config(dir.path()), identity(2), SHAPE).unwrap(),
        Store::open(config(dir.path()), identity(3), other_shape).unwrap(),
    ];
    let tokens = prompt(24);
    let all = std::thread::scope(|scope| {
        let threads = stores.each_ref().map(|store| {
            let tokens = &tokens;
            scope.spawn(move || {
                let shape = store.expected().shape;
                let chunks = store.chunks_of(&Salt::shared(), tokens);
                for chunk in &chunks {
                    let bytes = vec![chunk.key.0[0]; shape.chunk_bytes(8)];
                    assert!(store.put(new_chunk(chunk), bytes).is_there());
                }
                chunks
            })
        });
        threads.map(|thread| thread.join().unwrap())
    });
    for (store, chunks) in stores.iter().zip(&all) {
        let shape = store.expected().shape;
        for chunk in chunks {
            let mut out = vec![0; shape.chunk_bytes(8)];
            let layers = 0..shape.num_layers as usize;
            assert!(store.get(&chunk.key, layers, &mut out).is_hit());
            assert!(out.iter().all(|&byte| byte == chunk.key.0[0]));
        }
    }
    let mut keys: Vec<_> = all.iter().flatten().map(|chunk| chunk.key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 9);
}

#[test]
fn w15_a_key_that_is_visible_without_its_value_is_a_miss() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let chunk = chunk_of(&store, &Salt::shared());
    assert!(put(&store, &chunk));
    for num_bytes in [0, 100, 4096] {
        let path = record_path(dir.path(), &chunk.key);
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(num_bytes).unwrap();
        assert_eq!(store.lookup(&Salt::shared(), &prompt(8)).num_tokens(), 8);
        assert!(matches!(get(&store, &chunk), Lookup::Corrupt(Corruption::Truncated)));
        assert_eq!(store.lookup(&Salt::shared(), &prompt(8)).num_tokens(), 0);
        assert!(put(&store, &chunk) && get(&store, &chunk).is_hit());
    }
}
