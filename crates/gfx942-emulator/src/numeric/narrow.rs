//! Rounding an f32 to a format with fewer bits of both exponent and fraction.

use super::Rounding;

/// The magnitude `abs` (the bits of a finite f32 without the sign) to the nearest value of a format with `FRACTION`
/// bits of fraction and the exponent bias `BIAS`, ties to even.
///
/// The result is the format's code as if its exponent had no end: the caller compares it with the largest one.
#[inline(always)]
pub(super) fn nearest_even<const FRACTION: u32, const BIAS: u32>(abs: u32) -> u32 {
    let shift = 23 - FRACTION;
    let rebias = (127 - BIAS) << 23;
    let odd = abs >> shift & 1;
    let normal = abs.wrapping_sub(rebias).wrapping_add((1 << (shift - 1)) - 1 + odd) >> shift;
    // An addition whose result has the denormals' quantum as its last place rounds as we want.
    let magic = (127 + 1 - BIAS + shift) << 23;
    let denormal = (f32::from_bits(abs) + f32::from_bits(magic)).to_bits().wrapping_sub(magic);
    if abs < rebias + (1 << 23) { denormal } else { normal }
}

/// The same with any rounding; `negative` tells where up and down are.
#[inline(always)]
pub(super) fn directed<const FRACTION: u32, const BIAS: u32>(
    abs: u32,
    negative: bool,
    rounding: Rounding,
) -> u32 {
    let away = match rounding {
        Rounding::NearestEven => return nearest_even::<FRACTION, BIAS>(abs),
        Rounding::Up => !negative,
        Rounding::Down => negative,
        Rounding::TowardZero => false,
    };
    let min_exponent = 128 - BIAS;
    let exponent = (abs >> 23).max(1);
    let significand = if abs >> 23 == 0 { abs } else { abs & 0x7f_ffff | 0x80_0000 };
    // Bits below the last place of the result; from 25 on nothing of the significand is above it.
    let shift = (23 - FRACTION + min_exponent.saturating_sub(exponent)).min(31);
    let lost = significand & ((1 << shift) - 1) != 0;
    let units = (significand >> shift) + u32::from(lost && away);
    (exponent.max(min_exponent) - min_exponent) * (1 << FRACTION) + units
}
