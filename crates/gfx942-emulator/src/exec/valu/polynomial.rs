//! Elementary functions in f64 to within a few units in the last place, without branches, so that loops vectorise.

use std::f64::consts::{LN_2, PI, SQRT_2};

/// 2 to the `x`; for results in the range of f32 only.
#[inline(always)]
pub(super) fn exp2(x: f64) -> f64 {
    // Beyond ±300 an f32 is infinite or zero anyway.
    let clamped = x.clamp(-300.0, 300.0);
    let whole = round_even(clamped);
    let t = (clamped - whole) * LN_2;
    let sum = polynomial(
        t,
        const {
            [
                1.0 / 87_178_291_200.0,
                1.0 / 6_227_020_800.0,
                1.0 / 479_001_600.0,
                1.0 / 39_916_800.0,
                1.0 / 3_628_800.0,
                1.0 / 362_880.0,
                1.0 / 40_320.0,
                1.0 / 5_040.0,
                1.0 / 720.0,
                1.0 / 120.0,
                1.0 / 24.0,
                1.0 / 6.0,
                0.5,
                1.0,
                1.0,
            ]
        },
    );
    let result = sum * power_of_two(whole);
    if x.is_nan() { x } else { result }
}

/// The logarithm to base 2.
#[inline(always)]
pub(super) fn log2(x: f64) -> f64 {
    let bits = x.to_bits();
    // The significand between √½ and √2.
    let significand = f64::from_bits(bits & 0x000f_ffff_ffff_ffff | 0x3ff0_0000_0000_0000);
    let above = significand > SQRT_2;
    let significand = if above { significand * 0.5 } else { significand };
    // The exponent as a float: an integer below 2⁵² in the low bits of 2⁵².
    let biased =
        f64::from_bits(bits >> 52 & 0x7ff | 0x4330_0000_0000_0000) - 4_503_599_627_370_496.0;
    let exponent = biased - if above { 1022.0 } else { 1023.0 };
    let s = (significand - 1.0) / (significand + 1.0);
    let square = s * s;
    let sum = polynomial(
        square,
        const {
            [
                1.0 / 25.0,
                1.0 / 23.0,
                1.0 / 21.0,
                1.0 / 19.0,
                1.0 / 17.0,
                1.0 / 15.0,
                1.0 / 13.0,
                1.0 / 11.0,
                1.0 / 9.0,
                1.0 / 7.0,
                1.0 / 5.0,
                1.0 / 3.0,
                1.0,
            ]
        },
    );
    let result = exponent + s * sum * (2.0 / LN_2);
    if x > 0.0 && x < f64::INFINITY {
        result
    } else if x == 0.0 {
        f64::NEG_INFINITY
    } else if x > 0.0 || x.is_nan() {
        x
    } else {
        -f64::NAN.abs()
    }
}

/// The sine of `x` turns.
#[inline(always)]
pub(super) fn sin_turns(x: f64) -> f64 {
    // Quarter turns; the remainder is exact.
    let quarters = round_even(x * 4.0);
    let rest = x - quarters * 0.25;
    let (sine, cosine) = near_zero(rest);
    // All f32 beyond 2⁵² are whole turns.
    let quadrant = quarters - 4.0 * (quarters * 0.25).floor();
    let odd = quadrant == 1.0 || quadrant == 3.0;
    let value = if odd { cosine } else { sine };
    let value = if quadrant >= 2.0 { -value } else { value };
    finish(if x == 0.0 { x } else { value + 0.0 }, x)
}

/// The cosine of `x` turns.
#[inline(always)]
pub(super) fn cos_turns(x: f64) -> f64 {
    let quarters = round_even(x * 4.0);
    let rest = x - quarters * 0.25;
    let (sine, cosine) = near_zero(rest);
    let quadrant = quarters - 4.0 * (quarters * 0.25).floor();
    let odd = quadrant == 1.0 || quadrant == 3.0;
    let value = if odd { sine } else { cosine };
    let value = if quadrant == 1.0 || quadrant == 2.0 { -value } else { value };
    finish(value + 0.0, x)
}

/// An angle without end has no sine.
#[inline(always)]
fn finish(value: f64, x: f64) -> f64 {
    if x.is_infinite() {
        -f64::NAN.abs()
    } else if x.is_nan() {
        x
    } else {
        value
    }
}

