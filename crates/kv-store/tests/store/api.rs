//! Lookup, get and put over host memory, and the same by worker threads.

use std::sync::Arc;
use std::time::Duration;

use kv_store::clock::Clock;
use kv_store::keys::{ChunkOf, Salt};
use kv_store::outcome::{ChunkMeta, Corruption, Lookup, Miss, Put, Reject, TierKind};
use kv_store::store::{Done, NewChunk, Request, Store, StoreConfig, StoreError, SubmitError};
use kv_store::tier::{Chunk, HostConfig, HostTier, Tier};

use crate::support::{HandClock, SHAPE, bytes_of, expected, identity, new_chunk, prompt};

const LAYERS: std::ops::Range<usize> = 0..3;

fn config(cap_chunks: usize) -> StoreConfig {
    let cap_bytes = (cap_chunks * SHAPE.chunk_bytes(8)) as u64;
    StoreConfig {
        chunk_size: 8,
        tail_granularity: 2,
        host: Some(HostConfig::lru(cap_bytes)),
        ..StoreConfig::default()
    }
}

fn put(store: &Store, chunk: &ChunkOf) -> Put {
    let bytes = bytes_of(&chunk.key, chunk.tokens.len());
    store.put(new_chunk(chunk), bytes).of(TierKind::Host).unwrap()
}

fn sealed(chunk: &ChunkOf) -> Chunk {
    let meta = ChunkMeta {
        first_token: chunk.tokens.start as u64,
        num_tokens: chunk.tokens.len() as u32,
        tenant: new_chunk(chunk).tenant,
        created_ms: 0,
        expires_ms: None,
    };
    let bytes = bytes_of(&chunk.key, chunk.tokens.len());
    Chunk::seal(&SHAPE, chunk.key, meta, bytes).unwrap()
}

fn assert_exact(store: &Store, chunk: &ChunkOf) {
    let num_tokens = chunk.tokens.len();
    let mut out = vec![0; SHAPE.chunk_bytes(num_tokens)];
    assert!(store.get(&chunk.key, LAYERS, &mut out).is_hit());
    assert_eq!(out, bytes_of(&chunk.key, num_tokens));
}

#[test]
fn a_prompt_finds_its_chunks_and_the_longest_tail() {
    let store = Store::open(config(100), identity(1), SHAPE).unwrap();
    let salt = Salt::shared();
    let tokens = prompt(29);
    let chunks = store.chunks_of(&salt, &tokens);
    let ranges: Vec<_> = chunks.iter().map(|chunk| chunk.tokens.clone()).collect();
    assert_eq!(ranges, [0..8, 8..16, 16..24, 24..28]);
    assert_eq!(store.lookup(&salt, &tokens).num_tokens(), 0);
    assert!(chunks.iter().all(|chunk| put(&store, chunk) == Put::Stored));
    for (num_tokens, found) in [(29, 28), (28, 28), (27, 24), (24, 24), (23, 16), (8, 8), (7, 0)] {
        assert_eq!(store.lookup(&salt, &tokens[..num_tokens]).num_tokens(), found, "{num_tokens}");
    }
    let hits = store.lookup(&salt, &tokens);
    assert_eq!(hits.chunks.len(), 4);
    assert!(hits.chunks.iter().all(|hit| hit.tier == TierKind::Host));
    chunks.iter().for_each(|chunk| assert_exact(&store, chunk));
    // Another prompt with the same second chunk of tokens shares nothing.
    let mut other = tokens.clone();
    other[0].0 += 1;
    assert_eq!(store.lookup(&salt, &other).num_tokens(), 0);
    assert_eq!(store.lookup(&Salt::tenant("a"), &tokens).num_tokens(), 0);
}

#[test]
fn layers_can_be_read_alone() {
    let store = Store::open(config(100), identity(1), SHAPE).unwrap();
    let chunk = store.chunks_of(&Salt::shared(), &prompt(8)).remove(0);
    put(&store, &chunk);
    let bytes = bytes_of(&chunk.key, 8);
    for layers in [0..1, 1..3, 2..3, 0..3] {
        let at = SHAPE.layers_range(layers.clone(), 8);
        let mut out = vec![0; at.len()];
        assert!(store.get(&chunk.key, layers, &mut out).is_hit());
        assert_eq!(out, bytes[at]);
    }
}

#[test]
fn what_is_asked_wrongly_is_missed_with_that_reason() {
    let store = Store::open(config(100), identity(1), SHAPE).unwrap();
    let chunk = store.chunks_of(&Salt::shared(), &prompt(8)).remove(0);
    put(&store, &chunk);
    let whole = SHAPE.chunk_bytes(8);
    for (layers, len) in [
        (0..4, whole),
        (0..3, whole - 1),
        (0..3, 0),
        (1..1, whole),
        (0..2, whole),
        (0..3, whole / 2),
    ] {
        let lookup = store.get(&chunk.key, layers.clone(), &mut vec![0; len]);
        assert!(matches!(lookup, Lookup::Miss(Miss::Request)), "{layers:?} {len} {lookup:?}");
    }
    let refused = store.put(new_chunk(&chunk), vec![0; whole - 1]);
    assert_eq!(refused.of(TierKind::Host), Some(Put::Rejected(Reject::Request)));
    let empty = NewChunk { tokens: 0..0, ..new_chunk(&chunk) };
    assert!(!store.put(empty, Vec::new()).is_there());
}

