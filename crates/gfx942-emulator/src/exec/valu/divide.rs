//! The three steps of division: scale, multiply-add and fix up. Between them the compiler refines an approximate
//! reciprocal; together they round like IEEE 754.

use super::call::{Call, STAGING, at, pack};
use super::directed;
use super::value::{F16, Value, collect};
use crate::exec::Trap;
use crate::exec::sources::set_scalar64;
use crate::exec::wave::expand;
use crate::isa::Op;
use crate::numeric::{F16Rules, Rounding};

/// What the hardware makes of 0 ÷ 0 and ∞ ÷ ∞.
const INVALID_F32: f32 = f32::from_bits(0xffc0_0000);
const INVALID_F64: f64 = f64::from_bits(0xfff8_0000_0000_0000);

/// Executes them.
pub(super) fn execute(call: &mut Call<'_>) -> Result<(), Trap> {
    use Op::*;
    let mode = call.wave.mode;
    match call.op() {
        v_div_scale_f32 => scale(call, scale_f32),
        v_div_scale_f64 => scale(call, scale_f64),
        v_div_fixup_f32 => {
            let rounding = Rounding::of(mode.round_f32());
            call.map3(|a: f32, b: f32, c: f32| fixup_f32(a, b, c, rounding))
        }
        v_div_fixup_f64 => {
            let rounding = Rounding::of(mode.round_f16_f64());
            call.map3(|a: f64, b: f64, c: f64| fixup_f64(a, b, c, rounding))
        }
        v_div_fixup_f16 | v_div_fixup_legacy_f16 => {
            let rules = F16Rules::of(mode);
            call.map3(|a: F16, b: F16, c: F16| {
                let [a, b, c] = [a, b, c].map(|value| rules.read(value.0));
                F16(F16Rules::IEEE.round(fixup(a, b, c, INVALID_F32)))
            })
        }
        v_div_fmas_f32 => {
            let scaled = expand(call.wave.vcc());
            let rounding = Rounding::of(mode.round_f32());
            // Sources are read as bits: their denormals are kept in every mode.
            call.lanes3(|i, a: u32, b: u32, c: u32| {
                let [a, b, c] = [a, b, c].map(f32::from_bits);
                fmas_f32(a, b, c, scaled[i] != 0, rounding)
            })
        }
        v_div_fmas_f64 if mode.round_f16_f64() == 0 => {
            let scaled = expand(call.wave.vcc());
            call.lanes3(|i, a: u64, b: u64, c: u64| {
                let [a, b, c] = [a, b, c].map(f64::from_bits);
                fmas_f64(a, b, c, scaled[i] != 0)
            })
        }
        op => Err(Trap::Unimplemented(format!("{} rounded other than to nearest", op.name()))),
    }
}

/// The first source, scaled, and in the mask whether the quotient has to be scaled back.
fn scale<T: Value>(call: &mut Call<'_>, f: fn(T, T, T) -> (T, bool)) -> Result<(), Trap> {
    let mut staging = [STAGING; 3];
    let [s0, s1, s2] = &mut staging;
    let (a, b, c) = (call.source::<T>(0, s0)?, call.source::<T>(1, s1)?, call.source::<T>(2, s2)?);
    let result = collect!(T, i => f(at(a, i), at(b, i), at(c, i)).0);
    let scaled = pack(|i| f(at(a, i), at(b, i), at(c, i)).1);
    call.write::<T>(result)?;
    set_scalar64(call.wave, call.inst.sdst, scaled & call.mask)
}

