//! Comparing a backend's numbers with the oracle's.
//!
//! An element passes when it lies in the interval that the error bound leaves *after* rounding to
//! its storage format: with an exact value `y` and an error `e` before the store, a stored value
//! must be in `[round(y − e), round(y + e)]`, because rounding is monotone. So most 16-bit
//! outputs have to be bit-equal, and a store that truncates instead of rounding fails.
//!
//! NaN is in no interval: a NaN from the backend fails, and so does one from the oracle.

use engine_core::dtype::DType;

/// What a comparison found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Elements compared.
    pub num_elements: usize,
    /// Elements outside their interval.
    pub num_failures: usize,
    /// Largest distance in units in the last place of the storage format.
    pub max_ulp: u64,
    /// The element that used most of what it was allowed.
    pub worst: Option<Element>,
}

/// One compared element.
#[derive(Clone, Copy, Debug)]
pub struct Element {
    /// Where it is.
    pub index: usize,
    /// The backend's value.
    pub got: f32,
    /// The oracle's value, before rounding to the storage format.
    pub want: f32,
    /// `|got − want|`.
    pub error: f64,
    /// Largest error that passes on this side of `want`.
    pub bound: f64,
    /// Distance in units in the last place.
    pub ulp: u64,
    /// Whether it lies in its interval.
    pub passes: bool,
}

impl Element {
    /// `error / bound`: at most 1 for an element that passes, 0 for one that is the rounded oracle,
    /// infinite for a NaN.
    pub fn severity(&self) -> f64 {
        let severity = self.error / self.bound;
        match (self.passes, severity.is_nan()) {
            (true, _) if self.ulp == 0 => 0.0,
            (false, true) => f64::INFINITY,
            _ => severity,
        }
    }
}

impl Report {
    /// Whether every element passed.
    pub fn is_ok(&self) -> bool {
        self.num_failures == 0
    }

    fn new() -> Self {
        Report { num_elements: 0, num_failures: 0, max_ulp: 0, worst: None }
    }

    fn add(&mut self, element: Element) {
        self.num_elements += 1;
        self.num_failures += usize::from(!element.passes);
        self.max_ulp = self.max_ulp.max(element.ulp);
        // A failure outranks every pass.
        let rank = |element: &Element| (!element.passes, element.severity());
        if self.worst.is_none_or(|worst| rank(&element) > rank(&worst)) {
            self.worst = Some(element);
        }
    }
}

impl core::fmt::Display for Report {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (bad, all) = (self.num_failures, self.num_elements);
        write!(f, "{bad} of {all} elements are wrong")?;
        let Some(worst) = &self.worst else {
            return Ok(());
        };
        write!(
            f,
            "; the worst is element {}: {:e} for {:e}, error {:.3e}, bound {:.3e}, {} ulp",
            worst.index, worst.got, worst.want, worst.error, worst.bound, worst.ulp
        )
    }
}

/// Compares `got`, stored in `dtype`, with the exact `want`, where `errors` bounds the error of
/// each element before the store. Lengths that differ are a bug of the caller and panic.
pub fn compare(dtype: DType, got: &[f32], want: &[f32], errors: &[f64]) -> Report {
    assert_eq!(got.len(), want.len(), "lengths of results and oracle");
    assert_eq!(got.len(), errors.len(), "lengths of results and bounds");
    let mut report = Report::new();
    for (index, ((&got, &want), &error)) in got.iter().zip(want).zip(errors).enumerate() {
        let (low, high) = interval(dtype, want, error);
        let value = f64::from(got);
        let passes = low <= value && value <= high;
        let exact = f64::from(want);
        // Rounding may have moved both ends of the interval to one side of `want`.
        let end = if value < exact { low } else { high };
        let bound = (end - exact).abs();
        report.add(Element {
            index,
            got,
            want,
            error: (value - exact).abs(),
            bound,
            ulp: ulp_distance(dtype, got, dtype.round(want)),
            passes,
        });
    }
    report
}

/// Compares bits; two NaNs are equal, whatever their payload.
pub fn compare_exact(dtype: DType, got: &[f32], want: &[f32]) -> Report {
    assert_eq!(got.len(), want.len(), "lengths of results and oracle");
    let mut report = Report::new();
    for (index, (&got, &want)) in got.iter().zip(want).enumerate() {
        let passes = got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan();
        let distance = (f64::from(got) - f64::from(want)).abs();
        report.add(Element {
            index,
            got,
            want,
            error: if passes { 0.0 } else { distance },
            bound: 0.0,
            ulp: if passes { 0 } else { ulp_distance(dtype, got, want) },
            passes,
        });
    }
    report
}

/// The stored values that an exact value `want` with an error of at most `error` can become.
fn interval(dtype: DType, want: f32, error: f64) -> (f64, f64) {
    let (low, high) = (f64::from(want) - error, f64::from(want) + error);
    match dtype {
        DType::F32 => (low, high),
        // One f32 step outwards, because narrowing the ends to f32 may have moved them inwards.
        DType::F16 | DType::BF16 => (
            f64::from(dtype.round((low as f32).next_down())),
            f64::from(dtype.round((high as f32).next_up())),
        ),
    }
}

