//! What a comparison found, as it is written down.

use kernels_hip::time_model::{Machine, Prediction};
use serde::Serialize;

use super::counted::Counted;

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

/// How far a variant is from the oracle.
#[derive(Clone, Debug, Serialize)]
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
    /// Label: hardware.
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

/// A time that events measured.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Median, µs.
    pub us: f64,
    /// Runs.
    pub num_runs: usize,
    /// The least bytes over the time, TB/s.
    pub tb_per_s: f64,
    /// Of the 4.3 TB/s that stream kernels reach.
    pub of_achievable_bandwidth: f64,
    /// Products over the time, TFLOP/s.
    pub tflop_per_s: f64,
}

impl Emulated {
    pub(super) fn new(launches: Vec<Counted>, min_bytes: u64, machine: &Machine) -> Self {
        let memory_bytes = launches.iter().map(Counted::memory_bytes).sum();
        let over_fetch = memory_bytes as f64 / min_bytes.max(1) as f64;
        let predictions = launches.iter().map(|launch| machine.predict(&launch.work()));
        let model = Model::of(&predictions.collect::<Vec<_>>());
        Emulated { launches, memory_bytes, over_fetch, model }
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
