//! A backend under test: its buffers with NaN tails, its case, its report.

use core::fmt::Debug;

use engine_core::checkpoint::RowSource;
use engine_core::device::OpError;
use engine_core::dtype::DType;
use engine_core::ops::Ops;

use super::{Failure, OpReport};
use crate::check::{self, Report};

/// Elements behind the part of a buffer that an op may touch: NaN before, NaN after. Longer than a
/// vector and no multiple of one.
const TAIL: usize = 67;

/// One op of one backend under test.
pub(super) struct Rig<O> {
    pub(super) backend: O,
    op: &'static str,
    case: String,
    report: OpReport,
    skips_unsupported: bool,
}

impl<O: Ops> Rig<O> {
    pub(super) fn new(op: &'static str, backend: O) -> Self {
        let report = OpReport {
            op,
            num_cases: 0,
            num_refused: 0,
            num_elements: 0,
            max_ulp: 0,
            max_severity: 0.0,
            worst_case: String::new(),
        };
        Rig { backend, op, case: String::new(), report, skips_unsupported: false }
    }

    /// For a backend that need not serve every case: what it calls unsupported is counted.
    pub(super) fn of_a_part(op: &'static str, backend: O) -> Self {
        Rig { skips_unsupported: true, ..Rig::new(op, backend) }
    }

    /// The end of a case.
    pub(super) fn end(&mut self, result: Result<(), Failure>) -> Result<(), Failure> {
        match result {
            Err(Failure::Refused { source: OpError::Unsupported { .. }, .. })
                if self.skips_unsupported =>
            {
                self.report.num_cases -= 1;
                self.report.num_refused += 1;
                Ok(())
            }
            result => result,
        }
    }

    /// Begins a case; its debug format names it in failures.
    pub(super) fn begin(&mut self, case: &dyn Debug) {
        self.case = format!("{case:?}");
        self.report.num_cases += 1;
    }

    pub(super) fn finish(self) -> OpReport {
        self.report
    }

    /// Turns a refusal into a failure of the case.
    pub(super) fn did<T>(&self, result: Result<T, OpError>) -> Result<T, Failure> {
        result.map_err(|source| Failure::Refused { op: self.op, case: self.case.clone(), source })
    }

    /// The failure of taking arguments that must be refused.
    pub(super) fn took(&self, what: &str) -> Failure {
        Failure::Took { op: self.op, case: self.case.clone(), what: what.to_owned() }
    }

    /// An f32 buffer with `data` and a tail of NaN.
    pub(super) fn f32_buffer(&mut self, data: &[f32]) -> Result<O::Buffer, Failure> {
        let result = self.backend.alloc(data.len() + TAIL).and_then(|mut buffer| {
            self.backend.write_f32(&with_tail(data), &mut buffer)?;
            Ok(buffer)
        });
        self.did(result)
    }

    /// A matrix-input buffer with `data` and a tail of NaN.
    pub(super) fn act_buffer(&mut self, data: &[f32]) -> Result<O::Buffer, Failure> {
        let result = self.backend.alloc_act(data.len() + TAIL).and_then(|mut buffer| {
            self.backend.write_act(&with_tail(data), &mut buffer)?;
            Ok(buffer)
        });
        self.did(result)
    }

    /// An f32 buffer for `len` results, all NaN.
    pub(super) fn f32_out(&mut self, len: usize) -> Result<O::Buffer, Failure> {
        self.f32_buffer(&vec![f32::NAN; len])
    }

    /// A matrix-input buffer for `len` results, all NaN.
    pub(super) fn act_out(&mut self, len: usize) -> Result<O::Buffer, Failure> {
        self.act_buffer(&vec![f32::NAN; len])
    }

    /// The first `len` elements; the tail must still be NaN.
    pub(super) fn read_f32(&mut self, buffer: &O::Buffer, len: usize) -> Result<Vec<f32>, Failure> {
        let mut values = vec![0.0; len + TAIL];
        let result = self.backend.read_f32(buffer, &mut values);
        self.did(result)?;
        self.without_tail(values, len)
    }

