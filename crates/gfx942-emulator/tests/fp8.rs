//! The 8-bit formats against ml_dtypes: see `oracles/fp8_ml_dtypes.py`.

use std::collections::HashMap;

use gfx942_emulator::numeric::Fp8;
use serde::Deserialize;

#[derive(Deserialize)]
struct Format {
    values: Vec<Option<u32>>,
    boundaries: Vec<(u32, u8, u8)>,
}

fn formats() -> [(Fp8, Format); 2] {
    let fixture = include_str!("oracles/fp8_ml_dtypes.json");
    let mut fixture: HashMap<String, Format> = serde_json::from_str(fixture).unwrap();
    [(Fp8::Fp8, "fp8"), (Fp8::Bf8, "bf8")]
        .map(|(format, name)| (format, fixture.remove(name).unwrap()))
}

#[test]
fn all_codes_decode_as_in_ml_dtypes() {
    for (format, fixture) in formats() {
        assert_eq!(fixture.values.len(), 256);
        for (code, value) in (0..=u8::MAX).zip(fixture.values) {
            let ours = format.to_f32(code);
            assert_eq!((!ours.is_nan()).then_some(ours.to_bits()), value, "{format:?} {code:#x}");
        }
    }
}

#[test]
fn all_boundaries_encode_as_in_ml_dtypes() {
    for (format, fixture) in formats() {
        assert!(fixture.boundaries.len() > 6 * 127);
        for (bits, positive, negative) in fixture.boundaries {
            let value = f32::from_bits(bits);
            let ours = [value, -value].map(|value| format.from_f32(value, false));
            assert_eq!(ours, [positive, negative], "{format:?} {value:e}");
        }
    }
}
