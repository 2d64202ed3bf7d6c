//! Comparing the variants of a HIP op: how exact, what they do, how long that takes.
//!
//! [`compare`] drives every variant that is compiled in through the op's shared cases against the oracle, then runs it on
//! a few workloads: in the emulator it counts what the machine code does and gives the bounds of
//! [`kernels_hip::time_model`]; on a GPU it measures, on larger ones. Each figure says which. `benches/kernels.rs` is the
//! same as a bench. [`time_cpu`] measures the CPU kernels on the same workloads.

mod comparison;
mod counted;
mod cpu;
mod measure;
mod peaks;
mod roofline;
mod subject;
mod table;
mod timing;
mod workload;

pub use comparison::{
    Accuracy, Clock, Comparison, Emulated, Issue, Measured, Model, Spread, VariantReport,
    WorkloadReport,
};
pub use counted::{Counted, Cycles, Instructions, L2, LoadsInFlight, Memory, Traffic};
pub use cpu::{CpuReport, CpuRuns, time_cpu};
pub use measure::{CompareError, Measure, compare, compare_variants};
pub use peaks::Peaks;
pub use roofline::roofline;
pub use subject::{Subject, subjects};
pub use table::{Markdown, Plain, measured_line};
pub use timing::Timing;
pub use workload::{Before, Bound, Pages, Shape, Verdict, Workload};
