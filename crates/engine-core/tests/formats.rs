//! The FP8 formats against ml_dtypes (`oracles/fp8_formats.py`), and saturation, which it does not have.

use engine_core::formats::{Fp8Format, Overflow};
use serde_json::Value;

fn fixture() -> Value {
    serde_json::from_str(include_str!("oracles/fp8_formats.json")).unwrap()
}

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap()).unwrap()
}

#[test]
fn every_code_means_what_ml_dtypes_says() {
    let fixture = fixture();
    for format in Fp8Format::ALL {
        let decode = fixture[format!("{format:?}")]["decode"].as_array().unwrap();
        assert_eq!(decode.len(), 256);
        for (code, want) in decode.iter().enumerate() {
            let got = format.decode(u8::try_from(code).unwrap());
            match want.as_u64() {
                None => assert!(got.is_nan(), "{format:?} {code:#x}: {got}"),
                Some(_) => assert_eq!(got.to_bits(), number(want), "{format:?} {code:#x}: {got}"),
            }
        }
    }
}

#[test]
fn every_rounding_boundary_falls_where_ml_dtypes_has_it() {
    let fixture = fixture();
    for format in Fp8Format::ALL {
        let encode = fixture[format!("{format:?}")]["encode"].as_array().unwrap();
        assert!(encode.len() > 1500, "{} pairs", encode.len());
        for pair in encode {
            let x = f32::from_bits(number(&pair[0]));
            let got = u32::from(format.encode(x, Overflow::Special));
            assert_eq!(got, number(&pair[1]), "{format:?}: {x:e}");
        }
    }
}

#[test]
fn saturation_gives_the_largest_and_leaves_the_rest_as_it_is() {
    let fixture = fixture();
    for format in Fp8Format::ALL {
        for sign in [1.0_f32, -1.0] {
            for x in [f32::INFINITY, f32::MAX, format.max() * 2.0] {
                assert_eq!(
                    format.decode(format.encode(sign * x, Overflow::Saturate)),
                    sign * format.max()
                );
            }
        }
        assert!(format.decode(format.encode(f32::NAN, Overflow::Saturate)).is_nan());
        for pair in fixture[format!("{format:?}")]["encode"].as_array().unwrap() {
            let x = f32::from_bits(number(&pair[0]));
            if x.abs() <= format.max() {
                assert_eq!(
                    u32::from(format.encode(x, Overflow::Saturate)),
                    number(&pair[1]),
                    "{x:e}"
                );
            }
        }
    }
}
