//! Comparing the variants of a HIP op: how exact, what they do, how long that takes.
//!
//! [`compare`] drives every variant that is compiled in through the op's shared cases against the oracle, then runs it on
//! a few workloads: in the emulator it counts what the machine code does and gives the bounds of
//! [`kernels_hip::time_model`]; on a GPU it measures. Each figure says which.

mod comparison;
mod counted;
mod measure;
mod roofline;
mod subject;
mod table;
mod workload;

pub use comparison::{Accuracy, Comparison, Emulated, Measured, VariantReport, WorkloadReport};
pub use counted::{Counted, Cycles, Instructions, L2, LoadsInFlight, Memory, Traffic};
pub use measure::{CompareError, compare};
pub use roofline::roofline;
pub use subject::subjects;
pub use table::{Markdown, Plain};
pub use workload::{Bound, Shape, Workload};
