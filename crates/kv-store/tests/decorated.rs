//! Tiers around tiers do what they say, and a store over failing ones stays exact.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kv_store::chunk::ChunkShape;
use kv_store::clock::SystemClock;
use kv_store::identity::{Identity, IdentityParts};
use kv_store::keys::{ChunkKey, TenantTag};
use kv_store::outcome::{Lookup, TierKind};
use kv_store::planner::Planner;
use kv_store::store::{NewChunk, Store, StoreConfig};
use kv_store::tier::{
    Expected, FaultRates, Faulty, HostConfig, HostTier, Metered, Pace, Throttled, Tier,
};

const SHAPE: ChunkShape =
    ChunkShape { num_layers: 2, num_kv_heads: 1, head_dim: 8, element_bytes: 2 };
const CHUNK_BYTES: usize = 2 * 2 * 16 * 8 * 2;

fn expected() -> Arc<Expected> {
    let identity = Identity::new(&IdentityParts::of_no_model(1));
    Arc::new(Expected { identity: identity.unwrap(), shape: SHAPE })
}

fn host() -> Arc<dyn Tier> {
    let clock = Arc::new(SystemClock::new());
    Arc::new(HostTier::new(&HostConfig::lru(1 << 30), expected(), clock))
}

fn store(tiers: Vec<Arc<dyn Tier>>) -> Store {
    Store::with_tiers(StoreConfig::default(), expected(), tiers).unwrap()
}

fn key(i: u16) -> ChunkKey {
    let mut key = [0; 32];
    key[..2].copy_from_slice(&i.to_le_bytes());
    ChunkKey(key)
}

fn bytes(i: u16) -> Vec<u8> {
    (0..CHUNK_BYTES).map(|at| (at as u16).wrapping_mul(i).to_le_bytes()[0] ^ i as u8).collect()
}

fn put(store: &Store, i: u16) -> bool {
    let chunk = NewChunk { key: key(i), tokens: 0..16, tenant: TenantTag::SHARED, ttl_ms: None };
    store.put(chunk, bytes(i)).is_there()
}

#[test]
fn what_is_read_through_faults_is_exact_or_missed() {
    let rates = FaultRates { lost: 100, io: 50, corrupt: 150, failed: 100, forgotten: 100 };
    let run = |seed| {
        let faulty = Arc::new(Faulty::new(host(), rates, seed));
        let store = store(vec![Arc::clone(&faulty) as Arc<dyn Tier>]);
        let mut hits = Vec::new();
        for i in 0..1000 {
            put(&store, i);
            let mut out = vec![0; CHUNK_BYTES];
            let lookup = store.get(&key(i), 0..2, &mut out);
            assert!(!lookup.is_hit() || out == bytes(i), "chunk {i}: wrong bytes");
            assert!(
                lookup.is_hit() || out != bytes(i),
                "chunk {i}: a failed read that left the bytes"
            );
            hits.push(lookup.is_hit());
        }
        (hits, faulty.faults())
    };
    let (hits, faults) = run(1);
    let num_hits = hits.iter().filter(|hit| **hit).count();
    assert!((480..640).contains(&num_hits), "8 of 10 are written and 7 of 10 read: {num_hits}");
    assert!(
        (250..350).contains(&faults.reads) && (150..250).contains(&faults.writes),
        "{faults:?}"
    );
    assert_eq!(run(1), (hits.clone(), faults), "the same seed fails in the same way");
    assert_ne!(run(2).0, hits);
}

#[test]
fn a_second_tier_answers_for_a_failing_first() {
    let broken = FaultRates { corrupt: 1000, ..FaultRates::default() };
    let faulty = Arc::new(Faulty::new(host(), broken, 3));
    let store = store(vec![Arc::clone(&faulty) as Arc<dyn Tier>, host()]);
    for i in 0..20 {
        assert!(put(&store, i));
        let mut out = vec![0; CHUNK_BYTES];
        assert!(store.get(&key(i), 0..2, &mut out).is_hit());
        assert_eq!(out, bytes(i));
    }
    assert_eq!(faulty.faults().reads, 20);
}

#[test]
fn a_pace_holds_over_threads() {
    let pace = Pace { bytes_per_s: 100.0 * CHUNK_BYTES as f64, latency: Duration::from_millis(5) };
    let throttled = Throttled::new(host(), pace);
    let store = Arc::new(store(vec![Arc::new(throttled)]));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || (0..5).for_each(|i| assert!(put(store, thread * 5 + i))));
        }
    });
    // 20 chunks at 100 a second; no upper bound, for a machine may be slower than any pace.
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
    let start = Instant::now();
    let mut out = vec![0; CHUNK_BYTES];
    assert!(matches!(store.get(&key(999), 0..2, &mut out), Lookup::Miss(_)));
    let miss = start.elapsed();
    assert!(miss >= Duration::from_millis(5), "a miss has its latency: {miss:?}");
}

#[test]
fn a_planner_learns_a_tiers_pace_from_a_metered_tier() {
    let pace = Pace { bytes_per_s: 200.0 * CHUNK_BYTES as f64, latency: Duration::ZERO };
    let planner = Arc::new(Mutex::new(Planner::new()));
    let told = Arc::clone(&planner);
    let metered = Metered::new(
        Arc::new(Throttled::new(host(), pace)),
        Arc::new(move |measured| {
            let mut planner = told.lock().unwrap();
            if !measured.is_write {
                planner.measured_load(measured.tier, measured.bytes, measured.time.as_secs_f64());
            }
        }),
    );
    let store = store(vec![Arc::new(metered)]);
    assert!(put(&store, 1));
    assert_eq!(planner.lock().unwrap().tier_speed(TierKind::Host), None, "a write is no read");
    let mut out = vec![0; CHUNK_BYTES];
    for i in 0..10 {
        let _ = store.get(&key(i % 2), 0..2, &mut out);
    }
    let (bytes_per_s, _) = planner.lock().unwrap().tier_speed(TierKind::Host).unwrap();
    assert!(bytes_per_s <= 1.01 * pace.bytes_per_s, "{bytes_per_s}");
}
