//! Damaged and hostile files: errors, never a panic, and what is accepted holds together.

use std::path::PathBuf;

use proptest::prelude::*;

use crate::llvm;

#[path = "../../../../fuzz/src/code_object.rs"]
mod invariants;

fn seeds() -> Vec<(String, Vec<u8>)> {
    let dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/code_object"));
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert_eq!(paths.len(), 3);
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect()
}

#[test]
fn every_seed_is_accepted() {
    for (name, bytes) in seeds() {
        assert!(invariants::code_object(&bytes), "{name}");
    }
}

/// With `KVASIR_WRITE_SEEDS=1` the seeds are written instead.
#[test]
fn the_seeds_are_what_their_source_says() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let small = llvm::small(&toolchain);
    let id = b"hipv4-amdgcn-amd-amdhsa--gfx942";
    let mut bundle = b"__CLANG_OFFLOAD_BUNDLE__".to_vec();
    let offset = 24 + 8 + 24 + id.len() as u64;
    for number in [1, offset, small.len() as u64, id.len() as u64] {
        bundle.extend(number.to_le_bytes());
    }
    bundle.extend(id);
    bundle.extend(&small);
    let zstd =
        ruzstd::encoding::compress_to_vec(&bundle[..], ruzstd::encoding::CompressionLevel::Fastest);
    let mut compressed = b"CCOB\x02\0\x01\0".to_vec();
    for number in [24 + zstd.len(), bundle.len()] {
        compressed.extend((number as u32).to_le_bytes());
    }
    compressed.extend([0; 8]);
    compressed.extend(zstd);
    let made = [("small.bundle", bundle), ("small.ccob", compressed), ("small.hsaco", small)];
    if std::env::var_os("KVASIR_WRITE_SEEDS").is_some() {
        for (name, bytes) in &made {
            let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/code_object");
            std::fs::write(PathBuf::from(dir).join(name), bytes).unwrap();
        }
    }
    for ((name, bytes), (made_name, made)) in seeds().iter().zip(&made) {
        assert!(name == made_name && bytes == made, "{name}: run with KVASIR_WRITE_SEEDS=1");
    }
}

#[test]
fn every_byte_may_be_wrong() {
    let mut num_refused = 0;
    for (_, seed) in seeds() {
        for at in 0..seed.len() {
            let mut bytes = seed.clone();
            for wrong in [!bytes[at], bytes[at] ^ 1, bytes[at] ^ 0x80] {
                bytes[at] = wrong;
                num_refused += usize::from(!invariants::code_object(&bytes));
            }
        }
    }
    assert!(num_refused > 1000, "{num_refused}");
}

#[test]
fn a_relocation_may_point_anywhere() {
    let (_, seed) = seeds().pop().unwrap();
    let record = [0x650_u64, 3 << 32 | 3].map(u64::to_le_bytes).concat();
    let at = seed.windows(16).position(|window| window == record).expect("the seed's relocation");
    let mut num_accepted = 0;
    for offset in (0..0x800).chain([u64::MAX, u64::MAX - 7, 1 << 63]) {
        let mut bytes = seed.clone();
        bytes[at..at + 8].copy_from_slice(&offset.to_le_bytes());
        num_accepted += usize::from(invariants::code_object(&bytes));
    }
    // Everywhere in the three segments (0x580, 4 and 0xa8 bytes) but in their last seven bytes.
    assert_eq!(num_accepted, 0x580 - 7 + 0xa8 - 7);
}

#[test]
fn every_file_may_end_early() {
    for (_, seed) in seeds() {
        for len in 0..seed.len() {
            invariants::code_object(&seed[..len]);
        }
    }
}

proptest! {
    #[test]
    fn several_bytes_may_be_wrong(
        seed in 0..3_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u64>(), 1..=8_usize), 1..6),
    ) {
        let mut bytes = seeds()[seed].1.clone();
        for (at, value, len) in changes {
            let at = at.index(bytes.len());
            let end = bytes.len().min(at + len);
            bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
        }
        invariants::code_object(&bytes);
    }
}
