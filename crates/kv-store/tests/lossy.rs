//! KV in FP8: how far it is off, that this is never more than was allowed, and that nobody gets it unasked.

use half::bf16;
use kv_store::chunk::ChunkShape;
use kv_store::codec::{FP8, Fp8, LossyFp8, TooLossy, codecs};
use kv_store::identity::{Identity, IdentityParts};
use kv_store::keys::{ChunkKey, TenantTag};
use kv_store::outcome::{Lookup, Put, Reject, TierKind};
use kv_store::record::Codec;
use kv_store::store::{NewChunk, Store, StoreConfig, StoreError};
use kv_store::tier::DirectoryConfig;
use proptest::prelude::*;
use std::sync::Arc;

const SHAPE: ChunkShape =
    ChunkShape { num_layers: 2, num_kv_heads: 1, head_dim: 64, element_bytes: 2 };
const LAYER_BYTES: usize = 2 * 16 * 64 * 2;

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect()
}

fn numbers(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
}

const ANY: LossyFp8 = LossyFp8 { max_error: f32::INFINITY };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever finite numbers: each is within the stored bound, the error is the one that was told, what is rounded
    /// is packed and comes back, and rounding it again changes nothing.
    #[test]
    fn the_bound_holds(codes in prop::collection::vec(any::<u16>(), 1..1500)) {
        let raw: Vec<u8> = codes
            .into_iter()
            .map(|code| if code & 0x7f00 == 0x7f00 { code & 0xbfff } else { code })
            .flat_map(u16::to_le_bytes)
            .collect();
        let mut rounded = raw.clone();
        let told = ANY.round(raw.len(), &mut rounded).unwrap();
        let mut encoded = Vec::new();
        Fp8.encode(&rounded, 2, &mut encoded);
        let bound = Fp8::bound(&encoded).expect("packed");
        let (before, after) = (numbers(&raw), numbers(&rounded));
        for (x, y) in before.iter().zip(&after) {
            prop_assert!((x - y).abs() <= bound, "{x} became {y}, bound {bound}");
        }
        let square = |x: f64| x * x;
        let errors: f64 =
            before.iter().zip(&after).map(|(x, y)| square(f64::from(*x) - f64::from(*y))).sum();
        let squares: f64 = before.iter().map(|x| square(f64::from(*x))).sum();
        let measured = if errors == 0.0 { 0.0 } else { (errors / squares).sqrt() };
        prop_assert!((measured - f64::from(told)).abs() <= 1e-5 * measured, "{measured} {told}");
        let mut back = vec![0; rounded.len()];
        Fp8.decode(&encoded, 2, &mut back).unwrap();
        prop_assert_eq!(&back, &rounded);
        prop_assert_eq!(ANY.round(raw.len(), &mut back), Ok(0.0));
        prop_assert_eq!(back, rounded);
    }

    /// What was never rounded is not changed by the codec, and damaged bytes are refused or give the asked number.
    #[test]
    fn the_codec_alone_loses_nothing(
        raw in prop::collection::vec(any::<u8>(), 0..1200), cut in 0usize..1200, element_bytes in 1u32..5
    ) {
        let mut encoded = Vec::new();
        Fp8.encode(&raw, element_bytes, &mut encoded);
        let mut back = vec![0; raw.len()];
        Fp8.decode(&encoded, element_bytes, &mut back).unwrap();
        prop_assert_eq!(&back, &raw);
        if cut < encoded.len() {
            prop_assert!(Fp8.decode(&encoded[..cut], element_bytes, &mut back).is_err());
        }
    }
}

#[test]
fn what_is_lost_is_what_fp8_loses() {
    let smooth: Vec<f32> = (0..4096).map(|i| (i as f32 * 0.37).sin() * 3.0).collect();
    let error = ANY.round(LAYER_BYTES, &mut bytes(&smooth)).unwrap();
    // Three bits of mantissa: half a unit in the last place is at most 1/16 of a number.
    assert!((0.01..0.0625).contains(&error), "{error}");
    let strict = LossyFp8 { max_error: error * 0.99 };
    let refused = strict.round(LAYER_BYTES, &mut bytes(&smooth));
    assert_eq!(refused, Err(TooLossy::Error { error, max_error: error * 0.99 }));
    // One outlier leaves nothing of the small numbers beside it.
    let mut outlier = vec![1e-3f32; 256];
    outlier[7] = 0.0;
    assert!(ANY.round(512, &mut bytes(&outlier)).unwrap() < 0.05);
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 3.3e38] {
        outlier[7] = odd;
        assert_eq!(ANY.round(512, &mut bytes(&outlier)), Err(TooLossy::NotFinite));
    }
}

