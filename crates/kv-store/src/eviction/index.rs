//! What a tier believes to be in a place that others write to as well. Only reading a record tells whether it is.

use std::collections::{BTreeMap, BTreeSet};

use super::{Admission, Entry, EvictionPolicy};
use crate::keys::{ChunkKey, TenantTag};

/// Records by their names, and the policy that chooses among them.
pub struct Index {
    entries: BTreeMap<ChunkKey, Known>,
    /// Listings that were begun.
    num_listings: u64,
    /// Those that only a listing told of, if the policy asks whose they are.
    strangers: BTreeSet<ChunkKey>,
    policy: Box<dyn EvictionPolicy>,
    bytes: u64,
}

/// A record that should be there.
struct Known {
    bytes: u64,
    /// The listing that had been begun last when it came.
    since: u64,
}

/// A listing that was begun: what came after that, it need not have seen.
#[derive(Debug)]
pub struct Listing(u64);

impl Index {
    /// Nothing, under this policy.
    pub fn new(policy: Box<dyn EvictionPolicy>) -> Self {
        Index {
            entries: BTreeMap::new(),
            num_listings: 0,
            strangers: BTreeSet::new(),
            policy,
            bytes: 0,
        }
    }

    /// Whether a record should be there.
    pub fn contains(&self, key: &ChunkKey) -> bool {
        self.entries.contains_key(key)
    }

    /// Records that should be there.
    pub fn num_chunks(&self) -> usize {
        self.entries.len()
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A record came; `tenant` is whose it is, where that is known.
    pub fn insert(&mut self, key: &ChunkKey, bytes: u64, tenant: Option<TenantTag>) {
        let known = Known { bytes, since: self.num_listings };
        self.bytes -= self.entries.insert(*key, known).map_or(0, |known| known.bytes);
        self.bytes += bytes;
        self.policy.inserted(key, Entry { bytes, tenant });
        match tenant.is_none() && self.policy.asks_whose() {
            true => self.strangers.insert(*key),
            false => self.strangers.remove(key),
        };
    }

    /// A record was used.
    pub fn touched(&mut self, key: &ChunkKey) {
        self.policy.touched(key);
    }

    /// A record left; its bytes, if it was there.
    pub fn remove(&mut self, key: &ChunkKey) -> Option<u64> {
        self.policy.removed(key);
        self.strangers.remove(key);
        let Known { bytes, .. } = self.entries.remove(key)?;
        self.bytes -= bytes;
        Some(bytes)
    }

    /// Whether a record may come, room aside.
    pub fn admit(&mut self, bytes: u64, tenant: TenantTag) -> Admission {
        match self.policy.admit(&Entry { bytes, tenant: Some(tenant) }) {
            Admission::After(victim) if !self.contains(&victim) => Admission::Never,
            admission => admission,
        }
    }

    /// What should leave next. If it is a stranger, it is to be [`Index::met`] and asked for again: it may be someone's
    /// who is promised that it stays.
    pub fn victim(&mut self) -> Option<ChunkKey> {
        let victim = self.policy.victim()?;
        // A policy that names what is not there would be asked for ever.
        self.contains(&victim).then_some(victim)
    }

    /// The place will be listed now.
    pub fn begin_listing(&mut self) -> Listing {
        self.num_listings += 1;
        Listing(self.num_listings)
    }

    /// Takes what a listing found: others write and remove too. What is known already keeps its place in the
    /// policy, and what came while it was made stays.
    pub fn take_listing(&mut self, listing: &Listing, listed: &BTreeMap<ChunkKey, u64>) {
        let is_gone = |(key, known): &(&ChunkKey, &Known)| {
            known.since < listing.0 && !listed.contains_key(*key)
        };
        let gone: Vec<_> = self.entries.iter().filter(is_gone).map(|(key, _)| *key).collect();
        for key in &gone {
            self.remove(key);
        }
        for (key, &bytes) in listed {
            if !self.contains(key) {
                self.insert(key, bytes, None);
            }
        }
    }

    /// A record of which it is not known whose it is, though the policy asks.
    pub fn stranger(&self) -> Option<ChunkKey> {
        self.strangers.first().copied()
    }

    /// Whether it is not known whose a record is, though the policy asks.
    pub fn is_stranger(&self, key: &ChunkKey) -> bool {
        self.strangers.contains(key)
    }

    /// Whose a stranger is, by its own header; one that does not say stays everyone's.
    pub fn met(&mut self, key: &ChunkKey, tenant: Option<TenantTag>) {
        if let (true, Some(tenant)) = (self.strangers.remove(key), tenant) {
            self.policy.met(key, tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eviction::lru;

    #[test]
    fn a_listing_removes_what_it_could_have_seen() {
        let [old, new, gone] = [1, 2, 3].map(|byte| ChunkKey([byte; 32]));
        let mut index = Index::new(lru()());
        index.insert(&old, 10, None);
        index.insert(&gone, 100, None);
        let listing = index.begin_listing();
        // Another thread publishes a record in a folder that was listed already.
        index.insert(&new, 1000, None);
        index.take_listing(&listing, &BTreeMap::from([(old, 10)]));
        assert_eq!([&old, &new, &gone].map(|key| index.contains(key)), [true, true, false]);
        assert_eq!((index.num_chunks(), index.bytes()), (2, 1010));
        // The next one would have seen it.
        let listing = index.begin_listing();
        index.take_listing(&listing, &BTreeMap::from([(old, 10)]));
        assert_eq!((index.num_chunks(), index.bytes()), (1, 10));
    }
}
