//! Rows of numbers that can be made again one by one, and what a comparison of rows found.

use engine_core::checkpoint::RowSource;
use engine_core::dtype::DType;
use reference_cpu::check::Report;
use reference_cpu::inputs::{Inputs, Rng};

/// Rows of an output that are held against the oracle.
const NUM_CHECKED: usize = 4;

/// A matrix of normally distributed numbers, each row of which is known without the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Normal {
    pub seed: u64,
    pub num_rows: usize,
    pub num_cols: usize,
}

impl Normal {
    /// One of the matrices of a workload.
    pub fn new(seed: u64, matrix: u64, [num_rows, num_cols]: [usize; 2]) -> Self {
        Normal { seed: (seed << 8 | matrix) << 32, num_rows, num_cols }
    }

    pub fn row(&self, row: usize) -> Vec<f32> {
        let mut rng = Rng::new(self.seed ^ row as u64);
        // Neighbouring seeds begin with numbers that are alike.
        let mut rng = Rng::new(rng.next_u64());
        Inputs::Normal.make(&mut rng, self.num_cols, DType::F32)
    }

    pub fn rows(&self) -> Vec<f32> {
        (0..self.num_rows).flat_map(|row| self.row(row)).collect()
    }
}

impl RowSource for Normal {
    fn num_rows(&self) -> usize {
        self.num_rows
    }

    fn num_cols(&self) -> usize {
        self.num_cols
    }

    fn read_row(&self, row: usize, out: &mut [f32]) {
        out.copy_from_slice(&self.row(row));
    }
}

/// A few of `num` things, the first and the last among them.
pub(super) fn spread(num: usize) -> Vec<usize> {
    let last = num.saturating_sub(1);
    let mut picked: Vec<_> = (0..NUM_CHECKED).map(|i| last * i / (NUM_CHECKED - 1)).collect();
    picked.dedup();
    picked.truncate(num);
    picked
}

/// What was found where a workload's result was held against the oracle.
#[derive(Clone, Copy, Default, Debug)]
pub struct Verdict {
    /// Elements compared.
    pub num_elements: usize,
    /// Elements farther off than they may be.
    pub num_failures: usize,
    /// Largest distance in units in the last place of the stored format.
    pub max_ulp: u64,
    /// Largest error in units of its bound.
    pub max_of_bound: f64,
}

impl Verdict {
    /// Adds an element.
    pub(super) fn element(&mut self, ulp: u64, of_bound: f64) {
        self.add(&Verdict {
            num_elements: 1,
            // NaN is in no bound.
            num_failures: usize::from(of_bound.is_nan() || of_bound > 1.0),
            max_ulp: ulp,
            max_of_bound: if of_bound.is_nan() { f64::INFINITY } else { of_bound },
        });
    }

    /// Adds rows that were compared elsewhere.
    pub(super) fn report(&mut self, report: &Report) {
        self.add(&Verdict {
            num_elements: report.num_elements,
            num_failures: report.num_failures,
            max_ulp: report.max_ulp,
            max_of_bound: report.worst.map_or(0.0, |worst| worst.severity()),
        });
    }

    fn add(&mut self, other: &Verdict) {
        self.num_elements += other.num_elements;
        self.num_failures += other.num_failures;
        self.max_ulp = self.max_ulp.max(other.max_ulp);
        self.max_of_bound = self.max_of_bound.max(other.max_of_bound);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_spread_from_the_first_to_the_last() {
        assert_eq!(spread(0), Vec::<usize>::new());
        assert_eq!(spread(1), [0]);
        assert_eq!(spread(2), [0, 1]);
        assert_eq!(spread(100), [0, 33, 66, 99]);
    }

    #[test]
    fn rows_are_the_same_alone() {
        let matrix = Normal::new(3, 1, [5, 7]);
        assert_eq!(matrix.rows()[14..21], matrix.row(2));
        assert_ne!(matrix.row(2), matrix.row(3));
        assert_ne!(matrix.row(2), Normal::new(4, 1, [5, 7]).row(2));
    }

    #[test]
    fn nan_is_a_failure() {
        let mut verdict = Verdict::default();
        verdict.element(0, 1.0);
        verdict.element(7, f64::NAN);
        assert_eq!((verdict.num_elements, verdict.num_failures, verdict.max_ulp), (2, 1, 7));
        assert!(verdict.max_of_bound.is_infinite());
    }
}