#[test]
fn the_cap_holds_and_the_least_recently_used_leaves() {
    let store = Store::open(config(3), identity(1), SHAPE).unwrap();
    let chunks = store.chunks_of(&Salt::shared(), &prompt(5 * 8));
    for chunk in &chunks[..3] {
        assert_eq!(put(&store, chunk), Put::Stored);
    }
    assert_exact(&store, &chunks[0]);
    assert_eq!(put(&store, &chunks[2]), Put::AlreadyThere);
    assert_eq!(put(&store, &chunks[3]), Put::Stored);
    let there = |i: usize| {
        let mut out = vec![0; SHAPE.chunk_bytes(8)];
        store.get(&chunks[i].key, LAYERS, &mut out).is_hit()
    };
    assert_eq!([0, 1, 2, 3].map(there), [true, false, true, true]);
    let (_, usage, stats) = store.stats()[0];
    assert_eq!((usage.num_chunks, usage.bytes), (3, usage.cap_bytes));
    assert_eq!((stats.evicted, stats.stored, stats.already_there), (1, 4, 1));
    assert_eq!((stats.hits, stats.misses), (4, 1));
    let tiny = Store::open(config(0), identity(1), SHAPE).unwrap();
    assert_eq!(put(&tiny, &chunks[0]), Put::Rejected(Reject::TooLarge));
}

#[test]
fn bytes_that_changed_in_memory_are_no_answer() {
    let host = HostTier::new(&HostConfig::lru(1 << 20), expected(), StoreConfig::default().clock);
    let store = Store::open(config(1), identity(1), SHAPE).unwrap();
    let chunk = store.chunks_of(&Salt::shared(), &prompt(8)).remove(0);
    let meta = ChunkMeta {
        first_token: 0,
        num_tokens: 8,
        tenant: new_chunk(&chunk).tenant,
        created_ms: 0,
        expires_ms: None,
    };
    let bytes = bytes_of(&chunk.key, 8);
    let sealed = Chunk::seal(&SHAPE, chunk.key, meta.clone(), bytes.clone()).unwrap();
    for layer in 0..3 {
        let mut damaged = bytes.clone();
        damaged[SHAPE.layer_range(layer, 8).start + 5] ^= 4;
        let digests = Arc::clone(sealed.layer_digests());
        let damaged = Chunk::from_found(chunk.key, sealed.meta().clone(), damaged, digests);
        let damaged = Arc::new(damaged);
        let mut out = vec![0; SHAPE.chunk_bytes(8)];
        let corruption = Corruption::Raw { layer: layer as u32 };
        for lends in [false, true] {
            assert_eq!(host.put(&damaged), Put::Stored);
            let (lookup, lent) = match lends {
                true => host.get_or_lend(&chunk.key, LAYERS, &mut out),
                false => (host.get(&chunk.key, LAYERS, &mut out), None),
            };
            assert!(matches!(lookup, Lookup::Corrupt(c) if c == corruption), "{lookup:?}");
            assert!(lent.is_none() && !host.may_have(&chunk.key));
        }
    }
    assert_eq!(host.stats().corrupt, 6);
}

#[test]
fn what_a_tier_lent_outlives_it_there() {
    let host = HostTier::new(&HostConfig::lru(1 << 20), expected(), StoreConfig::default().clock);
    let store = Store::open(config(1), identity(1), SHAPE).unwrap();
    let chunk = store.chunks_of(&Salt::shared(), &prompt(8)).remove(0);
    let bytes = bytes_of(&chunk.key, 8);
    host.put(&Arc::new(sealed(&chunk)));
    let range = SHAPE.layers_range(1..3, 8);
    let mut untouched = vec![0xee; range.len()];
    let (lookup, lent) = host.get_or_lend(&chunk.key, 1..3, &mut untouched);
    host.remove(&chunk.key);
    assert!(lookup.is_hit() && !host.may_have(&chunk.key));
    assert!(untouched.iter().all(|&byte| byte == 0xee), "nothing was copied");
    assert_eq!(*lent.unwrap(), bytes[range]);
    let (lookup, lent) = host.get_or_lend(&chunk.key, 1..3, &mut untouched);
    assert!(matches!(lookup, Lookup::Miss(Miss::Absent)) && lent.is_none());
}

