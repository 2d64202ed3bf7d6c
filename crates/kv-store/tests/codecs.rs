//! Codecs: every byte comes back, hostile bytes are refused in bounded memory, and what the packing gains.

use std::sync::Arc;

use half::bf16;
use kv_store::codec::{BytePlane, Lz4, Zstd, codecs};
use kv_store::record::{Codec, Plain};
use proptest::prelude::*;

fn all() -> Vec<Arc<dyn Codec>> {
    let mut all: Vec<Arc<dyn Codec>> = vec![Arc::new(Plain), Arc::new(Lz4)];
    for level in 1..=9 {
        all.push(Arc::new(Zstd { level }));
        all.push(Arc::new(BytePlane { level }));
    }
    all
}

fn encoded(codec: &dyn Codec, raw: &[u8], element_bytes: u32) -> Vec<u8> {
    let mut encoded = Vec::new();
    codec.encode(raw, element_bytes, &mut encoded);
    encoded
}

/// What a model leaves behind: channels of very different size, and a position's values around them.
fn kv_like(num_tokens: usize, head_dim: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut uniform = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let channels: Vec<f32> = (0..head_dim).map(|_| (4.0 * uniform() - 2.0).exp()).collect();
    let mut bytes = Vec::new();
    for _ in 0..num_tokens {
        for channel in &channels {
            // A sum of uniforms is near enough to a normal distribution.
            let normal: f32 = (0..6).map(|_| uniform()).sum::<f32>() - 3.0;
            bytes.extend(bf16::from_f32(channel * normal).to_le_bytes());
        }
    }
    bytes
}

#[test]
fn exponents_apart_pack_best() {
    let raw = kv_like(256, 128);
    let ratio = |codec: &dyn Codec| raw.len() as f64 / encoded(codec, &raw, 2).len() as f64;
    let lz4 = ratio(&Lz4);
    println!("lz4 {lz4:.3}");
    for level in [1, 3, 9] {
        let (zstd, planes) = (ratio(&Zstd { level }), ratio(&BytePlane { level }));
        println!("level {level}: zstd {zstd:.3}, byte planes {planes:.3}");
        assert!(planes > 1.35 && planes > 1.1 * zstd && zstd >= lz4, "{planes} {zstd} {lz4}");
    }
}

#[test]
fn a_wrong_length_is_no_decoding() {
    let raw = kv_like(16, 32);
    for codec in all() {
        let packed = encoded(&*codec, &raw, 2);
        for num_bytes in [0, raw.len() - 1, raw.len() + 1] {
            let mut out = vec![0; num_bytes];
            assert!(codec.decode(&packed, 2, &mut out).is_err(), "{} {num_bytes}", codec.name());
        }
        let mut out = vec![0; raw.len()];
        for cut in [1, packed.len() / 2, packed.len() - 1] {
            assert!(codec.decode(&packed[..cut], 2, &mut out).is_err(), "{} {cut}", codec.name());
        }
    }
}

#[test]
fn every_codec_reads_what_every_codec_wrote() {
    let raw = kv_like(16, 32);
    for writer in all() {
        let packed = encoded(&*writer, &raw, 2);
        for reader in all() {
            let set = codecs(reader);
            let mut out = vec![0; raw.len()];
            set.find(writer.name()).unwrap().decode(&packed, 2, &mut out).unwrap();
            assert_eq!(out, raw);
        }
    }
    assert!(codecs(Arc::new(Lz4)).find("snappy").is_none());
}

proptest! {
    #[test]
    fn any_bytes_come_back(
        raw in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..4], 0..3000),
        element_bytes in 0u32..10,
    ) {
        for codec in all() {
            let packed = encoded(&*codec, &raw, element_bytes);
            let mut out = vec![0xa5; raw.len()];
            prop_assert!(codec.decode(&packed, element_bytes, &mut out).is_ok());
            prop_assert_eq!(&out, &raw);
        }
    }

    #[test]
    fn any_stored_bytes_are_survived(
        stored in prop::collection::vec(any::<u8>(), 0..400),
        num_bytes in 0usize..400,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..4),
    ) {
        let mut out = vec![0; num_bytes];
        for codec in all() {
            let _ = codec.decode(&stored, 2, &mut out);
            // Close to what is right.
            let mut packed = encoded(&*codec, &stored, 2);
            for (at, bit) in flips.iter().filter(|_| !packed.is_empty()).collect::<Vec<_>>() {
                let at = at.index(packed.len());
                packed[at] ^= 1 << bit;
            }
            let _ = codec.decode(&packed, 2, &mut vec![0; stored.len()]);
        }
    }
}
