//! When a store is done: with the nearest tier, or with all of them.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kv_store::clock::SystemClock;
use kv_store::counters::TierStats;
use kv_store::keys::{ChunkKey, Salt};
use kv_store::outcome::{Lookup, Put, TierKind};
use kv_store::store::{Completion, Done, Request, Store, StoreConfig};
use kv_store::tier::{Chunk, HostConfig, HostTier, Tier, Usage};

use crate::support::{SHAPE, bytes_of, expected, new_chunk, prompt};

const PATIENCE: Duration = Duration::from_secs(20);

/// A tier that takes nothing while its door is held.
struct Door {
    inner: HostTier,
    door: Mutex<()>,
}

impl Tier for Door {
    fn kind(&self) -> TierKind {
        TierKind::Object
    }

    fn may_have(&self, key: &ChunkKey) -> bool {
        self.inner.may_have(key)
    }

    fn get(&self, key: &ChunkKey, layers: Range<usize>, out: &mut [u8]) -> Lookup {
        self.inner.get(key, layers, out)
    }

    fn put(&self, chunk: &Arc<Chunk>) -> Put {
        let _open = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        self.inner.put(chunk)
    }

    fn remove(&self, key: &ChunkKey) {
        self.inner.remove(key);
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }

    fn stats(&self) -> TierStats {
        self.inner.stats()
    }
}

fn host(num_chunks: usize) -> HostTier {
    let config = HostConfig::lru((num_chunks * SHAPE.chunk_bytes(8)) as u64);
    HostTier::new(&config, expected(), Arc::new(SystemClock::new()))
}

/// A store over memory and a far tier with a door.
fn open(write_back: bool, near_chunks: usize) -> (Store, Arc<Door>) {
    let far = Arc::new(Door { inner: host(1000), door: Mutex::new(()) });
    let tiers: Vec<Arc<dyn Tier>> = vec![Arc::new(host(near_chunks)), Arc::clone(&far) as _];
    let config = StoreConfig {
        chunk_size: 8,
        tail_granularity: 2,
        write_back,
        num_workers: 1,
        ..StoreConfig::default()
    };
    (Store::with_tiers(config, expected(), tiers).unwrap(), far)
}

/// Submits the first `num_chunks` chunks of a prompt.
fn submit(store: &Store, num_chunks: u32) -> Vec<ChunkKey> {
    let chunks = store.chunks_of(&Salt::shared(), &prompt(num_chunks * 8));
    for chunk in &chunks {
        let bytes = bytes_of(&chunk.key, chunk.tokens.len());
        store.submit(Request::Store { chunk: new_chunk(chunk), bytes }).unwrap();
    }
    chunks.into_iter().map(|chunk| chunk.key).collect()
}

fn kinds(completion: &Completion) -> Vec<TierKind> {
    let Done::Stored(puts) = &completion.done else { panic!("{completion:?}") };
    puts.0.iter().map(|(kind, _)| *kind).collect()
}

#[test]
fn with_write_back_the_nearest_tier_is_enough() {
    let (store, far) = open(true, 1000);
    let closed = far.door.lock().unwrap();
    let keys = submit(&store, 2);
    let mut done = Vec::new();
    // One thread, which may be standing at the door: the second chunk goes first, its place in memory is free.
    while done.len() < 2 {
        assert!(store.wait(PATIENCE), "nobody waits for the far tier");
        done.extend(store.poll());
    }
    assert!(done.iter().all(|completion| kinds(completion) == [TierKind::Host]), "{done:?}");
    assert!(keys.iter().all(|key| !far.may_have(key)));
    drop(closed);
    store.flush();
    assert!(keys.iter().all(|key| far.may_have(key)), "the far tier gets it all the same");
}

#[test]
fn with_write_through_all_tiers_are_asked_first() {
    let (store, far) = open(false, 1000);
    let closed = far.door.lock().unwrap();
    let keys = submit(&store, 1);
    assert!(!store.wait(Duration::from_millis(50)));
    drop(closed);
    assert!(store.wait(PATIENCE));
    assert_eq!(kinds(&store.poll()[0]), [TierKind::Host, TierKind::Object]);
    assert!(far.may_have(&keys[0]));
}

#[test]
fn what_the_nearest_does_not_take_goes_through() {
    let (store, far) = open(true, 0);
    let keys = submit(&store, 3);
    store.flush();
    let done = store.poll();
    assert_eq!(done.len(), 3);
    assert!(done.iter().all(|one| kinds(one) == [TierKind::Host, TierKind::Object]), "{done:?}");
    assert!(keys.iter().all(|key| far.may_have(key)));
}

#[test]
fn what_is_behind_has_a_bound() {
    let (store, far) = open(true, 1000);
    let closed = far.door.lock().unwrap();
    submit(&store, 200);
    // The thread has taken what may be behind, and then waits at the door itself.
    let mut num_done = 0;
    while store.wait(Duration::from_millis(300)) {
        num_done += store.poll().len();
    }
    assert!((1..=65).contains(&num_done), "{num_done} are in memory alone");
    drop(closed);
    store.flush();
    assert_eq!(far.usage().num_chunks, 200);
}