#[test]
fn what_expired_is_gone() {
    let clock = Arc::new(HandClock::default());
    let config =
        StoreConfig { clock: Arc::clone(&clock) as Arc<dyn Clock>, ttl_ms: Some(50), ..config(9) };
    let store = Store::open(config, identity(1), SHAPE).unwrap();
    let chunks = store.chunks_of(&Salt::shared(), &prompt(16));
    put(&store, &chunks[0]);
    let longer = NewChunk { ttl_ms: Some(100), ..new_chunk(&chunks[1]) };
    store.put(longer, bytes_of(&chunks[1].key, 8));
    clock.advance(49);
    assert_exact(&store, &chunks[0]);
    clock.advance(1);
    let lookup = store.get(&chunks[0].key, LAYERS, &mut vec![0; SHAPE.chunk_bytes(8)]);
    assert!(matches!(lookup, Lookup::Miss(Miss::Expired)), "{lookup:?}");
    assert_exact(&store, &chunks[1]);
    assert_eq!(store.stats()[0].1.num_chunks, 1);
}

#[test]
fn a_far_tiers_hit_goes_to_the_near_one() {
    let clock = StoreConfig::default().clock;
    let tier =
        || Arc::new(HostTier::new(&HostConfig::lru(1 << 20), expected(), Arc::clone(&clock)));
    let (near, far) = (tier(), tier());
    let tiers: Vec<Arc<dyn Tier>> = vec![near.clone(), far.clone()];
    let store = Store::with_tiers(config(1), expected(), tiers).unwrap();
    let chunk = store.chunks_of(&Salt::shared(), &prompt(8)).remove(0);
    put(&store, &chunk);
    near.remove(&chunk.key);
    // A part of the layers is no chunk.
    let mut part = vec![0; SHAPE.layer_bytes(8)];
    assert!(store.get(&chunk.key, 1..2, &mut part).is_hit());
    assert!(!near.may_have(&chunk.key));
    assert_exact(&store, &chunk);
    assert!(near.may_have(&chunk.key));
    far.remove(&chunk.key);
    assert_exact(&store, &chunk);
}

#[test]
fn workers_complete_every_ticket() {
    let store = Store::open(config(100), identity(1), SHAPE).unwrap();
    let chunks = store.chunks_of(&Salt::shared(), &prompt(20 * 8));
    for chunk in &chunks {
        let bytes = bytes_of(&chunk.key, 8);
        store.submit(Request::Store { chunk: new_chunk(chunk), bytes }).unwrap();
    }
    store.flush();
    let stored = store.poll();
    assert_eq!(stored.len(), chunks.len());
    assert!(stored.iter().all(|c| matches!(&c.done, Done::Stored(puts) if puts.is_there())));
    let mut tickets = Vec::new();
    for chunk in &chunks {
        for layer in LAYERS {
            let buffer = vec![0; SHAPE.layer_bytes(8)];
            let load = Request::Load { key: chunk.key, layers: layer..layer + 1, buffer };
            tickets.push((store.submit(load).unwrap(), chunk.key, layer));
        }
    }
    let mut completions = Vec::new();
    while completions.len() < tickets.len() {
        assert!(store.wait(Duration::from_secs(20)), "{} completed", completions.len());
        completions.extend(store.poll());
    }
    completions.sort_by_key(|completion| completion.ticket);
    for ((ticket, key, layer), completion) in tickets.iter().zip(&completions) {
        assert_eq!(*ticket, completion.ticket);
        let Done::Loaded { lookup, loaded } = &completion.done else { panic!("{completion:?}") };
        assert!(lookup.is_hit());
        assert_eq!(*loaded.bytes(), bytes_of(key, 8)[SHAPE.layer_range(*layer, 8)]);
    }
}

#[test]
fn a_store_is_opened_with_sizes_only() {
    let zero = StoreConfig { chunk_size: 0, ..config(1) };
    let error = Store::open(zero, identity(1), SHAPE).err().unwrap();
    assert!(matches!(error, StoreError::Zero { option: "chunk_size" }), "{error}");
    let flat = kv_store::chunk::ChunkShape { num_layers: 0, ..SHAPE };
    assert!(matches!(Store::open(config(1), identity(1), flat), Err(StoreError::Shape(_))));
}

#[test]
fn a_full_queue_gives_the_request_back() {
    let blocked = StoreConfig { max_queued: 1, num_workers: 1, ..config(100) };
    let store = Store::open(blocked, identity(1), SHAPE).unwrap();
    let chunk = store.chunks_of(&Salt::shared(), &prompt(8)).remove(0);
    let load = || Request::Load { key: chunk.key, layers: LAYERS, buffer: vec![0; 1] };
    let refused = (0..100_000).find_map(|_| store.submit(load()).err());
    let Some(SubmitError::Full { max_queued, request }) = refused else { panic!("never full") };
    assert_eq!(max_queued, 1);
    assert!(matches!(*request, Request::Load { .. }));
    store.flush();
    assert!(store.poll().iter().all(|c| matches!(c.done, Done::Loaded { .. })));
}