    /// The first `len` elements; the tail must still be NaN, and all values of the compute dtype.
    pub(super) fn read_act(&mut self, buffer: &O::Buffer, len: usize) -> Result<Vec<f32>, Failure> {
        let mut values = vec![0.0; len + TAIL];
        let result = self.backend.read_act(buffer, &mut values);
        self.did(result)?;
        let values = self.without_tail(values, len)?;
        let dtype = self.backend.compute_dtype();
        let unrounded = |value: &f32| !value.is_nan() && dtype.round(*value) != *value;
        match values.iter().position(unrounded) {
            None => Ok(values),
            Some(index) => Err(Failure::Unrounded {
                op: self.op,
                case: self.case.clone(),
                index,
                value: values[index],
                dtype,
            }),
        }
    }

    fn without_tail(&self, mut values: Vec<f32>, len: usize) -> Result<Vec<f32>, Failure> {
        if let Some(offset) = values[len..].iter().position(|value| !value.is_nan()) {
            return Err(Failure::Stray {
                op: self.op,
                case: self.case.clone(),
                index: len + offset,
                value: values[len + offset],
            });
        }
        values.truncate(len);
        Ok(values)
    }

    /// Holds results stored in `dtype` against the oracle's.
    pub(super) fn check(
        &mut self,
        dtype: DType,
        got: &[f32],
        want: &[f32],
        errors: &[f64],
    ) -> Result<(), Failure> {
        self.record(dtype, check::compare(dtype, got, want, errors))
    }

    /// Holds bits against the oracle's.
    pub(super) fn check_exact(
        &mut self,
        dtype: DType,
        got: &[f32],
        want: &[f32],
    ) -> Result<(), Failure> {
        self.record(dtype, check::compare_exact(dtype, got, want))
    }

    fn record(&mut self, dtype: DType, report: Report) -> Result<(), Failure> {
        if !report.is_ok() {
            return Err(Failure::Wrong { op: self.op, case: self.case.clone(), dtype, report });
        }
        self.report.num_elements += report.num_elements;
        self.report.max_ulp = self.report.max_ulp.max(report.max_ulp);
        let severity = report.worst.map_or(0.0, |worst| worst.severity());
        if severity > self.report.max_severity || self.report.worst_case.is_empty() {
            self.report.max_severity = severity;
            self.report.worst_case.clone_from(&self.case);
        }
        Ok(())
    }
}

fn with_tail(data: &[f32]) -> Vec<f32> {
    let mut values = data.to_vec();
    values.resize(data.len() + TAIL, f32::NAN);
    values
}

/// A host matrix as a part of a weight.
pub(super) struct HostRows<'a> {
    values: &'a [f32],
    num_cols: usize,
}

impl<'a> HostRows<'a> {
    /// `values` in `num_parts` parts, as even as rows allow; later ones may be empty of rows.
    pub(super) fn split(values: &'a [f32], num_cols: usize, num_parts: usize) -> Vec<Self> {
        let num_rows = values.len() / num_cols;
        let rows_of_part = num_rows.div_ceil(num_parts).max(1);
        values.chunks(rows_of_part * num_cols).map(|values| HostRows { values, num_cols }).collect()
    }

    /// The parts as `load_matrix` takes them.
    pub(super) fn load<O: Ops>(backend: &mut O, parts: &[Self]) -> Result<O::Matrix, OpError> {
        let parts: Vec<&dyn RowSource> = parts.iter().map(|part| part as &dyn RowSource).collect();
        backend.load_matrix(&parts)
    }
}

impl RowSource for HostRows<'_> {
    fn num_rows(&self) -> usize {
        self.values.len() / self.num_cols
    }

    fn num_cols(&self) -> usize {
        self.num_cols
    }

    fn read_row(&self, row: usize, out: &mut [f32]) {
        out.copy_from_slice(&self.values[row * self.num_cols..(row + 1) * self.num_cols]);
    }
}
