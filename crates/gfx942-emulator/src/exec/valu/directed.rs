//! f32 and f64 arithmetic rounded otherwise than the host does it.

use crate::numeric::Rounding;

/// a × b + c, rounded once.
pub(in crate::exec) fn fma_f32(a: f32, b: f32, c: f32, rounding: Rounding) -> f32 {
    // The product of two f32 is exact.
    let (product, addend) = (f64::from(a) * f64::from(b), f64::from(c));
    let (sum, error) = two_sum(product, addend);
    if sum == 0.0 {
        // Exactly zero: only here do the modes differ in sign.
        return zero(product, addend, rounding) as f32;
    }
    to_f32(sum, error, rounding)
}

/// sum + error as an f32, where |error| is at most half a unit in the last place of sum.
pub(in crate::exec) fn to_f32(sum: f64, error: f64, rounding: Rounding) -> f32 {
    let nearest = sum as f32;
    if !sum.is_finite() {
        return nearest;
    }
    let exact = f64::from(nearest);
    // Is the true value above, below or at the nearest f32 of the sum?
    let (above, below) =
        if exact == sum { (error > 0.0, error < 0.0) } else { (sum > exact, sum < exact) };
    match rounding {
        Rounding::NearestEven => nearest_of(sum, error),
        Rounding::Up if above => nearest.next_up(),
        Rounding::Down if below => nearest.next_down(),
        Rounding::TowardZero if above && nearest < 0.0 => nearest.next_up(),
        Rounding::TowardZero if below && nearest > 0.0 => nearest.next_down(),
        _ => nearest,
    }
}

/// To nearest: a sum that seems to be half way is not if there is an error.
fn nearest_of(sum: f64, error: f64) -> f32 {
    let odd = sum.to_bits() & 1 != 0;
    if error == 0.0 || odd {
        return sum as f32;
    }
    if (error > 0.0) == (sum > 0.0) {
        f64::from_bits(sum.to_bits() + 1) as f32
    } else {
        f64::from_bits(sum.to_bits() - 1) as f32
    }
}

/// a + b in f64.
pub(super) fn add_f64(a: f64, b: f64, rounding: Rounding) -> f64 {
    let (sum, error) = two_sum(a, b);
    if sum == 0.0 {
        return zero(a, b, rounding);
    }
    if sum.is_infinite() && a.is_finite() && b.is_finite() {
        return match rounding {
            Rounding::Down | Rounding::TowardZero if sum > 0.0 => f64::MAX,
            Rounding::Up | Rounding::TowardZero if sum < 0.0 => f64::MIN,
            _ => sum,
        };
    }
    match rounding {
        Rounding::Up if error > 0.0 => sum.next_up(),
        Rounding::Down if error < 0.0 => sum.next_down(),
        Rounding::TowardZero if error < 0.0 && sum > 0.0 => sum.next_down(),
        Rounding::TowardZero if error > 0.0 && sum < 0.0 => sum.next_up(),
        _ => sum,
    }
}

/// The sum and what its rounding lost.
pub(super) fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    let error = (a - (sum - b_part)) + (b - b_part);
    (sum, error)
}

/// The zero that terms with an exact sum of zero make.
fn zero(a: f64, b: f64, rounding: Rounding) -> f64 {
    let negative = match (a.is_sign_negative(), b.is_sign_negative()) {
        (true, true) => true,
        (false, false) => false,
        _ => rounding == Rounding::Down,
    };
    if negative { -0.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Rounding; 4] =
        [Rounding::NearestEven, Rounding::Up, Rounding::Down, Rounding::TowardZero];

    #[test]
    fn a_third_of_a_unit_goes_where_the_mode_says() {
        let tiny = f32::from_bits(0x3380_0000 - (1 << 23)); // 2⁻²⁵, a quarter of 1's last place
        let up = ALL.map(|rounding| fma_f32(1.0, 1.0, tiny, rounding));
        assert_eq!(up, [1.0, 1.0 + f32::EPSILON, 1.0, 1.0]);
        let down = ALL.map(|rounding| fma_f32(1.0, -1.0, -tiny, rounding));
        assert_eq!(down, [-1.0, -1.0, -1.0 - f32::EPSILON, -1.0]);
        // Below the last place of the f64 sum, too.
        let least = f32::from_bits(1);
        let up = ALL.map(|rounding| fma_f32(1.0, 1.0, least, rounding));
        assert_eq!(up, [1.0, 1.0 + f32::EPSILON, 1.0, 1.0]);
        let less = ALL.map(|rounding| fma_f32(1.0, 1.0, -least, rounding));
        let below_one = 1.0 - f32::EPSILON / 2.0;
        assert_eq!(less, [1.0, 1.0, below_one, below_one]);
    }

    #[test]
    fn overflow_and_zero() {
        let overflow = ALL.map(|rounding| fma_f32(f32::MAX, 2.0, 0.0, rounding));
        assert_eq!(overflow, [f32::INFINITY, f32::INFINITY, f32::MAX, f32::MAX]);
        let negative = ALL.map(|rounding| fma_f32(f32::MAX, -2.0, 0.0, rounding));
        assert_eq!(negative, [f32::NEG_INFINITY, f32::MIN, f32::NEG_INFINITY, f32::MIN]);
        let cancelled = ALL.map(|rounding| fma_f32(3.0, 1.0, -3.0, rounding).is_sign_negative());
        assert_eq!(cancelled, [false, false, true, false]);
        assert_eq!(ALL.map(|rounding| add_f64(f64::MAX, f64::MAX, rounding))[2], f64::MAX);
        assert_eq!(ALL.map(|rounding| add_f64(1.0, 1e-30, rounding))[1], 1.0 + f64::EPSILON);
    }

    #[test]
    fn to_nearest_is_the_hosts_fma() {
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            f32::from_bits((state >> 32) as u32)
        };
        for _ in 0..100_000 {
            let (a, b, c) = (random(), random(), random());
            let (ours, host) = (fma_f32(a, b, c, Rounding::NearestEven), a.mul_add(b, c));
            assert!(
                ours.to_bits() == host.to_bits() || ours.is_nan() && host.is_nan(),
                "{a} {b} {c}"
            );
        }
    }
}
