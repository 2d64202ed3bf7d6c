//! Chunks that must not leave.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Entry, EvictionPolicy};
use crate::keys::ChunkKey;

/// Which chunks are pinned, and how often; clones share them. A pin needs no chunk: it holds for one that comes later.
#[derive(Clone, Debug, Default)]
pub struct Pins(Arc<Mutex<HashMap<ChunkKey, u64>>>);

impl Pins {
    fn counts(&self) -> MutexGuard<'_, HashMap<ChunkKey, u64>> {
        // Counts are whole at every moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pins a chunk, once more if it is already.
    pub fn pin(&self, key: &ChunkKey) {
        *self.counts().entry(*key).or_default() += 1;
    }

    /// Takes one pin away; whether there was one.
    pub fn unpin(&self, key: &ChunkKey) -> bool {
        let mut counts = self.counts();
        let Some(count) = counts.get_mut(key) else { return false };
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
        true
    }

    /// Whether a chunk is pinned.
    pub fn is_pinned(&self, key: &ChunkKey) -> bool {
        self.counts().contains_key(key)
    }
}

/// A policy that never names a pinned chunk. It is the innermost: to the inner policy an entry that is set aside has
/// left, which a ledger around it must not hear of.
pub(super) struct Pinned {
    pins: Pins,
    inner: Box<dyn EvictionPolicy>,
    /// Entries that the inner policy named while they were pinned; it hears of them again when they no longer are.
    aside: HashMap<ChunkKey, Entry>,
    entries: HashMap<ChunkKey, Entry>,
}

impl Pinned {
    /// `inner`, except for what is pinned.
    pub(super) fn new(pins: Pins, inner: Box<dyn EvictionPolicy>) -> Self {
        Pinned { pins, inner, aside: HashMap::new(), entries: HashMap::new() }
    }
}

impl EvictionPolicy for Pinned {
    fn inserted(&mut self, key: &ChunkKey, entry: Entry) {
        self.aside.remove(key);
        self.entries.insert(*key, entry);
        self.inner.inserted(key, entry);
    }

    fn touched(&mut self, key: &ChunkKey) {
        self.inner.touched(key);
    }

    fn removed(&mut self, key: &ChunkKey) {
        self.aside.remove(key);
        self.entries.remove(key);
        self.inner.removed(key);
    }

    fn victim(&mut self) -> Option<ChunkKey> {
        let mut free: Vec<ChunkKey> = self.aside.keys().copied().collect();
        free.retain(|key| !self.pins.is_pinned(key));
        free.sort_unstable();
        for key in free {
            if let Some(entry) = self.aside.remove(&key) {
                self.inner.inserted(&key, entry);
            }
        }
        loop {
            let key = self.inner.victim()?;
            if !self.pins.is_pinned(&key) {
                return Some(key);
            }
            let entry = self.entries.get(&key).copied()?;
            self.inner.removed(&key);
            self.aside.insert(key, entry);
        }
    }
}