macro_rules! scale {
    ($name:ident, $float:ty, $fraction:literal, $mask:literal, $far:literal, $tiny:literal, $power:expr) => {
        /// `value` is the denominator or the numerator; the other two are given as well.
        ///
        /// Two places of the manual cannot be meant as they stand. Its condition on the reciprocal names the wrong
        /// width for f32: what matters is that `v_rcp` would flush it. And a denominator with such a reciprocal would
        /// overflow if it was scaled up: it is scaled down, so that the quotient is scaled up, as `v_div_fmas` expects.
        fn $name(value: $float, denominator: $float, numerator: $float) -> ($float, bool) {
            let exponent = |x: $float| (x.to_bits() >> $fraction & $mask) as i32;
            let power: $float = $power;
            let is_denormal = |x: $float| x.is_subnormal();
            if numerator == 0.0 || denominator == 0.0 {
                return (<$float>::NAN, false);
            }
            let of_denominator = if value == denominator { value * power } else { value };
            let of_numerator = if value == numerator { value * power } else { value };
            let tiny_reciprocal = is_denormal(1.0 / denominator);
            // Also one that rounds to zero: it may be half of the least denormal, and must not be rounded twice.
            let tiny_quotient = (numerator / denominator).abs() < <$float>::MIN_POSITIVE;
            if exponent(numerator) - exponent(denominator) >= $far {
                (of_denominator, true)
            } else if is_denormal(denominator) {
                (value * power, false)
            } else if tiny_reciprocal && tiny_quotient {
                (if value == denominator { value / power } else { value }, true)
            } else if tiny_reciprocal {
                (value / power, false)
            } else if tiny_quotient {
                (of_numerator, true)
            } else if exponent(numerator) <= $tiny {
                (value * power, false)
            } else {
                (value, false)
            }
        }
    };
}

scale!(scale_f32, f32, 23, 0xff, 96, 23, 18_446_744_073_709_551_616.0);
scale!(scale_f64, f64, 52, 0x7ff, 768, 53, 340_282_366_920_938_463_463_374_607_431_768_211_456.0);

/// a × b + c, times 2^±64 if the quotient was scaled, rounded once.
///
/// The manual's factor 2³² fits neither way of scaling; what undoes them is 2⁶⁴ for a large and 2⁻⁶⁴ for a small
/// quotient, as manuals of later generations have it.
fn fmas_f32(a: f32, b: f32, c: f32, scaled: bool, rounding: Rounding) -> f32 {
    if !scaled {
        return if rounding == Rounding::NearestEven {
            a.mul_add(b, c)
        } else {
            directed::fma_f32(a, b, c, rounding)
        };
    }
    let large = c.to_bits() >> 23 & 0xff > 127;
    let factor =
        if large { 18_446_744_073_709_551_616.0 } else { 1.0 / 18_446_744_073_709_551_616.0 };
    let (sum, error) = directed::two_sum(f64::from(a) * f64::from(b), f64::from(c));
    // Powers of two change no digit of an f64 in this range.
    directed::to_f32(sum * factor, error * factor, rounding)
}

/// The same for f64, with 2^±128.
fn fmas_f64(a: f64, b: f64, c: f64, scaled: bool) -> f64 {
    let sum = a.mul_add(b, c);
    if !scaled || !sum.is_finite() {
        return sum;
    }
    let factor = 340_282_366_920_938_463_463_374_607_431_768_211_456.0;
    if c.to_bits() >> 52 & 0x7ff > 1023 {
        return sum * factor;
    }
    let result = sum / factor;
    let back = result * factor;
    let unit = f64::from_bits(1) * factor;
    // Where a denormal result seems half way between two, it is the sum's own rounding that decides.
    let half_way = result.abs() <= f64::MIN_POSITIVE && (sum - back).abs() * 2.0 == unit;
    let error = fma_error(a, b, c, sum);
    if !half_way || error == 0.0 {
        return result;
    }
    let lower = if back.abs() > sum.abs() { step(result, -1) } else { result };
    if (error > 0.0) == (sum > 0.0) { step(lower, 1) } else { lower }
}

/// The next denormal away from zero, or towards it.
fn step(value: f64, by: i64) -> f64 {
    f64::from_bits(value.to_bits().wrapping_add_signed(by))
}

