use super::*;

const FORMATS: [(Fp8, u32); 2] = [(Fp8::Fp8, 12), (Fp8::Bf8, 11)];

#[test]
fn saturation_keeps_nan_and_clamps_the_rest() {
    for (format, _) in FORMATS {
        let values = [f32::INFINITY, f32::NEG_INFINITY, 1e9, -1e9, f32::NAN, -f32::NAN];
        assert_eq!(
            values.map(|value| format.from_f32(value, true)),
            [0x7f, 0xff, 0x7f, 0xff, 0x80, 0x80]
        );
        assert_eq!(values.map(|value| format.from_f32(value, false)), [0x80; 6]);
        assert_eq!(
            values.map(|value| format.from_f32_stochastic(value, 0, true)),
            [0x7f, 0xff, 0x7f, 0xff, 0x80, 0x80]
        );
        assert_eq!(values.map(|value| format.from_f32_stochastic(value, 0, false)), [0x80; 6]);
    }
}

#[test]
fn stochastic_rounding_keeps_what_is_exact() {
    for (format, _) in FORMATS {
        for code in (0..=u8::MAX).filter(|&code| code != 0x80) {
            for random in [0, 1, 0x8000_0000, u32::MAX] {
                assert_eq!(format.from_f32_stochastic(format.to_f32(code), random, false), code);
            }
        }
    }
}

/// The upper value is taken as often as the value is close to it.
#[test]
fn stochastic_rounding_is_fair() {
    for (format, unused) in FORMATS {
        for code in 8..0x7f_u8 {
            let (low, high) = (format.to_f32(code), format.to_f32(code + 1));
            for quarter in 0..4 {
                let value = -(low + (high - low) * quarter as f32 / 4.0);
                let num_up = (0..64_u32)
                    .filter(|&step| {
                        let random = (step << 26) | ((1 << unused) - 1);
                        format.from_f32_stochastic(value, random, false) == (code + 1) | 0x80
                    })
                    .count();
                assert_eq!(num_up, quarter * 16, "{code:#x} + {quarter}/4");
            }
        }
    }
}

/// On the way to a denormal, what a normal number would not hold is gone before the random bits come.
#[test]
fn stochastic_rounding_of_denormals_is_fair_to_the_bits_of_a_normal() {
    // 2⁻¹⁰ is FP8's smallest value; 1.0625 × 2⁻¹¹ has four fraction bits, of which FP8 holds three.
    let half = f32::from_bits((127 - 11) << 23);
    let up = |value: f32, random: u32| Fp8::Fp8.from_f32_stochastic(value, random, false);
    assert_eq!((up(half, 0x7fff_ffff), up(half, 0x8000_0000)), (0, 1));
    assert_eq!((up(half * 1.0625, 0x7fff_ffff), up(half * 1.125, 0x7fff_ffff)), (0, 1));
    assert_eq!(up(f32::MIN_POSITIVE / 2.0, u32::MAX), 0);
    assert_eq!(up(-half, 0), 0, "no negative zero");
}
