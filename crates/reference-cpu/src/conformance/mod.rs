//! Drives any backend through [`crate::cases`] against the oracle, and checks that its rows are
//! independent.
//!
//! [`run`] holds every element against the oracle within [`crate::bounds`];
//! [`row_independence`] compares bits. A backend has to pass both.
//!
//! Whatever an op must not read is NaN: the tails of buffers, rows that are not selected, slots
//! that no attended position maps to. Whatever it must not write is checked afterwards.

mod activation;
mod dense;
mod fused;
mod independence;
mod kv_run;
mod norms;
mod paged;
mod paging;
mod rig;
mod rotary;
mod transfer;

use core::fmt;

use engine_core::device::OpError;
use engine_core::dtype::DType;
use engine_core::kv_dtype::KvDType;
use engine_core::ops::Ops;

use crate::check::Report;
use rig::Rig;

pub use independence::row_independence;

/// What a backend did wrong.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// An op returned an error for a case that every backend has to serve.
    #[error("{op} refused {case}: {source}")]
    Refused {
        /// The op.
        op: &'static str,
        /// The case.
        case: String,
        /// What it said.
        source: OpError,
    },
    /// An op did what no backend may do.
    #[error("{op} took {what} in {case}, which it has to refuse")]
    Took {
        /// The op.
        op: &'static str,
        /// The case.
        case: String,
        /// The arguments.
        what: String,
    },
    /// Results are outside their bounds.
    #[error("{op} in {dtype}, {case}: {report}")]
    Wrong {
        /// The op.
        op: &'static str,
        /// The case.
        case: String,
        /// Format of the results.
        dtype: DType,
        /// How far.
        report: Report,
    },
    /// A matrix input holds a value that the compute dtype does not have.
    #[error("{op}, {case}: element {index} is {value:e}, which {dtype} cannot represent")]
    Unrounded {
        /// The op.
        op: &'static str,
        /// The case.
        case: String,
        /// Where.
        index: usize,
        /// The value.
        value: f32,
        /// The format.
        dtype: DType,
    },
    /// An op wrote past its output.
    #[error("{op}, {case}: element {index} is past the output, but {value:e} was written to it")]
    Stray {
        /// The op.
        op: &'static str,
        /// The case.
        case: String,
        /// Where.
        index: usize,
        /// What.
        value: f32,
    },
    /// A row's bits changed with something other than the row.
    #[error("{op}, {case}: row {row}, element {index} is {got:e}, but {first:e} in the first run")]
    Dependent {
        /// The op.
        op: &'static str,
        /// How the row was computed this time.
        case: String,
        /// The row.
        row: usize,
        /// Element of the row.
        index: usize,
        /// Value this time.
        got: f32,
        /// Value in the first run.
        first: f32,
    },
    /// The backends to be compared do not claim to be equal.
    #[error("numerics ids differ: `{first}` and `{other}`")]
    NumericsId {
        /// Id of the first backend.
        first: String,
        /// Another id.
        other: String,
    },
}

/// What [`run`] found of one op.
#[derive(Clone, Debug)]
pub struct OpReport {
    /// The op.
    pub op: &'static str,
    /// Cases run.
    pub num_cases: usize,
    /// Cases left out because the backend called them unsupported: only by [`part_of`].
    pub num_refused: usize,
    /// Elements compared.
    pub num_elements: usize,
    /// Largest distance from the oracle in units in the last place of the stored format. Large
    /// where sums cancel: the bound, not this, says what is right.
    pub max_ulp: u64,
    /// Largest part of its bound that an element used.
    pub max_severity: f64,
    /// Case of that element.
    pub worst_case: String,
}

/// Reports as a table, for people.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a>(pub &'a [OpReport]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<12} {:>6} {:>10} {:>10} {:>9}  worst case",
            "op", "cases", "elements", "max ulp", "of bound"
        )?;
        for report in self.0 {
            writeln!(
                f,
                "{:<12} {:>6} {:>10} {:>10} {:>9.4}  {}",
                report.op,
                report.num_cases,
                report.num_elements,
                report.max_ulp,
                report.max_severity,
                report.worst_case
            )?;
        }
        Ok(())
    }
}

/// Drives a backend, made afresh for each op, through every case of every op. KV caches take the
/// formats `kv_dtypes` in turn (all of them are needed to see all: pass those that the backend
/// serves, at least one).
///
/// # Errors
/// The first [`Failure`], which names op, case, worst element, error and bound.
pub fn run<O: Ops>(make: impl Fn() -> O, kv_dtypes: &[KvDType]) -> Result<Vec<OpReport>, Failure> {
    Ok(vec![
        embed(make())?,
        linear(make())?,
        rms_norm(make())?,
        head_norm(make())?,
        rope_angles(make())?,
        rope(make())?,
        kv_write(make(), kv_dtypes)?,
        attention(make(), kv_dtypes)?,
        silu_mul(make())?,
        kv_blocks(make(), kv_dtypes)?,
        kv_run(make(), kv_dtypes)?,
        rotate_attend(make(), kv_dtypes)?,
    ])
}

/// [`Ops::embed`] over [`crate::cases::embed`], exactly; also that `load_matrix` rounds to nearest.
///
/// # Errors
/// The first [`Failure`].
pub fn embed<O: Ops>(backend: O) -> Result<OpReport, Failure> {
    dense::embed(Rig::new("embed", backend))
}