/// The sign of what `sum`, the rounded a × b + c, lacks (Boldo and Muller's exact error, without its last term).
fn fma_error(a: f64, b: f64, c: f64, sum: f64) -> f64 {
    let product = a * b;
    let product_error = a.mul_add(b, -product);
    let (alpha, alpha_error) = directed::two_sum(c, product_error);
    let (beta, beta_error) = directed::two_sum(product, alpha);
    ((beta - sum) + beta_error) + alpha_error
}

macro_rules! fixup {
    ($name:ident, $float:ty, $fraction:literal, $mask:literal, $underflow:literal, $overflow:literal, $invalid:expr) => {
        /// The quotient `approximate` of `numerator` and `denominator`, with its sign and its special cases.
        ///
        /// Where the quotient is far beyond the range, so is an intermediate result, and `approximate` is a NaN. The
        /// manual has a case for an overflow, but under a condition (an infinite denominator) that an earlier case has
        /// taken; it is the difference of exponents that tells, as for the underflow.
        fn $name(
            approximate: $float,
            denominator: $float,
            numerator: $float,
            rounding: Rounding,
        ) -> $float {
            let exponent = |x: $float| (x.to_bits() >> $fraction & $mask) as i32;
            let is_special = |x: $float| x == 0.0 || !x.is_finite();
            if is_special(denominator) || is_special(numerator) {
                return fixup(approximate, denominator, numerator, $invalid);
            }
            let negative = denominator.is_sign_negative() != numerator.is_sign_negative();
            let is_away = rounding == if negative { Rounding::Down } else { Rounding::Up };
            match exponent(numerator) - exponent(denominator) {
                ..$underflow if is_away => <$float>::from_bits(1).with_sign(negative),
                ..$underflow => <$float>::ZERO.with_sign(negative),
                $overflow.. if is_away || rounding == Rounding::NearestEven => {
                    <$float>::INFINITY.with_sign(negative)
                }
                $overflow.. => <$float>::MAX.with_sign(negative),
                _ => approximate.with_sign(negative),
            }
        }
    };
}

fixup!(fixup_f32, f32, 23, 0xff, -150, 129, INVALID_F32);
fixup!(fixup_f64, f64, 52, 0x7ff, -1075, 1025, INVALID_F64);

/// The part that is alike for all widths.
fn fixup<T: Float>(approximate: T, denominator: T, numerator: T, invalid: T) -> T {
    let negative = denominator.is_negative() != numerator.is_negative();
    if numerator.is_nan() {
        numerator.quiet()
    } else if denominator.is_nan() {
        denominator.quiet()
    } else if denominator.is_zero() && numerator.is_zero()
        || denominator.is_infinite() && numerator.is_infinite()
    {
        invalid
    } else if denominator.is_zero() || numerator.is_infinite() {
        T::INFINITY.with_sign(negative)
    } else if denominator.is_infinite() || numerator.is_zero() {
        T::ZERO.with_sign(negative)
    } else {
        approximate.with_sign(negative)
    }
}

trait Float: Copy {
    const ZERO: Self;
    const INFINITY: Self;
    fn is_nan(self) -> bool;
    fn is_zero(self) -> bool;
    fn is_infinite(self) -> bool;
    fn is_negative(self) -> bool;
    fn quiet(self) -> Self;
    fn with_sign(self, negative: bool) -> Self;
}

macro_rules! float {
    ($float:ty, $quiet:literal) => {
        impl Float for $float {
            const ZERO: Self = 0.0;
            const INFINITY: Self = <$float>::INFINITY;

            fn is_nan(self) -> bool {
                self.is_nan()
            }

            fn is_zero(self) -> bool {
                self == 0.0
            }

            fn is_infinite(self) -> bool {
                self.is_infinite()
            }

            fn is_negative(self) -> bool {
                self.is_sign_negative()
            }

            fn quiet(self) -> Self {
                Self::from_bits(self.to_bits() | $quiet)
            }

            fn with_sign(self, negative: bool) -> Self {
                if negative { -self.abs() } else { self.abs() }
            }
        }
    };
}

float!(f32, 0x0040_0000);
float!(f64, 0x0008_0000_0000_0000);

#[cfg(test)]
mod tests;
