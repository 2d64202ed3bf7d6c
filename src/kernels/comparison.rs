//! What a comparison found, as it is written down.

use kernels_hip::time_model::{Machine, Prediction};
use reference_cpu::conformance::OpReport;
use serde::Serialize;

use super::counted::{Counted, LINE_BYTES};
use super::peaks::{ACHIEVABLE_TB_PER_S, PEAK_TB_PER_S};
use super::workload::{Verdict, Workload};

/// The variants of an op beside each other.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The op.
    pub op: String,
    /// What ran it.
    pub device: String,
    /// One for each variant that is compiled in, the best first.
    pub variants: Vec<VariantReport>,
}

/// One variant.
#[derive(Clone, Debug, Serialize)]
pub struct VariantReport {
    /// Its name.
    pub variant: &'static str,
    /// Variants of one class give the same bits.
    pub reduction_class: &'static str,
    /// Against the oracle, over the op's shared cases.
    pub accuracy: Accuracy,
    /// Shape by shape.
    pub workloads: Vec<WorkloadReport>,
}

/// How far a variant is from the oracle, over the op's shared cases and a few rows of each workload.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Accuracy {
    /// Cases that it serves.
    pub num_cases: usize,
    /// Cases that it refuses.
    pub num_refused: usize,
    /// Elements compared.
    pub num_elements: usize,
    /// Largest distance in units in the last place; large where sums cancel.
    pub max_ulp: u64,
    /// Largest error in units of its bound: 1 is the limit.
    pub max_of_bound: f64,
    /// Where that was.
    pub worst_case: String,
}

/// A variant on a workload.
#[derive(Clone, Debug, Serialize)]
pub struct WorkloadReport {
    /// The shape in words.
    pub workload: String,
    /// Bytes that have to be moved at least.
    pub min_bytes: u64,
    /// Floating-point operations of the products.
    pub flops: u64,
    /// Why it did not run, if it did not.
    pub refused: Option<String>,
    /// Label: emulated, and model.
    pub emulated: Option<Emulated>,
    /// Label: whose clock it was.
    pub measured: Option<Measured>,
}

/// What the emulator counted, and the bounds of the model of time for that.
#[derive(Clone, Debug, Serialize)]
pub struct Emulated {
    /// Launches, in order.
    pub launches: Vec<Counted>,
    /// Bytes that memory is read and written for, by the model of L2.
    pub memory_bytes: u64,
    /// That over the least.
    pub over_fetch: f64,
    /// Lines that L2 missed, loads and stores.
    pub l2_misses: u64,
    /// Lines that the least bytes have.
    pub min_l2_misses: u64,
    /// What its instructions leave for a schedule to overlap.
    pub issue: Issue,
    /// Bounds of the time on an MI300X, µs.
    pub model: Model,
}

/// [`Prediction`] of all launches together.
#[derive(Clone, Debug, Serialize)]
pub struct Model {
    /// Everything overlaps, at the best bandwidth; µs.
    pub lower_us: f64,
    /// What limits it then.
    pub lower_limit: &'static str,
    /// Matrix and vector work take turns, at the usual bandwidth; µs.
    pub upper_us: f64,
    /// What limits it then.
    pub upper_limit: &'static str,
}

/// What issues instructions, over all launches: what a schedule whose waves take turns has to work with.
#[derive(Clone, Debug, Serialize)]
pub struct Issue {
    /// Issue cycles of matrix instructions.
    pub matrix_cycles: u64,
    /// Issue cycles of vector and transcendental instructions.
    pub vector_cycles: u64,
    /// Both for as many matrix instructions as have 2048 cycles, one after the other: AITER's forward attention has 4424 with
    /// rounding to nearest even. Nothing without matrix instructions.
    pub per_2048: Option<f64>,
    /// How many of those can be hidden where waves of one SIMD take turns (ping-pong): the smaller of the two, and none where
    /// a SIMD has but one wave.
    pub overlap_per_2048: Option<f64>,
}

/// Times of repeated runs, µs.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Spread {
    /// Runs.
    pub num_runs: usize,
    /// As many were faster as slower.
    pub median_us: f64,
    /// One in ten was faster.
    pub p10_us: f64,
    /// One in ten was slower.
    pub p90_us: f64,
}

/// Whose clock it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// A GPU's.
    Hardware,
    /// The emulator's: how long it took to emulate, which says nothing of a GPU.
    Emulator,
    /// This machine's, of kernels for its CPU.
    Cpu,
}

impl Clock {
    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Clock::Hardware => "hardware",
            Clock::Emulator => "the emulator's own time, not a GPU's",
            Clock::Cpu => "this CPU",
        }
    }
}

/// What was measured. Parts of peaks are those of an MI300X, and known of hardware alone.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Whose clock.
    pub clock: Clock,
    /// Times.
    #[serde(flatten)]
    pub spread: Spread,
    /// The least bytes over the median, TB/s.
    pub tb_per_s: f64,
    /// Of what memory moves at most.
    pub of_peak_bandwidth: Option<f64>,
    /// Of what stream kernels reach.
    pub of_achievable_bandwidth: Option<f64>,
    /// Products over the median, TFLOP/s.
    pub tflop_per_s: f64,
    /// Of what matrix units do at most, for work of theirs.
    pub of_peak_tflops: Option<f64>,
    /// Of what the best published product reaches.
    pub of_achievable_tflops: Option<f64>,
}