/// [`Ops::linear`] over [`crate::cases::linear`].
///
/// # Errors
/// The first [`Failure`].
pub fn linear<O: Ops>(backend: O) -> Result<OpReport, Failure> {
    dense::linear(Rig::new("linear", backend))
}

/// [`Ops::rms_norm`] over [`crate::cases::rms_norm`].
///
/// # Errors
/// The first [`Failure`].
pub fn rms_norm<O: Ops>(backend: O) -> Result<OpReport, Failure> {
    norms::rms_norm(Rig::new("rms_norm", backend))
}

/// [`Ops::head_norm`] over [`crate::cases::heads`].
///
/// # Errors
/// The first [`Failure`].
pub fn head_norm<O: Ops>(backend: O) -> Result<OpReport, Failure> {
    norms::head_norm(Rig::new("head_norm", backend))
}

/// [`Ops::rope_angles`] over [`crate::cases::rope_angles`].
///
/// # Errors
/// The first [`Failure`].
pub fn rope_angles<O: Ops>(backend: O) -> Result<OpReport, Failure> {
    rotary::rope_angles(Rig::new("rope_angles", backend))
}

/// [`Ops::rope`] over [`crate::cases::heads`].
///
/// # Errors
/// The first [`Failure`].
pub fn rope<O: Ops>(backend: O) -> Result<OpReport, Failure> {
    rotary::rope(Rig::new("rope", backend))
}

/// [`Ops::kv_write`] over [`crate::cases::kv_write`] in each format, exactly and in every slot.
///
/// # Errors
/// The first [`Failure`].
pub fn kv_write<O: Ops>(backend: O, kv_dtypes: &[KvDType]) -> Result<OpReport, Failure> {
    paged::kv_write(Rig::new("kv_write", backend), kv_dtypes)
}

/// [`Ops::attention`] over [`crate::cases::attention`], the formats in turn.
///
/// # Errors
/// The first [`Failure`].
pub fn attention<O: Ops>(backend: O, kv_dtypes: &[KvDType]) -> Result<OpReport, Failure> {
    paged::attention(Rig::new("attention", backend), kv_dtypes)
}

/// [`Ops::silu_mul`] over every row count and width.
///
/// # Errors
/// The first [`Failure`].
pub fn silu_mul<O: Ops>(backend: O) -> Result<OpReport, Failure> {
    activation::silu_mul(Rig::new("silu_mul", backend))
}

/// [`engine_core::device::Device::read_kv_blocks`] and its counterpart over the pools of
/// [`crate::cases::kv_write`] in each format: bit for bit, whatever a kv_block holds.
///
/// # Errors
/// The first [`Failure`].
pub fn kv_blocks<O: Ops>(backend: O, kv_dtypes: &[KvDType]) -> Result<OpReport, Failure> {
    transfer::kv_blocks(Rig::new("kv_blocks", backend), kv_dtypes)
}

/// [`engine_core::device::Device::read_kv_run`] and its counterpart over [`crate::cases::kv_run`] in each
/// format: the canonical order, bit for bit, and attention's bits on the other side.
///
/// # Errors
/// The first [`Failure`].
pub fn kv_run<O: Ops>(backend: O, kv_dtypes: &[KvDType]) -> Result<OpReport, Failure> {
    kv_run::kv_run(Rig::new("kv_run", backend), kv_dtypes)
}

/// [`Ops::rotate_attend`] over [`crate::cases::rotate_attend`] in each format: the bits of its parts, in the result and in
/// every slot.
///
/// # Errors
/// The first [`Failure`].
pub fn rotate_attend<O: Ops>(backend: O, kv_dtypes: &[KvDType]) -> Result<OpReport, Failure> {
    fused::rotate_attend(Rig::new("rotate_attend", backend), kv_dtypes)
}

/// As the op's own function, but a case that the backend calls unsupported is
/// counted and left out: for a backend that is held to one variant of an op.
///
/// # Errors
/// The first [`Failure`].
pub fn part_of<O: Ops>(op: PartOf, backend: O, kv_dtypes: &[KvDType]) -> Result<OpReport, Failure> {
    match op {
        PartOf::Linear => dense::linear(Rig::of_a_part("linear", backend)),
        PartOf::RmsNorm => norms::rms_norm(Rig::of_a_part("rms_norm", backend)),
        PartOf::Attention => paged::attention(Rig::of_a_part("attention", backend), kv_dtypes),
        PartOf::AttentionOfFp8Queries => {
            paged::attention_of_fp8_queries(Rig::of_a_part("attention", backend), kv_dtypes)
        }
        PartOf::SiluMul => activation::silu_mul(Rig::of_a_part("silu_mul", backend)),
    }
}

/// An op whose variants serve different shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartOf {
    /// [`linear`].
    Linear,
    /// [`rms_norm`].
    RmsNorm,
    /// [`attention`].
    Attention,
    /// [`attention`] by a backend that rounds queries to e4m3fnuz, with a scale of each row and head, and may err by as
    /// much more.
    AttentionOfFp8Queries,
    /// [`silu_mul`].
    SiluMul,
}
