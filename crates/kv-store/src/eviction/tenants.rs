//! Whose entries leave: quotas and floors, kept by a ledger of bytes.

use std::collections::{BTreeMap, HashMap};

use super::{Admission, Entry, EvictionPolicy, PolicyFactory};
use crate::keys::{ChunkKey, TenantTag};

/// A tenant's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantRule {
    /// Whose.
    pub tenant: TenantTag,
    /// The most bytes it may hold; its own entries make room for more.
    pub quota_bytes: Option<u64>,
    /// Bytes that it keeps, whoever needs room.
    pub floor_bytes: u64,
}

/// Tenants with rules, each with a policy of its own; all others share one.
///
/// A new entry that would take its tenant over the quota pushes out that tenant's own. Where the tier is full, the
/// tenant gives way that has most above its floor; one that an eviction would take below its floor never does.
pub(super) struct Tenants {
    /// By tenant; `None` is everyone else, the entries whose tenant is not known yet among them.
    groups: BTreeMap<Option<TenantTag>, Group>,
    /// Whose each entry is, and its bytes.
    entries: HashMap<ChunkKey, (Option<TenantTag>, u64)>,
}

struct Group {
    policy: Box<dyn EvictionPolicy>,
    bytes: u64,
    quota_bytes: u64,
    floor_bytes: u64,
}

impl Tenants {
    /// Policies from `factory` under these rules; of two rules for one tenant the last holds.
    pub(super) fn new(rules: &[TenantRule], factory: &PolicyFactory) -> Self {
        let group = |quota_bytes, floor_bytes| Group {
            policy: factory(),
            bytes: 0,
            quota_bytes,
            floor_bytes,
        };
        let mut groups = BTreeMap::from([(None, group(u64::MAX, 0))]);
        for rule in rules {
            let quota_bytes = rule.quota_bytes.unwrap_or(u64::MAX);
            groups.insert(Some(rule.tenant), group(quota_bytes, rule.floor_bytes));
        }
        Tenants { groups, entries: HashMap::new() }
    }

    fn group_of(&self, entry: &Entry) -> Option<TenantTag> {
        entry.tenant.filter(|tenant| self.groups.contains_key(&Some(*tenant)))
    }

    fn group_with(&mut self, key: &ChunkKey) -> Option<&mut Group> {
        let (group, _) = self.entries.get(key)?;
        self.groups.get_mut(group)
    }
}

impl EvictionPolicy for Tenants {
    fn inserted(&mut self, key: &ChunkKey, entry: Entry) {
        let name = self.group_of(&entry);
        if self.entries.get(key).is_some_and(|(old, _)| *old != name) {
            self.removed(key);
        }
        let old = self.entries.insert(*key, (name, entry.bytes)).map_or(0, |(_, bytes)| bytes);
        if let Some(group) = self.groups.get_mut(&name) {
            group.bytes = group.bytes - old + entry.bytes;
            group.policy.inserted(key, entry);
        }
    }

    fn asks_whose(&self) -> bool {
        self.groups.len() > 1
    }

    fn met(&mut self, key: &ChunkKey, tenant: TenantTag) {
        let Some(&(group, bytes)) = self.entries.get(key) else { return };
        let entry = Entry { bytes, tenant: Some(tenant) };
        // Whoever stays in a group keeps the place there.
        if self.group_of(&entry) != group {
            self.inserted(key, entry);
        }
    }

    fn touched(&mut self, key: &ChunkKey) {
        if let Some(group) = self.group_with(key) {
            group.policy.touched(key);
        }
    }

    fn removed(&mut self, key: &ChunkKey) {
        let Some((name, bytes)) = self.entries.remove(key) else { return };
        if let Some(group) = self.groups.get_mut(&name) {
            group.bytes -= bytes;
            group.policy.removed(key);
        }
    }

    fn victim(&mut self) -> Option<ChunkKey> {
        let mut best: Option<(u64, ChunkKey)> = None;
        for group in self.groups.values_mut() {
            let spare = group.bytes.saturating_sub(group.floor_bytes);
            if spare == 0 || best.is_some_and(|(most, _)| most >= spare) {
                continue;
            }
            let Some(key) = group.policy.victim() else { continue };
            let bytes = self.entries.get(&key).map_or(0, |(_, bytes)| *bytes);
            if bytes <= spare {
                best = Some((spare, key));
            }
        }
        best.map(|(_, key)| key)
    }

    fn admit(&mut self, entry: &Entry) -> Admission {
        let name = self.group_of(entry);
        let Some(group) = self.groups.get_mut(&name) else { return Admission::Yes };
        if entry.bytes > group.quota_bytes {
            return Admission::Never;
        }
        if group.bytes.saturating_add(entry.bytes) <= group.quota_bytes {
            return Admission::Yes;
        }
        // Everything that it holds may be pinned.
        group.policy.victim().map_or(Admission::Never, Admission::After)
    }
}
