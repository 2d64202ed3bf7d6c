//! Minimum and maximum as the hardware has them: a NaN gives way to a number; in IEEE mode a signalling NaN does not;
//! −0 is below +0.

macro_rules! extremes {
    ($float:ty, $bits:ty, $quiet:expr, $min:ident, $max:ident) => {
        /// The smaller one.
        #[inline(always)]
        pub(in crate::exec) fn $min(a: $float, b: $float, ieee: bool) -> $float {
            let (x, y) = (a.to_bits(), b.to_bits());
            // Equal bits, or the two zeros.
            let smaller = if a < b {
                x
            } else if a > b {
                y
            } else {
                x | y
            };
            choose(x, y, smaller, ieee)
        }

        /// The larger one.
        #[inline(always)]
        pub(in crate::exec) fn $max(a: $float, b: $float, ieee: bool) -> $float {
            let (x, y) = (a.to_bits(), b.to_bits());
            let larger = if a > b {
                x
            } else if a < b {
                y
            } else {
                x & y
            };
            choose(x, y, larger, ieee)
        }

        /// `chosen` unless there is a NaN.
        #[inline(always)]
        fn choose(x: $bits, y: $bits, chosen: $bits, ieee: bool) -> $float {
            const QUIET: $bits = $quiet;
            const INFINITY: $bits = <$float>::INFINITY.to_bits();
            let is_nan = |bits: $bits| bits & (<$bits>::MAX >> 1) > INFINITY;
            let is_signalling = |bits: $bits| is_nan(bits) && bits & QUIET == 0;
            let number = if is_nan(x) {
                y
            } else if is_nan(y) {
                x
            } else {
                chosen
            };
            <$float>::from_bits(if ieee && is_signalling(x) {
                x | QUIET
            } else if ieee && is_signalling(y) {
                y | QUIET
            } else {
                number
            })
        }
    };
}

mod single {
    extremes!(f32, u32, 0x0040_0000, min_f32, max_f32);
}

mod double {
    extremes!(f64, u64, 0x0008_0000_0000_0000, min_f64, max_f64);
}

pub(super) use double::{max_f64, min_f64};
pub(in crate::exec) use single::{max_f32, min_f32};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_and_nans() {
        let signalling = f32::from_bits(0x7f80_0001);
        for ieee in [false, true] {
            assert!(
                min_f32(0.0, -0.0, ieee).is_sign_negative()
                    && min_f32(-0.0, 0.0, ieee).is_sign_negative()
            );
            assert!(
                max_f32(0.0, -0.0, ieee).is_sign_positive()
                    && max_f32(-0.0, 0.0, ieee).is_sign_positive()
            );
            assert_eq!(min_f32(f32::NAN, 3.0, ieee), 3.0);
            assert_eq!(max_f64(3.0, f64::NAN, ieee), 3.0);
            assert_eq!(min_f64(-3.0, 2.0, ieee), -3.0);
            assert_eq!(max_f32(-3.0, f32::NEG_INFINITY, ieee), -3.0);
        }
        assert_eq!(max_f32(1.0, signalling, true).to_bits(), 0x7fc0_0001);
        assert_eq!(max_f32(1.0, signalling, false), 1.0);
    }
}
