//! Every GGUF type against the PyPI package `gguf`, bit for bit: `tests/oracles/gguf_dequant.py`
//! wrote the fixture, with that package's own writer.

mod weights_support;

use engine::weights::TensorFormat;
use engine::weights::gguf::{Gguf, TensorInfo};
use weights_support::repository;

const FORMATS: [TensorFormat; 8] = [
    TensorFormat::F32,
    TensorFormat::F16,
    TensorFormat::BF16,
    TensorFormat::Q4_0,
    TensorFormat::Q4_1,
    TensorFormat::Q8_0,
    TensorFormat::Q4_K,
    TensorFormat::Q6_K,
];

fn fixture() -> Vec<u8> {
    std::fs::read(repository("tests/oracles/gguf_dequant.gguf")).unwrap()
}

fn widen(file: &[u8], tensor: &TensorInfo) -> Vec<f32> {
    let &[num_rows, num_cols] = &tensor.shape[..] else {
        panic!("{} is no matrix", tensor.name);
    };
    let mut out = vec![f32::NAN; num_rows * num_cols];
    let row_bytes = tensor.range.len() / num_rows;
    let rows = file[tensor.range.clone()].chunks(row_bytes);
    for (row, out) in rows.zip(out.chunks_mut(num_cols)) {
        tensor.format.dequantize_row(row, out);
    }
    out
}

#[test]
fn every_format_is_bit_equal_to_gguf_py() {
    let file = fixture();
    let gguf = Gguf::from_bytes(&file).unwrap();
    for format in FORMATS {
        let stored = gguf.tensor(format.name()).unwrap();
        assert_eq!(stored.format, format);
        let expected = gguf.tensor(&format!("{format}.expected")).unwrap();
        assert_eq!((expected.format, &expected.shape), (TensorFormat::F32, &stored.shape));
        let (found, expected) = (widen(&file, stored), widen(&file, expected));
        assert!(found.len() >= 768, "{format}: a fixture too small to show anything");
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            // An infinite scale times zero is NaN, whose sign and payload IEEE 754 leaves open.
            let equal =
                found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
            assert!(equal, "{format} element {i}: {found:e} instead of {expected:e}");
        }
    }
}

/// The fixture holds the cases that it is there for.
#[test]
fn the_fixture_has_odd_values() {
    let file = fixture();
    let gguf = Gguf::from_bytes(&file).unwrap();
    for format in FORMATS {
        let values = widen(&file, gguf.tensor(&format!("{format}.expected")).unwrap());
        let has = |test: fn(&f32) -> bool| values.iter().any(test);
        assert!(has(|x| x.is_infinite()), "{format}: infinite");
        assert!(has(|x| *x > 0.0) && has(|x| *x < 0.0), "{format}: both signs");
        // The least f16 is 6e-8.
        assert!(has(|x| *x != 0.0 && x.abs() < 2e-5), "{format}: tiny");
        let num_finite = values.iter().filter(|x| x.is_finite()).count();
        assert!(num_finite * 2 > values.len(), "{format}: mostly numbers");
    }
}

#[test]
fn metadata_of_another_writer_are_read() {
    let gguf = Gguf::from_bytes(&fixture()).unwrap();
    let metadata = &gguf.metadata;
    assert_eq!(gguf.version, 3);
    assert_eq!(metadata.str("general.architecture").unwrap(), "fixture");
    assert_eq!(metadata.i32_array("fixture.numbers").unwrap(), [1, -2, 3]);
    assert_eq!(metadata.str_array("fixture.texts").unwrap(), ["", "ä", "🦀"]);
}

#[test]
#[should_panic(expected = "bytes of a Q4_0 row of 32 elements")]
fn a_row_of_the_wrong_size_is_refused() {
    TensorFormat::Q4_0.dequantize_row(&[0; 17], &mut [0.0; 32]);
}
