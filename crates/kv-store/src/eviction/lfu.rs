//! Least frequently used, with ageing.

use std::collections::{BTreeSet, HashMap};

use super::{Entry, EvictionPolicy};
use crate::keys::ChunkKey;

/// The entry that was used least leaves first; among equals, the one whose last use is longest ago.
///
/// Uses are counted from what the last victim had: what was popular once gives way to what comes now, after a while.
#[derive(Debug, Default)]
pub struct Lfu {
    /// For each entry its rank: uses, with the age at its arrival, and the time of the last use.
    ranks: HashMap<ChunkKey, (u64, u64)>,
    order: BTreeSet<((u64, u64), ChunkKey)>,
    /// The uses of the last victim.
    age: u64,
    next: u64,
}

impl Lfu {
    fn rank(&mut self, key: &ChunkKey, uses: u64) {
        let rank = (uses, self.next);
        self.next += 1;
        if let Some(old) = self.ranks.insert(*key, rank) {
            self.order.remove(&(old, *key));
        }
        self.order.insert((rank, *key));
    }
}

impl EvictionPolicy for Lfu {
    fn inserted(&mut self, key: &ChunkKey, _: Entry) {
        self.rank(key, self.age + 1);
    }

    fn touched(&mut self, key: &ChunkKey) {
        if let Some((uses, _)) = self.ranks.get(key) {
            self.rank(key, uses + 1);
        }
    }

    fn removed(&mut self, key: &ChunkKey) {
        if let Some(rank) = self.ranks.remove(key) {
            self.order.remove(&(rank, *key));
        }
    }

    fn victim(&mut self) -> Option<ChunkKey> {
        let ((uses, _), key) = self.order.first()?;
        self.age = *uses;
        Some(*key)
    }
}