/// Sine and cosine of at most an eighth of a turn.
#[inline(always)]
fn near_zero(turns: f64) -> (f64, f64) {
    let angle = turns * (2.0 * PI);
    let square = angle * angle;
    let sine = polynomial(
        square,
        const {
            [
                1.0 / 355_687_428_096_000.0,
                -1.0 / 1_307_674_368_000.0,
                1.0 / 6_227_020_800.0,
                -1.0 / 39_916_800.0,
                1.0 / 362_880.0,
                -1.0 / 5_040.0,
                1.0 / 120.0,
                -1.0 / 6.0,
                1.0,
            ]
        },
    );
    let cosine = polynomial(
        square,
        const {
            [
                1.0 / 20_922_789_888_000.0,
                -1.0 / 87_178_291_200.0,
                1.0 / 479_001_600.0,
                -1.0 / 3_628_800.0,
                1.0 / 40_320.0,
                -1.0 / 720.0,
                1.0 / 24.0,
                -0.5,
                1.0,
            ]
        },
    );
    (angle * sine, cosine)
}

/// The polynomial with these coefficients, the highest first.
#[inline(always)]
fn polynomial<const N: usize>(x: f64, coefficients: [f64; N]) -> f64 {
    let mut sum = coefficients[0];
    let mut i = 1;
    while i < N {
        sum = sum * x + coefficients[i];
        i += 1;
    }
    sum
}

/// The nearest whole number, for magnitudes below 2⁵¹; larger ones are whole.
#[inline(always)]
fn round_even(x: f64) -> f64 {
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    if x.abs() < 2_251_799_813_685_248.0 { (x + MAGIC) - MAGIC } else { x }
}

/// 2 to a whole power between −1022 and 1023.
#[inline(always)]
fn power_of_two(whole: f64) -> f64 {
    // The exponent lands in the low bits of 2⁵² + …, from where it is shifted to its place.
    f64::from_bits((whole + (4_503_599_627_370_496.0 + 1023.0)).to_bits() << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arguments all over the range of f32, and some near 1.
    fn arguments() -> impl Iterator<Item = f64> {
        let spread = (0..200_000u32).map(|i| f32::from_bits(i.wrapping_mul(0x9e37_79b1)));
        let near = (0..2000).map(|i| f32::from_bits(0x3f80_0000 - 1000 + i));
        spread.chain(near).map(f64::from)
    }

    fn close(ours: f64, reference: f64, at: f64) {
        let error = (ours - reference).abs();
        assert!(
            ours == reference || error <= reference.abs() * 1e-15,
            "{at}: {ours} instead of {reference}"
        );
    }

    #[test]
    fn powers() {
        for x in arguments().filter(|x| x.abs() < 300.0) {
            close(exp2(x), libm::exp2(x), x);
        }
        assert_eq!(exp2(f64::NEG_INFINITY) as f32, 0.0);
        assert_eq!(exp2(f64::INFINITY) as f32, f32::INFINITY);
        assert_eq!([-3.0, 0.0, 10.0].map(exp2), [0.125, 1.0, 1024.0]);
        assert!(exp2(f64::NAN).is_nan());
    }

    #[test]
    fn logarithms() {
        for x in arguments().filter(|x| x.is_finite() && *x > 0.0) {
            close(log2(x), libm::log2(x), x);
        }
        assert_eq!([0.5, 1.0, 1024.0].map(log2), [-1.0, 0.0, 10.0]);
        assert_eq!(
            [0.0, -0.0, f64::INFINITY].map(log2),
            [f64::NEG_INFINITY, f64::NEG_INFINITY, f64::INFINITY]
        );
        assert!(log2(-1.0).is_nan() && log2(f64::NEG_INFINITY).is_nan() && log2(f64::NAN).is_nan());
    }

    #[test]
    fn sines() {
        for x in arguments().filter(|x| x.is_finite() && x.abs() < 1e9) {
            let angle = (x - x.round()) * (2.0 * PI);
            let (sine, cosine) = (libm::sin(angle), libm::cos(angle));
            assert!((sin_turns(x) - sine).abs() <= sine.abs() * 1e-14 + 1e-15, "sin {x}");
            assert!((cos_turns(x) - cosine).abs() <= cosine.abs() * 1e-14 + 1e-15, "cos {x}");
        }
        assert_eq!(
            [0.0, 0.25, 0.5, 0.75, f64::from(f32::MIN)].map(sin_turns),
            [0.0, 1.0, 0.0, -1.0, 0.0]
        );
        assert_eq!(
            [0.0, 0.25, 0.5, 0.75, f64::from(f32::MIN)].map(cos_turns),
            [1.0, 0.0, -1.0, 0.0, 1.0]
        );
        assert!(sin_turns(-0.0).is_sign_negative());
        assert!(sin_turns(f64::INFINITY).is_nan() && cos_turns(f64::NAN).is_nan());
    }
}
