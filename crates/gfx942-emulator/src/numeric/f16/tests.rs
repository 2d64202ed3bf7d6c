use half::f16;

use super::*;

const MODES: [Rounding; 4] =
    [Rounding::NearestEven, Rounding::Up, Rounding::Down, Rounding::TowardZero];

/// The definition of rounding, in integers: `value` × 2⁻⁴⁸ between two neighbouring magnitudes.
fn expected(value: i128, rounding: Rounding) -> u16 {
    let unit = |code: u16| (f64::from(f16::from_bits(code)) * 2f64.powi(48)) as i128;
    let (negative, magnitude) = (value < 0, value.abs());
    let (mut low, mut high) = (0u16, 0x7c00u16);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if unit(middle) <= magnitude { low = middle } else { high = middle }
    }
    let below = magnitude - unit(low);
    let above = if high == 0x7c00 { 1 << 64 } else { unit(high) } - magnitude;
    let up = match rounding {
        _ if below == 0 => false,
        Rounding::NearestEven => below > above || below == above && low & 1 == 1,
        Rounding::Up => !negative,
        Rounding::Down => negative,
        Rounding::TowardZero => false,
    };
    (low + u16::from(up)) | (u16::from(negative) << 15)
}

/// The integers of the definition, from a finite code.
fn exact(code: u16) -> i128 {
    (f64::from(f16::from_bits(code)) * 2f64.powi(24)) as i128
}

fn random(state: &mut u64) -> u16 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    (*state >> 48) as u16
}

#[test]
fn every_code_has_the_value_that_half_gives_it() {
    for code in 0..=u16::MAX {
        let (ours, theirs) = (to_f32(code), f16::from_bits(code).to_f32());
        assert!(
            ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan(),
            "{code:#x}"
        );
        if !ours.is_nan() {
            assert_eq!(F16Rules::IEEE.round(ours), code);
        }
    }
    assert_eq!(F16Rules::IEEE.round(to_f32(0x7c01)), 0x7e01, "quiet, with its payload");
}

#[test]
fn every_boundary_is_rounded_by_the_definition() {
    for rounding in MODES {
        let rules = F16Rules { rounding, ..F16Rules::IEEE };
        for code in 0..0x7c00 {
            let low = to_f32(code);
            let high = if code == 0x7bff { 65536.0 } else { to_f32(code + 1) };
            let middle = (low + high) / 2.0;
            for value in
                [low.next_up(), middle.next_down(), middle, middle.next_up(), high.next_down()]
            {
                for value in [value, -value] {
                    let units = f64::from(value) * 2f64.powi(48);
                    // Far below the smallest denormal, any inexact value will do.
                    let units = if units.abs() < 1.0 { units.signum() } else { units.trunc() };
                    // The definition's range ends where f16's next value would be.
                    let want = expected(units as i128, rounding);
                    assert_eq!(rules.round(value), want, "{value:e} {rounding:?}");
                }
            }
        }
    }
}

#[test]
fn overflow_goes_where_the_rounding_and_fp16_ovfl_say() {
    let beyond = |rounding, saturate| {
        let rules = F16Rules { rounding, saturate, ..F16Rules::IEEE };
        [1e6, -1e6, f32::INFINITY].map(|value| rules.round(value))
    };
    assert_eq!(beyond(Rounding::NearestEven, false), [0x7c00, 0xfc00, 0x7c00]);
    assert_eq!(beyond(Rounding::Up, false), [0x7c00, 0xfbff, 0x7c00]);
    assert_eq!(beyond(Rounding::Down, false), [0x7bff, 0xfc00, 0x7c00]);
    assert_eq!(beyond(Rounding::TowardZero, false), [0x7bff, 0xfbff, 0x7c00]);
    assert_eq!(beyond(Rounding::Up, true), [0x7bff, 0xfbff, 0x7c00]);
}

#[test]
fn denormals_are_flushed_on_either_side() {
    let mode = |denormals: u32| F16Rules::of(Mode(denormals << 6));
    assert_eq!(mode(0).read(0x83ff).to_bits(), 0x8000_0000);
    assert_eq!(mode(1).read(0x83ff), -1023.0 / 16_777_216.0);
    assert_eq!(mode(1).round(-3.0e-5), 0x8000);
    assert_eq!(mode(2).round(-3.0e-5), F16Rules::IEEE.round(-3.0e-5));
}

#[test]
fn arithmetic_is_rounded_once() {
    let mut state = 1;
    for rounding in MODES {
        let rules = F16Rules { rounding, ..F16Rules::IEEE };
        let check = |ours: u16, value: i128, what: [u16; 3]| {
            if value != 0 {
                assert_eq!(ours, expected(value, rounding), "{what:x?} {rounding:?}");
            } else {
                assert_eq!(ours & 0x7fff, 0);
            }
        };
        for _ in 0..100_000 {
            let [a, b, c] = [(); 3].map(|()| random(&mut state));
            // The third operand close to the product, to cancel.
            let near = rules.mul(a, b) ^ 0x8000 ^ (c & 3);
            for c in [c, near] {
                if [a, b, c].iter().any(|x| x & 0x7c00 == 0x7c00) {
                    continue;
                }
                check(rules.mul(a, b), exact(a) * exact(b), [a, b, 0]);
                check(rules.add(a, b), (exact(a) + exact(b)) << 24, [a, b, 0]);
                check(rules.fma(a, b, c), exact(a) * exact(b) + (exact(c) << 24), [a, b, c]);
            }
        }
    }
}

#[test]
fn a_sum_of_opposites_is_negative_only_when_rounding_down() {
    let add = |rounding| F16Rules { rounding, ..F16Rules::IEEE }.add(0x3c00, 0xbc00);
    assert_eq!(MODES.map(add), [0, 0, 0x8000, 0]);
    assert_eq!(F16Rules { rounding: Rounding::Down, ..F16Rules::IEEE }.add(0, 0), 0);
}
