//! Eviction policies against plain models of them, and what tenants are promised.

use std::collections::HashMap;

use kv_store::eviction::{
    Admission, Entry, Pins, PolicyFactory, TenantRule, governed, lfu, lru, s3_fifo,
};
use kv_store::keys::{ChunkKey, TenantTag};
use proptest::prelude::*;

fn key(i: u8) -> ChunkKey {
    ChunkKey([i; 32])
}

fn tenant(i: u8) -> TenantTag {
    TenantTag([i; 16])
}

fn entry(bytes: u64) -> Entry {
    Entry { bytes, tenant: None }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u8),
    Touch(u8),
    Remove(u8),
    Evict,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0u8..12).prop_map(Step::Insert),
        4 => (0u8..12).prop_map(Step::Touch),
        1 => (0u8..12).prop_map(Step::Remove),
        2 => Just(Step::Evict),
    ];
    prop::collection::vec(step, 0..120)
}

/// A list of what is there, with numbers by which a model ranks it.
#[derive(Default)]
struct Model {
    /// Key, uses, time of the last use.
    entries: Vec<(u8, u64, u64)>,
    time: u64,
    age: u64,
}

impl Model {
    fn position(&self, i: u8) -> Option<usize> {
        self.entries.iter().position(|entry| entry.0 == i)
    }

    fn insert(&mut self, i: u8) {
        self.remove(i);
        self.time += 1;
        self.entries.push((i, self.age + 1, self.time));
    }

    fn touch(&mut self, i: u8) {
        self.time += 1;
        if let Some(at) = self.position(i) {
            self.entries[at].1 += 1;
            self.entries[at].2 = self.time;
        }
    }

    fn remove(&mut self, i: u8) {
        self.entries.retain(|entry| entry.0 != i);
    }
}

fn follow(policy: &PolicyFactory, steps: &[Step], rank: fn(&(u8, u64, u64)) -> (u64, u64)) {
    let (mut policy, mut model) = (policy(), Model::default());
    for step in steps {
        match *step {
            Step::Insert(i) => {
                policy.inserted(&key(i), entry(1));
                model.insert(i);
            }
            Step::Touch(i) => {
                policy.touched(&key(i));
                model.touch(i);
            }
            Step::Remove(i) => {
                policy.removed(&key(i));
                model.remove(i);
            }
            Step::Evict => {
                let expected = model.entries.iter().min_by_key(|entry| rank(entry)).copied();
                assert_eq!(policy.victim(), expected.map(|entry| key(entry.0)));
                assert_eq!(policy.victim(), expected.map(|entry| key(entry.0)), "asked again");
                if let Some((i, uses, _)) = expected {
                    model.age = uses;
                    policy.removed(&key(i));
                    model.remove(i);
                }
            }
        }
    }
}

/// S3-FIFO as its paper tells it: two lists, a ghost list, and sizes counted anew each time.
#[derive(Default)]
struct ListFifo {
    small: Vec<(u8, u8)>,
    main: Vec<(u8, u8)>,
    ghost: Vec<u8>,
}

impl ListFifo {
    fn find(&mut self, i: u8) -> Option<&mut (u8, u8)> {
        self.small.iter_mut().chain(&mut self.main).find(|entry| entry.0 == i)
    }

    fn insert(&mut self, i: u8) {
        let was_main = self.main.iter().any(|entry| entry.0 == i);
        let was_small = self.small.iter().any(|entry| entry.0 == i);
        let is_ghost = self.ghost.contains(&i);
        self.remove(i);
        self.ghost.retain(|ghost| *ghost != i);
        match was_main || (is_ghost && !was_small) {
            true => self.main.push((i, 0)),
            false => self.small.push((i, 0)),
        }
    }

    fn remove(&mut self, i: u8) {
        self.small.retain(|entry| entry.0 != i);
        self.main.retain(|entry| entry.0 != i);
    }

    fn evict(&mut self) -> Option<u8> {
        loop {
            let total = self.small.len() + self.main.len();
            let small_is_full = self.small.len() >= total / 10 || self.main.is_empty();
            if small_is_full && !self.small.is_empty() {
                let (i, uses) = self.small.remove(0);
                if uses < 2 {
                    self.ghost.push(i);
                    return Some(i);
                }
                self.main.push((i, 0));
            } else if self.main.is_empty() {
                return None;
            } else {
                let (i, uses) = self.main.remove(0);
                if uses == 0 {
                    return Some(i);
                }
                self.main.push((i, uses - 1));
            }
        }
    }
}