fn identity(lossy_codec: Option<&'static str>, kv_dtype: &'static str) -> Identity {
    let parts = IdentityParts { lossy_codec, kv_dtype, ..IdentityParts::of_no_model(1) };
    Identity::new(&parts).unwrap()
}

fn open(
    path: &std::path::Path,
    lossy: Option<LossyFp8>,
    identity: Identity,
) -> Result<Store, StoreError> {
    let directory =
        DirectoryConfig { codecs: codecs(Arc::new(Fp8)), ..DirectoryConfig::new(path, 1 << 30) };
    let config =
        StoreConfig { chunk_size: 16, lossy, directory: Some(directory), ..StoreConfig::default() };
    Store::open(config, identity, SHAPE)
}

#[test]
fn a_lossy_store_keeps_half_and_refuses_what_would_lose_too_much() {
    let folder = tempfile::tempdir().unwrap();
    let lossy = Some(LossyFp8 { max_error: 0.05 });
    let store = open(folder.path(), lossy, identity(Some(FP8), "bf16")).unwrap();
    let new = |i| NewChunk {
        key: ChunkKey([i; 32]),
        tokens: 0..16,
        tenant: TenantTag::SHARED,
        ttl_ms: None,
    };
    let smooth: Vec<f32> = (0..4096).map(|i| (i as f32 * 0.37).sin() * 3.0).collect();
    assert_eq!(store.put(new(1), bytes(&smooth)).of(TierKind::Disk), Some(Put::Stored));
    let mut out = vec![0; SHAPE.chunk_bytes(16)];
    assert!(matches!(store.get(&ChunkKey([1; 32]), 0..2, &mut out), Lookup::Hit(_)));
    let mut expected = bytes(&smooth);
    ANY.round(LAYER_BYTES, &mut expected).unwrap();
    assert!(out == expected, "the rounded numbers, verified");
    assert!(out != bytes(&smooth));
    let used = store.stats()[0].1.bytes as usize;
    assert!(used < SHAPE.chunk_bytes(16) / 2 + 3 * 4096, "{used} bytes");
    // Numbers that differ so much that FP8 keeps little of most: nine in ten are below the least that is kept.
    let wild: Vec<f32> = (0..4096)
        .map(|i| 2f32.powi((i * 7 % 3) - 1) * if i % 2 == 0 { 1.06 } else { 1.19 })
        .collect();
    let strict = tempfile::tempdir().unwrap();
    let lossy = Some(LossyFp8 { max_error: 1e-3 });
    let store = open(strict.path(), lossy, identity(Some(FP8), "bf16")).unwrap();
    let put = store.put(new(2), bytes(&wild)).of(TierKind::Disk);
    assert_eq!(put, Some(Put::Rejected(Reject::Policy)));
    assert!(!store.get(&ChunkKey([2; 32]), 0..2, &mut out).is_hit());
}

#[test]
fn rounded_kv_has_an_identity_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let lossy = Some(LossyFp8 { max_error: 0.05 });
    for (lossy, named, kv_dtype) in [
        (lossy, None, "bf16"),
        (lossy, Some("fp4"), "bf16"),
        (lossy, Some(FP8), "f16"),
        (None, Some(FP8), "bf16"),
    ] {
        let refused = open(folder.path(), lossy, identity(named, kv_dtype)).err().expect("refused");
        assert!(matches!(refused, StoreError::Lossy { .. }), "{refused}");
        assert!(refused.to_string().contains("fp8-e4m3"), "{refused}");
    }
    let (exact, rounded) = (identity(None, "bf16"), identity(Some(FP8), "bf16"));
    assert_ne!(exact.digest(), rounded.digest());
}
