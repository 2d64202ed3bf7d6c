//! The fuzz targets' seeds, and a few thousand steps away from them.

use std::fs;
use std::path::PathBuf;

use code_object::{CodeObject, KernelDescriptor};
use proptest::prelude::*;

use crate::{instruction, kernel};

const NAMES: [&str; 5] = ["exchange", "matrix", "memory", "numbers", "stack"];

fn path(target: &str, name: &str) -> PathBuf {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds");
    PathBuf::from(seeds).join(target).join(name)
}

fn seed(target: &str, name: &str) -> Vec<u8> {
    fs::read(path(target, name)).unwrap()
}

/// With `KVASIR_WRITE_SEEDS=1` the seeds are made first, from `seeds.hip`.
#[test]
fn every_seed_runs_and_decodes() {
    if std::env::var_os("KVASIR_WRITE_SEEDS").is_some() {
        write();
    }
    for name in NAMES {
        assert_eq!(kernel::kernel(&seed("kernel", name)), Ok(()), "{name}");
        let code = seed("instruction", name);
        let num_accepted = instruction::instructions(&code);
        assert!(num_accepted * 8 > code.len(), "{name}: {num_accepted} instructions");
    }
}

fn write() {
    let toolchain = hip_toolchain::for_tests().expect("seeds are compiled");
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("seeds.hip");
    let object = source.with_extension("hsaco");
    fs::write(&source, include_str!("seeds.hip")).unwrap();
    toolchain.compile(&source, "gfx942", &["-O2"], &object).unwrap();
    let object = CodeObject::parse(&fs::read(object).unwrap()).unwrap();
    for name in NAMES {
        let compiled = object.kernel(name).unwrap();
        let num_bytes = object.symbols[name].num_bytes;
        let code = object.bytes(compiled.entry(), num_bytes).unwrap();
        let descriptor = KernelDescriptor::NUM_BYTES as u64;
        let descriptor = object.bytes(compiled.descriptor_address, descriptor).unwrap();
        fs::write(path("kernel", name), [descriptor, code].concat()).unwrap();
        fs::write(path("instruction", name), code).unwrap();
    }
}

#[test]
fn every_bit_of_a_descriptor_may_be_wrong() {
    for name in NAMES {
        let seed = seed("kernel", name);
        for bit in 0..8 * KernelDescriptor::NUM_BYTES {
            let mut bytes = seed.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let _ = kernel::kernel(&bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn any_words_may_be_wrong(
        name in prop::sample::select(&NAMES),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u32>()), 1..6),
    ) {
        let mut bytes = seed("kernel", name);
        let (_, code) = bytes.split_at_mut(KernelDescriptor::NUM_BYTES);
        let words = code.as_chunks_mut().0;
        for (at, word) in changes {
            words[at.index(words.len())] = word.to_le_bytes();
        }
        let _ = kernel::kernel(&bytes);
        instruction::instructions(&bytes);
    }
}