impl Spread {
    /// Of `times`, at least one.
    #[must_use]
    pub fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        let last = times.len().saturating_sub(1);
        let at = |tenths: usize| times.get(last * tenths / 10).copied().unwrap_or(f64::NAN);
        Spread { num_runs: times.len(), median_us: at(5), p10_us: at(1), p90_us: at(9) }
    }
}

impl Measured {
    /// The rates of `workload` in the times of `spread`.
    #[must_use]
    pub fn new(clock: Clock, spread: Spread, workload: &Workload) -> Self {
        let tb_per_s = workload.min_bytes() as f64 / spread.median_us / 1e6;
        let tflop_per_s = workload.flops() as f64 / spread.median_us / 1e6;
        let on_hardware = |part: f64| (clock == Clock::Hardware).then_some(part);
        let peaks = workload.peaks();
        let of = |tflops: Option<f64>| tflops.and_then(|most| on_hardware(tflop_per_s / most));
        Measured {
            clock,
            spread,
            tb_per_s,
            of_peak_bandwidth: on_hardware(tb_per_s / PEAK_TB_PER_S),
            of_achievable_bandwidth: on_hardware(tb_per_s / ACHIEVABLE_TB_PER_S),
            tflop_per_s,
            of_peak_tflops: of(peaks.map(|peaks| peaks.peak_tflops)),
            of_achievable_tflops: of(peaks.map(|peaks| peaks.achievable_tflops)),
        }
    }
}

impl Accuracy {
    /// Of the op's shared cases.
    pub(super) fn of(found: OpReport) -> Self {
        Accuracy {
            num_cases: found.num_cases,
            num_refused: found.num_refused,
            num_elements: found.num_elements,
            max_ulp: found.max_ulp,
            max_of_bound: found.max_severity,
            worst_case: found.worst_case,
        }
    }

    pub(super) fn add(&mut self, verdict: &Verdict, workload: &Workload) {
        self.num_cases += 1;
        self.num_elements += verdict.num_elements;
        self.max_ulp = self.max_ulp.max(verdict.max_ulp);
        if verdict.max_of_bound > self.max_of_bound || self.worst_case.is_empty() {
            self.max_of_bound = verdict.max_of_bound;
            self.worst_case = workload.name();
        }
    }
}

impl Emulated {
    pub(super) fn new(launches: Vec<Counted>, min_bytes: u64, machine: &Machine) -> Self {
        let memory_bytes = launches.iter().map(Counted::memory_bytes).sum();
        let over_fetch = memory_bytes as f64 / min_bytes.max(1) as f64;
        let predictions = launches.iter().map(|launch| machine.predict(&launch.work()));
        let model = Model::of(&predictions.collect::<Vec<_>>());
        let issue = Issue::of(&launches);
        let l2_misses = memory_bytes / LINE_BYTES;
        let min_l2_misses = min_bytes.div_ceil(LINE_BYTES);
        Emulated { launches, memory_bytes, over_fetch, l2_misses, min_l2_misses, issue, model }
    }
}

impl Issue {
    fn of(launches: &[Counted]) -> Self {
        let sum = |of: fn(&Counted) -> u64| launches.iter().map(of).sum::<u64>();
        let matrix_cycles = sum(|launch| launch.cycles.matrix);
        let vector_cycles = sum(Counted::vector_cycles);
        // A launch is over when the next begins: each has its own overlap.
        let overlap = sum(|launch| match launch.resources.waves_per_simd {
            0 | 1 => 0,
            _ => launch.cycles.matrix.min(launch.vector_cycles()),
        });
        let per_2048 = |cycles: u64| {
            (matrix_cycles > 0).then(|| cycles as f64 * 2048.0 / matrix_cycles as f64)
        };
        Issue {
            matrix_cycles,
            vector_cycles,
            per_2048: per_2048(matrix_cycles + vector_cycles),
            overlap_per_2048: per_2048(overlap),
        }
    }
}

impl Model {
    /// Launches run one after the other; the longest says what limits.
    fn of(predictions: &[Prediction]) -> Self {
        let longest =
            |us: fn(&Prediction) -> f64| predictions.iter().max_by(|a, b| us(a).total_cmp(&us(b)));
        let lower = |prediction: &Prediction| prediction.lower.us;
        let upper = |prediction: &Prediction| prediction.upper.us;
        Model {
            lower_us: predictions.iter().map(lower).sum(),
            lower_limit: longest(lower).map_or("", |p| p.lower.limit.name()),
            upper_us: predictions.iter().map(upper).sum(),
            upper_limit: longest(upper).map_or("", |p| p.upper.limit.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_of_the_runs_between_the_tenths() {
        let spread = Spread::of((1..=11).rev().map(f64::from).collect());
        let want = Spread { num_runs: 11, median_us: 6.0, p10_us: 2.0, p90_us: 10.0 };
        assert_eq!(spread, want);
    }
}
