//! What a process believes to be in the directory. Only reading a record tells whether it is.

use std::collections::BTreeMap;

use crate::eviction::{Admission, Entry, EvictionPolicy};
use crate::keys::{ChunkKey, TenantTag};

pub(super) struct Index {
    entries: BTreeMap<ChunkKey, u64>,
    policy: Box<dyn EvictionPolicy>,
    bytes: u64,
}

impl Index {
    pub(super) fn new(policy: Box<dyn EvictionPolicy>) -> Self {
        Index { entries: BTreeMap::new(), policy, bytes: 0 }
    }

    pub(super) fn contains(&self, key: &ChunkKey) -> bool {
        self.entries.contains_key(key)
    }

    pub(super) fn num_chunks(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn insert(&mut self, key: &ChunkKey, bytes: u64, tenant: Option<TenantTag>) {
        self.bytes -= self.entries.insert(*key, bytes).unwrap_or(0);
        self.bytes += bytes;
        self.policy.inserted(key, Entry { bytes, tenant });
    }

    pub(super) fn touched(&mut self, key: &ChunkKey) {
        self.policy.touched(key);
    }

    pub(super) fn remove(&mut self, key: &ChunkKey) -> u64 {
        self.policy.removed(key);
        let bytes = self.entries.remove(key).unwrap_or(0);
        self.bytes -= bytes;
        bytes
    }

    /// Whether a record may come, room aside.
    pub(super) fn admit(&mut self, bytes: u64, tenant: TenantTag) -> Admission {
        match self.policy.admit(&Entry { bytes, tenant: Some(tenant) }) {
            Admission::After(victim) if !self.contains(&victim) => Admission::Never,
            admission => admission,
        }
    }

    /// What should leave next.
    pub(super) fn victim(&mut self) -> Option<ChunkKey> {
        let victim = self.policy.victim()?;
        // A policy that names what is not there would be asked for ever.
        self.contains(&victim).then_some(victim)
    }

    /// Takes what a listing found: others write and remove too. What is known already keeps its place in the
    /// policy.
    pub(super) fn take_listing(&mut self, listed: &BTreeMap<ChunkKey, u64>) {
        let gone: Vec<_> =
            self.entries.keys().filter(|key| !listed.contains_key(*key)).copied().collect();
        for key in &gone {
            self.remove(key);
        }
        for (key, &bytes) in listed {
            if !self.contains(key) {
                self.insert(key, bytes, None);
            }
        }
    }
}
