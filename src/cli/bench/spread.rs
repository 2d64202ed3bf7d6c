//! A measurement that was repeated.

use std::time::Duration;

use serde::Serialize;

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
        let (min, max) = (times.first()?, times.last()?);
        let middle = |upper: usize| times[upper].as_secs_f64();
        let half = times.len() / 2;
        let median_s = if times.len() % 2 == 1 {
            middle(half)
        } else {
            f64::midpoint(middle(half - 1), middle(half))
        };
        Some(Spread { min_s: min.as_secs_f64(), median_s, max_s: max.as_secs_f64() })
    }
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
    }
}
