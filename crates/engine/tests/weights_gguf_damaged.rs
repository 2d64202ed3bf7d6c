//! Damaged and hostile GGUF files: an error that says what is wrong, never a panic, and never
//! memory on a lying count's word.

#[allow(dead_code, reason = "the fuzz targets use all of it")]
#[path = "../../../fuzz/src/invariants.rs"]
mod invariants;
mod weights_support;

use engine::weights::gguf::{Gguf, GgufError, checkpoint_from_bytes};
use engine::weights::hf;
use engine_core::checkpoint::Checkpoint;
use proptest::prelude::*;
use weights_support::*;

fn error_of(file: &GgufFile) -> GgufError {
    Gguf::from_bytes(&file.to_bytes()).unwrap_err()
}

#[test]
fn other_files_and_versions_are_told_apart() {
    for (bytes, expected) in [
        (&b""[..], "not a GGUF file"),
        (b"PK\x03\x04 zip", "not a GGUF file"),
        (b"GGU", "not a GGUF file"),
        (b"GGUF", "ends inside the version"),
        (b"GGUF\x01\x00\x00\x00", "version 1"),
        (b"GGUF\x00\x00\x00\x03", "big-endian"),
        (b"GGUF\x07\x00\x00\x00", "version 7"),
    ] {
        let error = Gguf::from_bytes(bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut file = small_model("llama").file;
    file.version = 2;
    assert_eq!(Gguf::from_bytes(&file.to_bytes()).unwrap().version, 2);
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = small_model("llama").file.to_bytes();
    assert!(Gguf::from_bytes(&bytes).is_ok());
    for len in 0..bytes.len() {
        assert!(Gguf::from_bytes(&bytes[..len]).is_err(), "{len} of {} bytes", bytes.len());
    }
}

#[test]
fn lying_counts_are_refused_before_anything_is_allocated() {
    for count in [1 << 20, 1 << 33, 1 << 62, u64::MAX] {
        let mut file = small_model("llama").file;
        file.num_tensors = Some(count);
        assert!(matches!(error_of(&file), GgufError::CountTooLarge { .. }));
        let mut file = small_model("llama").file;
        file.num_pairs = Some(count);
        assert!(matches!(error_of(&file), GgufError::CountTooLarge { .. }));
        for element_type in [0, 4, 7, 8, 12] {
            let mut file = small_model("llama").file;
            file.set("a.list", array_header(element_type, count));
            let error = error_of(&file);
            assert!(matches!(error, GgufError::CountTooLarge { .. }), "{error}");
            assert!(error.to_string().contains("a.list"), "{error}");
        }
    }
}

#[test]
fn nested_arrays_and_unknown_value_types_are_refused_by_key() {
    let mut bad_type = 99u32.to_le_bytes().to_vec();
    bad_type.extend([0; 8]);
    let mut bad_bool = bool_value(true);
    bad_bool[4] = 2;
    let mut bad_text = str_value("ab");
    *bad_text.last_mut().unwrap() = 0xff;
    for (value, expected) in [
        (array_header(9, 1), "array of arrays"),
        (array_header(77, 0), "type 77"),
        (bad_type, "type 99"),
        (bad_bool, "neither false"),
        (bad_text, "UTF-8"),
    ] {
        let mut file = small_model("llama").file;
        file.set("a.key", value);
        let error = error_of(&file).to_string();
        assert!(error.contains("a.key") && error.contains(expected), "{error}");
    }
}

#[test]
fn absurd_dimensions_and_offsets_are_refused_by_tensor() {
    const NAME: &str = "blk.0.ffn_up.weight";
    let spoil = |change: &dyn Fn(&mut GgufTensor)| {
        let mut file = small_model("llama").file;
        change(file.tensor_mut(NAME));
        let error = error_of(&file);
        assert!(error.to_string().contains(NAME), "{error}");
        error
    };
    for dims in [
        vec![],
        vec![0],
        vec![16, 0],
        vec![1; 5],
        vec![u64::MAX],
        vec![u64::MAX, u64::MAX],
        vec![1 << 32, 1 << 32],
        vec![1 << 31, 1 << 31],
        vec![1 << 16, 1 << 16, 1 << 16, 1 << 16],
    ] {
        let error = spoil(&|tensor| tensor.dims = dims.clone());
        let is_bad = matches!(error, GgufError::BadTensor { .. } | GgufError::Truncated { .. });
        assert!(is_bad, "{dims:?}: {error}");
    }
    let error = spoil(&|tensor| {
        tensor.type_id = Q4_0;
        tensor.dims = vec![48, 2];
    });
    assert!(error.to_string().contains("blocks of 32"), "{error}");
    for offset in [1, 31, u64::MAX] {
        let error = spoil(&|tensor| tensor.offset = Some(offset));
        assert!(matches!(error, GgufError::BadTensor { .. }), "{error}");
    }
    for offset in [1 << 20, 1 << 62, u64::MAX - 31] {
        let error = spoil(&|tensor| tensor.offset = Some(offset));
        assert!(matches!(error, GgufError::Truncated { .. }), "{error}");
    }
    for (type_id, expected) in [(13, "Q5_K"), (24, "I8"), (4, "number 4"), (u32::MAX, "number")] {
        let error = spoil(&|tensor| tensor.type_id = type_id);
        assert!(
            matches!(&error, GgufError::UnsupportedType { found, .. } if found.contains(expected)),
            "{error}"
        );
        assert!(error.to_string().contains("Q6_K"), "names what can be read: {error}");
    }
}

#[test]
fn overlapping_and_doubled_tensors_are_refused() {
    let mut file = small_model("llama").file;
    file.tensor_mut("blk.0.ffn_up.weight").offset = Some(32);
    let error = error_of(&file);
    assert!(matches!(error, GgufError::Overlap { .. }), "{error}");
    assert!(error.to_string().contains("blk.0.ffn_up.weight"), "{error}");

    let mut file = small_model("llama").file;
    let again = file.tensors[3].clone();
    file.tensors.push(again);
    let error = error_of(&file);
    assert!(matches!(error, GgufError::Duplicate { what: "tensor", .. }), "{error}");

    let mut file = small_model("llama").file;
    let again = file.pairs[2].clone();
    file.pairs.push(again);
    let error = error_of(&file);
    assert!(matches!(error, GgufError::Duplicate { what: "metadata key", .. }), "{error}");
}

#[test]
fn alignment_is_honoured_and_checked() {
    let mut file = small_model("llama").file;
    file.alignment = 256;
    file.set("general.alignment", u32_value(256));
    assert!(checkpoint_from_bytes("x", file.to_bytes()).is_ok());
    for alignment in [0, 3, 48, u32::MAX, 1 << 31] {
        file.set("general.alignment", u32_value(alignment));
        let error = error_of(&file).to_string();
        assert!(error.contains("general.alignment"), "{error}");
    }
}

#[test]
fn one_part_of_a_split_model_is_refused() {
    let mut file = small_model("llama").file;
    file.set("split.no", u32_value(1)).set("split.count", u32_value(3));
    let error = error_of(&file);
    assert_eq!(error, GgufError::Split { part: 2, count: 3 });
    file.set("split.count", u32_value(1));
    assert!(Gguf::from_bytes(&file.to_bytes()).is_ok());
}

/// Length of header, metadata and directory: where a flip does something.
fn directory_len(bytes: &[u8]) -> usize {
    let gguf = Gguf::from_bytes(bytes).unwrap();
    gguf.tensors.iter().map(|tensor| tensor.range.start).min().unwrap()
}

#[test]
fn no_single_bit_flip_panics() {
    let bytes = small_model("qwen3").file.to_bytes();
    let mut num_accepted = 0;
    for at in 0..directory_len(&bytes) {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            num_accepted += usize::from(invariants::gguf(&flipped));
        }
    }
    // Flips in names and harmless values are accepted: the readable part is being exercised.
    assert!(num_accepted > 100, "{num_accepted}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_damage_panics(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        arch in prop::sample::select(vec!["llama", "qwen2", "qwen3"]),
    ) {
        let mut bytes = small_model(arch).file.to_bytes();
        let directory_len = directory_len(&bytes);
        for (at, value) in flips {
            bytes[at.index(directory_len)] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        invariants::gguf(&bytes);
    }

    #[test]
    fn no_bytes_after_the_magic_panic(tail in prop::collection::vec(any::<u8>(), 0..256)) {
        invariants::gguf(&[b"GGUF\x03\x00\x00\x00", &tail[..]].concat());
    }

    #[test]
    fn no_damaged_safetensors_panics(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let model = small_model("llama");
        let config = checkpoint_from_bytes("x", model.file.to_bytes()).unwrap().config().clone();
        let mut bytes = safetensors_bytes(&model.expected);
        let header_len = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        for (at, value) in flips {
            bytes[at.index(header_len)] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(entries) = hf::safetensors_from_bytes(&bytes) {
            for entry in entries {
                prop_assert!(entry.range.end <= bytes.len());
            }
        }
        if let Ok(checkpoint) = hf::checkpoint_from_bytes(config, "mutated", bytes) {
            for tensor in engine::weights::expected_tensors(checkpoint.config()) {
                read_all(&checkpoint, &tensor.name, &tensor.shape);
            }
        }
    }
}