proptest! {
    #[test]
    fn lru_is_its_model(steps in steps()) {
        follow(&lru(), &steps, |entry| (entry.2, 0));
    }

    #[test]
    fn lfu_is_its_model(steps in steps()) {
        follow(&lfu(), &steps, |entry| (entry.1, entry.2));
    }

    #[test]
    fn s3_fifo_is_its_model(steps in steps()) {
        let (mut policy, mut model) = (s3_fifo()(), ListFifo::default());
        for step in steps {
            match step {
                Step::Insert(i) => {
                    policy.inserted(&key(i), entry(1));
                    model.insert(i);
                }
                Step::Touch(i) => {
                    policy.touched(&key(i));
                    if let Some(entry) = model.find(i) {
                        entry.1 = (entry.1 + 1).min(3);
                    }
                }
                Step::Remove(i) => {
                    policy.removed(&key(i));
                    model.remove(i);
                }
                Step::Evict => {
                    let victim = policy.victim();
                    prop_assert_eq!(victim, policy.victim());
                    prop_assert_eq!(victim, model.evict().map(key));
                    if let Some(victim) = victim {
                        policy.removed(&victim);
                    }
                }
            }
        }
    }

    /// Two tenants and everyone else in one full tier: no floor is broken, no quota is passed, no pin is lost.
    #[test]
    fn promises_hold_under_any_traffic(
        traffic in prop::collection::vec((0u8..3, 0u8..40, 1u64..5, any::<bool>()), 1..200),
        base in prop::sample::select(vec![0usize, 1, 2]),
    ) {
        // Little more than the floors: what is spare is often less than what would have to leave.
        const CAP: u64 = 40;
        let rules = vec![
            TenantRule { tenant: tenant(1), quota_bytes: Some(25), floor_bytes: 18 },
            TenantRule { tenant: tenant(2), quota_bytes: None, floor_bytes: 20 },
        ];
        let pins = Pins::default();
        let mut policy = governed([lru(), lfu(), s3_fifo()][base].clone(), pins.clone(), rules)();
        let mut held: HashMap<ChunkKey, (u8, u64)> = HashMap::new();
        let bytes_of = |held: &HashMap<ChunkKey, (u8, u64)>, who: u8| {
            held.values().filter(|(owner, _)| *owner == who).map(|(_, bytes)| *bytes).sum::<u64>()
        };
        for (who, i, bytes, is_pinned) in traffic {
            let key = ChunkKey([who * 64 + i; 32]);
            if held.contains_key(&key) {
                policy.touched(&key);
                while is_pinned && pins.unpin(&key) {}
                continue;
            }
            if is_pinned && i < 3 {
                pins.pin(&key);
            }
            let new = Entry { bytes, tenant: Some(tenant(who)) };
            let is_taken = loop {
                let total: u64 = held.values().map(|(_, bytes)| *bytes).sum();
                let victim = match policy.admit(&new) {
                    Admission::Never => break false,
                    Admission::After(victim) => {
                        prop_assert_eq!(held[&victim].0, who, "a quota takes from its own tenant");
                        victim
                    }
                    Admission::Yes if total + bytes <= CAP => break true,
                    Admission::Yes => match policy.victim() {
                        None => break false,
                        Some(victim) => {
                            let (owner, bytes) = held[&victim];
                            let left = bytes_of(&held, owner) - bytes;
                            prop_assert!(left >= [0, 18, 20][usize::from(owner)], "below the floor");
                            victim
                        }
                    },
                };
                prop_assert!(!pins.is_pinned(&victim));
                held.remove(&victim);
                policy.removed(&victim);
            };
            if is_taken {
                policy.inserted(&key, new);
                held.insert(key, (who, bytes));
            }
            prop_assert!(bytes_of(&held, 1) <= 25);
        }
    }
}

#[test]
fn frequent_entries_outlive_a_scan() {
    // LFU ages: what nobody uses any more goes after some turns of the tier.
    for (policy, last) in [(lfu(), 35), (s3_fifo(), 200)] {
        let mut policy = policy();
        let hot = [1, 2, 3].map(key);
        for hot in &hot {
            policy.inserted(hot, entry(1));
            policy.touched(hot);
            policy.touched(hot);
        }
        for i in 10..last {
            policy.inserted(&key(i), entry(1));
            if i >= 20 {
                let victim = policy.victim().unwrap();
                assert!(!hot.contains(&victim), "a scan of {i} pushed out what is used");
                policy.removed(&victim);
            }
        }
    }
}

#[test]
fn an_entry_that_exceeds_its_quota_alone_is_refused() {
    let rule = TenantRule { tenant: tenant(1), quota_bytes: Some(10), floor_bytes: 0 };
    let mut policy = governed(lru(), Pins::default(), vec![rule])();
    let of = |who, bytes| Entry { bytes, tenant: Some(tenant(who)) };
    assert_eq!(policy.admit(&of(1, 11)), Admission::Never);
    assert_eq!(policy.admit(&of(2, 11)), Admission::Yes);
    policy.inserted(&key(1), of(1, 6));
    assert_eq!(policy.admit(&of(1, 5)), Admission::After(key(1)));
}
