//! What leaves when a tier is full.

mod index;
mod lfu;
mod pins;
mod s3_fifo;
mod tenants;

use std::collections::{BTreeMap, HashMap};

pub use index::{Index, Listing};
pub use lfu::Lfu;
pub use pins::Pins;
pub use s3_fifo::S3Fifo;
pub use tenants::TenantRule;

use pins::Pinned;
use tenants::Tenants;

use crate::keys::{ChunkKey, TenantTag};

/// What a policy may know of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Bytes that leave with it.
    pub bytes: u64,
    /// Whose it is, where the tier knows: a record that was only listed has not said yet.
    pub tenant: Option<TenantTag>,
}

/// Chooses what leaves. A tier tells it of every change and owns the entries itself; a policy that errs costs
/// time, never a wrong byte.
pub trait EvictionPolicy: Send {
    /// An entry came, or came again.
    fn inserted(&mut self, key: &ChunkKey, entry: Entry);

    /// An entry was used.
    fn touched(&mut self, key: &ChunkKey);

    /// An entry left, by eviction or otherwise.
    fn removed(&mut self, key: &ChunkKey);

    /// The entry that should leave next, if any may; it stays known until [`EvictionPolicy::removed`].
    fn victim(&mut self) -> Option<ChunkKey>;

    /// Whether it matters whose an entry is: then the tier reads that of the records that were only listed.
    fn asks_whose(&self) -> bool {
        false
    }

    /// Whose an entry is that came without saying.
    fn met(&mut self, _: &ChunkKey, _: TenantTag) {}

    /// Whether an entry that is not there may come, room aside. To be asked until it says yes or never.
    fn admit(&mut self, _: &Entry) -> Admission {
        Admission::Yes
    }
}

/// What a policy says of a new entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may come.
    Yes,
    /// It may come when this one has left.
    After(ChunkKey),
    /// It may not.
    Never,
}

/// Makes a policy for each tier.
pub type PolicyFactory = std::sync::Arc<dyn Fn() -> Box<dyn EvictionPolicy> + Send + Sync>;

/// A factory of [`Lru`].
pub fn lru() -> PolicyFactory {
    std::sync::Arc::new(|| Box::new(Lru::default()))
}

/// A factory of [`Lfu`].
pub fn lfu() -> PolicyFactory {
    std::sync::Arc::new(|| Box::new(Lfu::default()))
}

/// A factory of [`S3Fifo`].
pub fn s3_fifo() -> PolicyFactory {
    std::sync::Arc::new(|| Box::new(S3Fifo::default()))
}

/// Policies of `factory` for each tenant that has a rule, and one for all others, none of which names what is pinned.
pub fn governed(factory: PolicyFactory, pins: Pins, rules: Vec<TenantRule>) -> PolicyFactory {
    let pinned: PolicyFactory =
        std::sync::Arc::new(move || Box::new(Pinned::new(pins.clone(), factory())));
    std::sync::Arc::new(move || Box::new(Tenants::new(&rules, &pinned)))
}

/// The entry that was not used for the longest time leaves first.
#[derive(Debug, Default)]
pub struct Lru {
    /// When each was last used.
    used: HashMap<ChunkKey, u64>,
    by_use: BTreeMap<u64, ChunkKey>,
    next: u64,
}

impl EvictionPolicy for Lru {
    fn inserted(&mut self, key: &ChunkKey, _: Entry) {
        self.removed(key);
        self.used.insert(*key, self.next);
        self.by_use.insert(self.next, *key);
        self.next += 1;
    }

    fn touched(&mut self, key: &ChunkKey) {
        if let Some(used) = self.used.get_mut(key) {
            self.by_use.remove(used);
            *used = self.next;
            self.by_use.insert(self.next, *key);
            self.next += 1;
        }
    }

    fn removed(&mut self, key: &ChunkKey) {
        if let Some(used) = self.used.remove(key) {
            self.by_use.remove(&used);
        }
    }

    fn victim(&mut self) -> Option<ChunkKey> {
        self.by_use.first_key_value().map(|(_, key)| *key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_leaves_first() {
        let key = |i: u8| ChunkKey([i; 32]);
        let entry = Entry { bytes: 1, tenant: None };
        let mut lru = Lru::default();
        assert_eq!(lru.victim(), None);
        for i in 0..4 {
            lru.inserted(&key(i), entry);
        }
        lru.touched(&key(0));
        lru.touched(&key(9));
        lru.removed(&key(1));
        lru.inserted(&key(2), entry);
        let mut order = Vec::new();
        while let Some(victim) = lru.victim() {
            lru.removed(&victim);
            order.push(victim.0[0]);
        }
        assert_eq!(order, [3, 0, 2]);
    }
}
