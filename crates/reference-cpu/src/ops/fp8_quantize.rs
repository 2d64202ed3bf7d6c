//! Quantization to FP8, in f32 arithmetic that a device can repeat bit for bit.

use engine_core::formats::{Fp8Format, Overflow};

/// The least scale of a row: below it, division would leave the normal numbers.
const LEAST_SCALE: f32 = f32::MIN_POSITIVE;

/// out = fp8(x / scale). `scale` is positive and finite.
///
/// The rule for odd values:
/// - NaN stays NaN.
/// - What is too large for the format becomes its largest number, with its sign; so do infinities.
/// - All else goes to the nearest number, ties to the even code. FNUZ has no negative zero: what rounds to zero is +0.
pub fn fp8_quantize(x: &[f32], scale: f32, format: Fp8Format, out: &mut [u8]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out = format.encode(x / scale, Overflow::Saturate);
    }
}

/// The scale with which a row's largest magnitude becomes the format's largest number.
///
/// - NaN does not count. An infinity counts as the largest f32.
/// - A row of zeros, an empty one, and one of NaN alone have scale 1.
/// - No scale is below the least normal f32: rows smaller than that use fewer of the format's numbers.
#[must_use]
pub fn fp8_row_scale(row: &[f32], format: Fp8Format) -> f32 {
    // f32::max leaves NaN out.
    let maximum = row.iter().fold(0.0_f32, |maximum, x| maximum.max(x.abs())).min(f32::MAX);
    if maximum == 0.0 { 1.0 } else { (maximum / format.max()).max(LEAST_SCALE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: Fp8Format = Fp8Format::E4m3Fnuz;

    fn quantized(x: &[f32], scale: f32) -> Vec<f32> {
        let mut out = vec![0; x.len()];
        fp8_quantize(x, scale, FORMAT, &mut out);
        out.into_iter().map(|code| FORMAT.decode(code)).collect()
    }

    #[test]
    fn odd_values_follow_the_rule() {
        let got = quantized(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e9, -1e-9, 3.0], 2.0);
        assert!(got[0].is_nan());
        assert_eq!(got[1..4], [240.0, -240.0, 240.0]);
        assert_eq!((got[4].to_bits(), got[5]), (0, 1.5));
    }

    #[test]
    fn a_rows_scale_brings_its_maximum_to_the_largest() {
        let row = [3.0, -7.5, f32::NAN, 0.0];
        let scale = fp8_row_scale(&row, FORMAT);
        assert_eq!(scale, 7.5 / 240.0);
        assert_eq!(quantized(&row, scale)[1], -240.0);
    }

    #[test]
    fn rows_without_a_maximum_have_scale_one_and_tiny_ones_the_least() {
        for row in [&[] as &[f32], &[0.0, -0.0], &[f32::NAN]] {
            assert_eq!(fp8_row_scale(row, FORMAT), 1.0, "{row:?}");
        }
        assert_eq!(fp8_row_scale(&[1e-40], FORMAT), f32::MIN_POSITIVE);
        assert_eq!(fp8_row_scale(&[f32::NEG_INFINITY, 1.0], FORMAT), f32::MAX / 240.0);
    }
}
