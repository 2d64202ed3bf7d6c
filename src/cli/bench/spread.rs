//! A measurement that was repeated.

use std::time::Duration;

use serde::Serialize;

use crate::cli::error::CliError;

/// Seconds of several runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Spread {
    pub min_s: f64,
    pub median_s: f64,
    pub max_s: f64,
}

impl Spread {
    /// Of at least one run.
    pub(super) fn of(mut times: Vec<Duration>) -> Option<Spread> {
        times.sort_unstable();
        let sorted: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
        let (&min_s, &max_s) = (sorted.first()?, sorted.last()?);
        Some(Spread { min_s, median_s: quantile(&sorted, 0.5), max_s })
    }
}

/// The same of seconds.
///
/// # Errors
/// If there are none: our fault.
pub(super) fn spread_of(times_s: &[f64]) -> Result<Spread, CliError> {
    let times = times_s.iter().map(|&time_s| Duration::from_secs_f64(time_s)).collect();
    Spread::of(times).ok_or_else(|| CliError::internal("nothing was measured"))
}

/// Of none, NaN.
pub(super) fn mean(figures: &[f64]) -> f64 {
    figures.iter().sum::<f64>() / figures.len() as f64
}

/// Standard deviation of these figures, not an estimate of others'.
pub(super) fn deviation(figures: &[f64]) -> f64 {
    let mean = mean(figures);
    let squares: f64 = figures.iter().map(|figure| (figure - mean).powi(2)).sum();
    (squares / figures.len() as f64).sqrt()
}

/// What most runs came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Quantiles {
    pub p10: f64,
    pub median: f64,
    pub p90: f64,
}

impl Quantiles {
    /// Of none, NaN.
    pub(super) fn of(mut figures: Vec<f64>) -> Quantiles {
        figures.sort_unstable_by(f64::total_cmp);
        let [p10, median, p90] = [0.1, 0.5, 0.9].map(|part| quantile(&figures, part));
        Quantiles { p10, median, p90 }
    }
}

/// Between the two figures that are nearest to this part of all.
pub(super) fn quantile(sorted: &[f64], part: f64) -> f64 {
    let at = sorted.len().saturating_sub(1) as f64 * part;
    let get = |at: f64| sorted.get(at as usize).copied().unwrap_or(f64::NAN);
    get(at.floor()) + (get(at.ceil()) - get(at.floor())) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let of = |millis: &[u64]| {
            Spread::of(millis.iter().map(|&millis| Duration::from_millis(millis)).collect())
        };
        let spread = of(&[30, 10, 20]).unwrap();
        assert_eq!((spread.min_s, spread.median_s, spread.max_s), (0.01, 0.02, 0.03));
        assert_eq!(of(&[40, 10, 20, 30]).unwrap().median_s, 0.025);
        assert_eq!(of(&[]), None);
        let quantiles = Quantiles::of((0..=10).rev().map(f64::from).collect());
        assert_eq!(quantiles, Quantiles { p10: 1.0, median: 5.0, p90: 9.0 });
        assert_eq!(Quantiles::of(vec![1.0, 2.0]).median, 1.5);
    }
}
