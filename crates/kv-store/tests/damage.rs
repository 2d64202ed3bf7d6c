//! Records with every kind of damage: a read is exact or a miss, over a million times.
#![forbid(unsafe_code)]

#[path = "store/support.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod support;

#[path = "../../../fuzz/src/store_record.rs"]
mod invariants;

use std::path::Path;
use std::sync::Arc;

use kv_store::codec::{self, BytePlane, Lz4, Zstd};
use kv_store::keys::{ChunkKey, Salt, TenantTag};
use kv_store::outcome::{ChunkMeta, Corruption};
use kv_store::record::{
    self, Codec, Codecs, Header, Origin, Plain, ReadOutcome, Reader, Verification, WriterId,
};
use kv_store::tier::{Chunk, Expected};

use support::{SHAPE, bytes_of, expected, identity};

const NUM_TOKENS: usize = 6;

struct Case {
    expected: Arc<Expected>,
    codecs: Codecs,
    key: ChunkKey,
    record: Vec<u8>,
}

fn key(i: u8) -> ChunkKey {
    ChunkKey::root(&identity(1), &Salt::tenant(i.to_string()))
}

fn codecs() -> Vec<Arc<dyn Codec>> {
    vec![
        Arc::new(Plain),
        Arc::new(Lz4),
        Arc::new(Zstd { level: 3 }),
        Arc::new(BytePlane { level: 3 }),
    ]
}

fn case(i: u8, codec: &Arc<dyn Codec>, expected: Arc<Expected>) -> Case {
    let key = key(i);
    let meta = ChunkMeta {
        first_token: 12,
        num_tokens: NUM_TOKENS as u32,
        tenant: TenantTag::SHARED,
        created_ms: 5,
        expires_ms: None,
    };
    let chunk = Chunk::seal(&SHAPE, key, meta, bytes_of(&key, NUM_TOKENS)).unwrap();
    let origin = Origin { writer: WriterId(9), sequence: u64::from(i), is_durable: true };
    let record = record::encode(&chunk, &expected, &**codec, origin);
    let codecs = codec::codecs(Arc::clone(codec));
    Case { expected, codecs, key, record }
}

/// Reads layers of a record as that of `case`: panics if it gives other bytes than were stored.
fn read(case: &Case, record: &[u8], layers: std::ops::Range<usize>) -> ReadOutcome {
    let reader = Reader {
        expected: &case.expected,
        codecs: &case.codecs,
        unix_ms: 100,
        verification: Verification::On,
    };
    let at = SHAPE.layers_range(layers.clone(), NUM_TOKENS);
    let mut out = vec![0x55; at.len()];
    let outcome = reader.layers(&record, &case.key, layers, &mut out);
    if matches!(outcome, ReadOutcome::Exact(..)) {
        assert_eq!(out, bytes_of(&case.key, NUM_TOKENS)[at], "wrong bytes");
    }
    outcome
}

fn is_exact(outcome: &ReadOutcome) -> bool {
    matches!(outcome, ReadOutcome::Exact(..))
}

/// Where nothing is stored: between payload and trailer.
fn padding(case: &Case) -> std::ops::Range<usize> {
    let header = Header::decode(&case.record[..record::header_bytes(SHAPE.num_layers)]).unwrap();
    header.payload_range(0..3).end as usize..case.record.len() - record::TRAILER_BYTES
}

#[test]
fn every_single_bit_of_a_record() {
    let mut num_reads = 0_u64;
    for (i, codec) in codecs().iter().enumerate() {
        let case = case(i as u8, codec, expected());
        assert!(is_exact(&read(&case, &case.record, 0..3)));
        let padding = padding(&case);
        let mut record = case.record.clone();
        for bit in 0..8 * record.len() {
            record[bit / 8] ^= 1 << (bit % 8);
            for layers in [0..3, 0..1, 2..3] {
                let is_whole = layers.len() == 3;
                let outcome = read(&case, &record, layers);
                num_reads += 1;
                if is_whole {
                    let is_stored = !padding.contains(&(bit / 8));
                    assert_eq!(is_exact(&outcome), !is_stored, "bit {bit}: {outcome:?}");
                }
            }
            record[bit / 8] ^= 1 << (bit % 8);
        }
    }
    println!("{num_reads} reads");
    assert!(num_reads >= 750_000, "{num_reads}");
}

#[test]
fn every_length_and_random_damage() {
    let mut num_reads = 0_u64;
    let mut state = 7_u64;
    let mut random = |num: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((state >> 33) as usize) % num
    };
    for (i, codec) in codecs().iter().enumerate() {
        let (a, b) =
            (case(2 * i as u8, codec, expected()), case(2 * i as u8 + 1, codec, expected()));
        // The key of `a` as a store of other weights had it.
        let other = Arc::new(Expected { identity: identity(2), shape: SHAPE });
        let stale = case(2 * i as u8, codec, other);
        for len in 0..a.record.len() {
            let outcome = read(&a, &a.record[..len], 0..3);
            assert!(!is_exact(&outcome), "{len}: {outcome:?}");
            num_reads += 1;
        }
        let swapped = read(&a, &b.record, 0..3);
        assert!(matches!(swapped, ReadOutcome::Corrupt(Corruption::Key)), "{swapped:?}");
        let old = read(&a, &stale.record, 0..3);
        assert!(matches!(old, ReadOutcome::Corrupt(Corruption::Identity)), "{old:?}");
        for _ in 0..60_000 {
            // Up to three pieces of other records, at their own or another place.
            let mut record = a.record.clone();
            for _ in 0..=random(3) {
                let from = [&b.record, &stale.record, &a.record][random(3)];
                let magnitude = random(13);
                let len = 1 + random(1 << magnitude);
                let at = random(record.len());
                let source = if random(2) == 0 { at } else { random(from.len()) };
                let len = len.min(record.len() - at).min(from.len().saturating_sub(source));
                record[at..at + len].copy_from_slice(&from[source..source + len]);
            }
            let outcome = read(&a, &record, 0..3);
            // Where only the padding changed it may be exact.
            assert!(!is_exact(&outcome) || unpadded(&a, &record) == unpadded(&a, &a.record));
            num_reads += 1;
        }
    }
    println!("{num_reads} reads");
    assert!(num_reads >= 250_000, "{num_reads}");
}

/// All of a record that is stored.
fn unpadded<'a>(case: &Case, record: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    let padding = padding(case);
    (&record[..padding.start], &record[padding.end..])
}

#[test]
fn the_fuzzers_seeds_are_records_and_damage_breaks_no_promise() {
    assert_eq!(invariants::expected(), *expected());
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/store_record");
    let mut num_seeds = 0;
    for entry in std::fs::read_dir(seeds).unwrap() {
        let mut seed = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(invariants::store_record(&seed));
        num_seeds += 1;
        for at in 0..seed.len() {
            seed[at] ^= 0x81;
            invariants::store_record(&seed);
            seed[at] ^= 0x81;
        }
    }
    assert_eq!(num_seeds, codecs().len());
}
