//! A time as the sum of two terms, from measurements.

/// Least squares of `a·x + b·y = time` over relative errors, the older a measurement the lighter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    /// What the weight of all that is known is multiplied by at each measurement.
    keep: f64,
    xx: f64,
    xy: f64,
    yy: f64,
    x: f64,
    y: f64,
}

/// How far measurements must be from telling one term only, relative.
const LEAST_DETERMINANT: f64 = 1e-6;
/// A measurement this many times longer or shorter than expected is a sign that the past no longer holds.
const SURPRISE: f64 = 1.5;
/// What one surprise can take of the past's weight, at most: a single slow transfer must not be taken for the rule.
const MOST_FORGOTTEN: f64 = 16.0;
/// The second term alone must explain so much more than the first alone to be taken.
const PREFERENCE: f64 = 0.99;

impl Fit {
    pub(super) fn new(keep: f64) -> Self {
        Fit { keep, xx: 0.0, xy: 0.0, yy: 0.0, x: 0.0, y: 0.0 }
    }

    /// Takes a measurement; what is no positive, finite time tells nothing.
    pub(super) fn measured(&mut self, x: f64, y: f64, time: f64) {
        let expected = self.terms().map_or(time, |(a, b)| a * x + b * y);
        let (x, y) = (x / time, y / time);
        if !(time > 0.0 && x.is_finite() && y.is_finite()) {
            return;
        }
        // Relative errors let fast times outweigh slow ones by the square of their ratio.
        let ratio = (time / expected).max(expected / time);
        let surprise = if ratio > SURPRISE { (ratio * ratio).min(MOST_FORGOTTEN) } else { 1.0 };
        for (sum, term) in [
            (&mut self.xx, x * x),
            (&mut self.xy, x * y),
            (&mut self.yy, y * y),
            (&mut self.x, x),
            (&mut self.y, y),
        ] {
            *sum = *sum * self.keep / surprise + term;
        }
    }

    /// `a` and `b`, neither negative; `None` before the first measurement. Where measurements cannot tell the terms
    /// apart, the first explains them.
    pub(super) fn terms(&self) -> Option<(f64, f64)> {
        if !(self.xx > 0.0 || self.yy > 0.0) {
            return None;
        }
        let determinant = self.xx * self.yy - self.xy * self.xy;
        if determinant > LEAST_DETERMINANT * self.xx * self.yy {
            let a = (self.x * self.yy - self.y * self.xy) / determinant;
            let b = (self.y * self.xx - self.x * self.xy) / determinant;
            if a >= 0.0 && b >= 0.0 {
                return Some((a, b));
            }
        }
        // How much of the measurements each explains alone.
        let (by_x, by_y) = (explained(self.x, self.xx), explained(self.y, self.yy));
        match by_x >= by_y * PREFERENCE {
            true => Some((self.x / self.xx, 0.0)),
            false => Some((0.0, self.y / self.yy)),
        }
    }
}

fn explained(sum: f64, squares: f64) -> f64 {
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_terms_are_told_apart() {
        let mut fit = Fit::new(1.0);
        assert_eq!(fit.terms(), None);
        for x in [1.0, 2.0, 5.0, 10.0] {
            fit.measured(x, x * x, 3.0 * x + 0.5 * x * x);
        }
        let (a, b) = fit.terms().unwrap();
        assert!((a - 3.0).abs() < 1e-9 && (b - 0.5).abs() < 1e-9, "{a} {b}");
    }

    #[test]
    fn one_point_is_explained_by_the_first_term() {
        let mut fit = Fit::new(0.9);
        fit.measured(4.0, 1.0, 2.0);
        fit.measured(4.0, 1.0, 2.0);
        assert_eq!(fit.terms(), Some((0.5, 0.0)));
    }

    #[test]
    fn no_term_is_negative_and_odd_times_tell_nothing() {
        let mut fit = Fit::new(1.0);
        for time in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            fit.measured(1.0, 1.0, time);
        }
        assert_eq!(fit.terms(), None);
        // Faster the more there is: no sum of these terms.
        fit.measured(1.0, 1.0, 5.0);
        fit.measured(2.0, 1.0, 1.0);
        let (a, b) = fit.terms().unwrap();
        assert!(a >= 0.0 && b >= 0.0);
    }

    #[test]
    fn one_slow_measurement_is_not_the_rule() {
        let mut fit = Fit::new(0.95);
        (0..60).for_each(|i| fit.measured(f64::from(i % 7 + 1), 1.0, f64::from(i % 7 + 1)));
        fit.measured(5.0, 1.0, 50.0);
        let (a, b) = fit.terms().unwrap();
        assert!((a - 1.0).abs() < 0.2 && b < 0.2, "{a} {b}");
    }

    #[test]
    fn what_was_is_forgotten() {
        let mut fit = Fit::new(0.8);
        for i in 0..60 {
            let speed = if i < 30 { 1.0 } else { 4.0 };
            let x = f64::from(i % 7 + 1);
            fit.measured(x, 1.0, x * speed + 0.1);
        }
        assert!((fit.terms().unwrap().0 - 4.0).abs() < 0.1);
    }
}