/// How many values of `dtype` lie between two of its values; `u64::MAX` when one is NaN.
pub fn ulp_distance(dtype: DType, a: f32, b: f32) -> u64 {
    if a.is_nan() || b.is_nan() {
        return u64::MAX;
    }
    ordinal(dtype, a).abs_diff(ordinal(dtype, b))
}

/// The place of `x` among the values of `dtype` in ascending order; 0 for both zeros.
fn ordinal(dtype: DType, x: f32) -> i64 {
    let magnitude = match dtype {
        DType::F32 => x.abs().to_bits(),
        DType::F16 => u32::from(half::f16::from_f32(x.abs()).to_bits()),
        DType::BF16 => u32::from(half::bf16::from_f32(x.abs()).to_bits()),
    };
    if x.is_sign_negative() { -i64::from(magnitude) } else { i64::from(magnitude) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f32 = f32::NAN;

    #[test]
    fn nan_and_infinity_never_pass_for_a_number() {
        for bad in [NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for dtype in [DType::F32, DType::F16, DType::BF16] {
                let report = compare(dtype, &[1.0, bad], &[1.0, 1.0], &[0.1, 0.1]);
                assert_eq!(report.num_failures, 1, "{bad} in {dtype}");
                assert_eq!(report.worst.expect("two elements").index, 1);
            }
        }
        assert!(!compare(DType::F32, &[NAN], &[NAN], &[0.1]).is_ok());
        assert!(!compare(DType::F32, &[1.0], &[NAN], &[0.1]).is_ok());
        assert!(!compare(DType::F32, &[1.0], &[1.0], &[f64::NAN]).is_ok());
    }

    #[test]
    fn the_bound_itself_passes_and_the_next_value_does_not() {
        let step = f64::from(1.0_f32.next_up()) - 1.0;
        let got = [1.0_f32.next_up()];
        assert!(compare(DType::F32, &got, &[1.0], &[step]).is_ok());
        assert!(!compare(DType::F32, &[got[0].next_up()], &[1.0], &[step]).is_ok());
        assert!(!compare(DType::F32, &got, &[1.0], &[0.0]).is_ok());
    }

    #[test]
    fn sixteen_bit_values_must_be_rounded_not_truncated() {
        // 1.006 lies between the bf16 neighbours 1.0 and 1.0078125, nearer to the second.
        let want = [1.006];
        assert!(compare(DType::BF16, &[1.007_812_5], &want, &[1e-6]).is_ok());
        assert!(!compare(DType::BF16, &[1.0], &want, &[1e-6]).is_ok());
        // At the midpoint both are right.
        let midpoint = [1.0 + 1.0 / 256.0];
        for got in [1.0, 1.007_812_5] {
            assert!(compare(DType::BF16, &[got], &midpoint, &[1e-6]).is_ok());
        }
    }

    #[test]
    fn overflow_to_infinity_is_what_rounding_says() {
        let inf = f32::INFINITY;
        assert!(compare(DType::F16, &[inf], &[1e6], &[1.0]).is_ok());
        assert!(!compare(DType::F16, &[65504.0], &[1e6], &[1.0]).is_ok());
        assert!(compare(DType::F16, &[-inf], &[-1e6], &[1.0]).is_ok());
        assert!(!compare(DType::F16, &[-inf], &[1e6], &[1.0]).is_ok());
    }

    #[test]
    fn the_worst_element_is_a_failure_if_there_is_one() {
        let report = compare(DType::F32, &[1.9, 1e-9, 2.0], &[1.0, 0.0, 2.0], &[1.0, 0.0, 0.0]);
        assert_eq!((report.num_failures, report.num_elements), (1, 3));
        assert_eq!(report.worst.expect("three elements").index, 1);
        let nan_first = compare(DType::F32, &[NAN, 5.0], &[0.0, 0.0], &[1.0, 1.0]);
        assert_eq!(nan_first.worst.expect("two elements").index, 0);
    }

    #[test]
    fn exact_comparison_sees_signs_of_zero() {
        assert!(compare_exact(DType::F32, &[0.0, NAN], &[0.0, NAN]).is_ok());
        assert!(!compare_exact(DType::F32, &[0.0], &[-0.0]).is_ok());
        assert!(!compare_exact(DType::F32, &[NAN], &[0.0]).is_ok());
        assert!(!compare_exact(DType::F32, &[0.0], &[NAN]).is_ok());
    }

    #[test]
    fn ulps_count_the_values_of_the_format() {
        assert_eq!(ulp_distance(DType::F32, 1.0, 1.0_f32.next_up()), 1);
        assert_eq!(ulp_distance(DType::F32, -0.0, 0.0), 0);
        assert_eq!(ulp_distance(DType::F32, -f32::from_bits(1), f32::from_bits(2)), 3);
        assert_eq!(ulp_distance(DType::BF16, 1.0, 1.007_812_5), 1);
        assert_eq!(ulp_distance(DType::F16, 2048.0, 2052.0), 2);
        assert_eq!(ulp_distance(DType::F16, NAN, 1.0), u64::MAX);
    }
}
