//! S3-FIFO: a small queue for newcomers, a main one for what proved itself, and a memory of who left.
//!
//! After J. Yang, Y. Zhang, Z. Qiu, Y. Yue, R. Vinayak, "FIFO queues are all you need for cache eviction", SOSP 2023.

use std::collections::{BTreeMap, HashMap};

use super::{Entry, EvictionPolicy};
use crate::keys::ChunkKey;

/// The small queue's share of the bytes: a tenth.
const SMALL_SHARE: u64 = 10;
/// Uses are counted up to here.
const MOST_USES: u8 = 3;
/// As many keys are remembered as entries are there, and at least these.
const FEWEST_REMEMBERED: usize = 64;

/// Most chunks are read once or never: they pass through the small queue and are soon gone. What was used twice there,
/// or comes back soon after, goes to the main queue, whose head leaves unless it was used since.
#[derive(Debug, Default)]
pub struct S3Fifo {
    entries: HashMap<ChunkKey, State>,
    small: Queue,
    main: Queue,
    /// Keys that left the small queue, by when.
    remembered: BTreeMap<u64, ChunkKey>,
    remembered_at: HashMap<ChunkKey, u64>,
    /// Who is to leave: only of it a removal is a departure worth remembering.
    victim: Option<ChunkKey>,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct State {
    bytes: u64,
    uses: u8,
    is_main: bool,
    place: u64,
}

/// Keys by the number they came with.
#[derive(Debug, Default)]
struct Queue {
    keys: BTreeMap<u64, ChunkKey>,
    bytes: u64,
}

impl Queue {
    fn head(&self) -> Option<ChunkKey> {
        self.keys.first_key_value().map(|(_, key)| *key)
    }
}

impl S3Fifo {
    fn queue(&mut self, is_main: bool) -> &mut Queue {
        if is_main { &mut self.main } else { &mut self.small }
    }

    fn append(&mut self, key: ChunkKey, bytes: u64, uses: u8, is_main: bool) {
        let place = self.next;
        self.next += 1;
        let queue = self.queue(is_main);
        queue.keys.insert(place, key);
        queue.bytes += bytes;
        self.entries.insert(key, State { bytes, uses, is_main, place });
    }

    fn take(&mut self, key: &ChunkKey) -> Option<State> {
        let state = self.entries.remove(key)?;
        let queue = self.queue(state.is_main);
        queue.keys.remove(&state.place);
        queue.bytes -= state.bytes;
        Some(state)
    }

    fn remember(&mut self, key: ChunkKey) {
        self.remembered.insert(self.next, key);
        self.remembered_at.insert(key, self.next);
        self.next += 1;
        while self.remembered.len() > self.entries.len().max(FEWEST_REMEMBERED) {
            let Some((_, oldest)) = self.remembered.pop_first() else { break };
            self.remembered_at.remove(&oldest);
        }
    }

    fn forget(&mut self, key: &ChunkKey) -> bool {
        let at = self.remembered_at.remove(key);
        at.is_some_and(|at| self.remembered.remove(&at).is_some())
    }
}

impl EvictionPolicy for S3Fifo {
    fn inserted(&mut self, key: &ChunkKey, entry: Entry) {
        let old = self.take(key);
        let came_back = self.forget(key);
        let is_main = old.map_or(came_back, |old| old.is_main);
        self.append(*key, entry.bytes, 0, is_main);
    }

    fn touched(&mut self, key: &ChunkKey) {
        if let Some(state) = self.entries.get_mut(key) {
            state.uses = (state.uses + 1).min(MOST_USES);
        }
    }

    fn removed(&mut self, key: &ChunkKey) {
        let is_departure = self.victim.take_if(|victim| victim == key).is_some();
        let Some(state) = self.take(key) else { return };
        if is_departure && !state.is_main {
            self.remember(*key);
        }
    }

    fn victim(&mut self) -> Option<ChunkKey> {
        // Each round takes a use away, or moves an entry out of the small queue.
        loop {
            let total = self.small.bytes + self.main.bytes;
            let is_small_full = self.small.bytes >= total / SMALL_SHARE;
            let small = self.small.head().filter(|_| is_small_full || self.main.keys.is_empty());
            let key = small.or_else(|| self.main.head())?;
            let state = *self.entries.get(&key)?;
            match (state.is_main, state.uses) {
                (false, 2..) => {
                    self.take(&key);
                    self.append(key, state.bytes, 0, true);
                }
                (true, 1..) => {
                    self.take(&key);
                    self.append(key, state.bytes, state.uses - 1, true);
                }
                _ => {
                    self.victim = Some(key);
                    return Some(key);
                }
            }
        }
    }
}
