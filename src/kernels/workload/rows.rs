//! Dense layers, normalisations and activations: each row of the result from one row of the input.

use engine_core::device::OpError;
use engine_core::dtype::DType;
use engine_core::ops::{Linear, Ops, Out, RmsNorm, SiluMul};
use reference_cpu::{bounds, check, ops as oracle};

use super::numbers::{Normal, Verdict, spread};
use super::{Bound, CompareError};

pub(super) const EPS: f32 = 1e-5;

/// `values` in a new f32 array.
pub(super) fn f32s<O: Ops>(ops: &mut O, values: &[f32]) -> Result<O::Buffer, OpError> {
    let mut buffer = ops.alloc(values.len())?;
    ops.write_f32(values, &mut buffer)?;
    Ok(buffer)
}

pub(super) struct LinearRun<O: Ops> {
    host: [Normal; 2],
    x: O::Buffer,
    weight: O::Matrix,
    out: O::Buffer,
}

impl<O: Ops> LinearRun<O> {
    pub fn new(
        ops: &mut O,
        seed: u64,
        [num_rows, in_features, out_features]: [usize; 3],
    ) -> Result<Self, OpError> {
        let rows = Normal::new(seed, 0, [num_rows, in_features]);
        let weights = Normal::new(seed, 1, [out_features, in_features]);
        let mut x = ops.alloc_act(num_rows * in_features)?;
        ops.write_act(&rows.rows(), &mut x)?;
        let weight = ops.load_matrix(&[&weights])?;
        Ok(LinearRun { host: [rows, weights], x, weight, out: ops.alloc(num_rows * out_features)? })
    }
}

impl<O: Ops> Bound<O> for LinearRun<O> {
    fn run(&mut self, ops: &mut O) -> Result<(), CompareError> {
        let out = Out::Store(&mut self.out);
        let num_rows = self.host[0].num_rows;
        Ok(ops.linear(Linear { x: &self.x, weight: &self.weight, bias: None, num_rows, out })?)
    }

    fn check(&mut self, ops: &mut O) -> Result<Verdict, CompareError> {
        let [rows, weights] = self.host;
        let dtype = ops.compute_dtype();
        let mut got = vec![0.0; rows.num_rows * weights.num_rows];
        ops.read_f32(&self.out, &mut got)?;
        // One column in 61 of each checked row, which every tile has some of.
        let cols: Vec<_> =
            (0..weights.num_rows).step_by(61).chain([weights.num_rows - 1]).collect();
        let rounded = |values: Vec<f32>| values.into_iter().map(|value| dtype.round(value));
        let weight: Vec<f32> = cols.iter().flat_map(|&col| rounded(weights.row(col))).collect();
        let mut verdict = Verdict::default();
        for row in spread(rows.num_rows) {
            let x: Vec<f32> = rounded(rows.row(row)).collect();
            let mut want = vec![0.0; cols.len()];
            oracle::linear(&x, &weight, None, rows.num_cols, &mut want);
            let errors = bounds::linear(&x, &weight, None, None, rows.num_cols);
            let got = cols.iter().map(|col| got[row * weights.num_rows + col]);
            let got: Vec<f32> = got.collect();
            verdict.report(&check::compare(DType::F32, &got, &want, &errors));
        }
        Ok(verdict)
    }
}

pub(super) struct RmsNormRun<O: Ops> {
    host: [Normal; 2],
    x: O::Buffer,
    weight: O::Buffer,
    out: O::Buffer,
}

impl<O: Ops> RmsNormRun<O> {
    pub fn new(
        ops: &mut O,
        seed: u64,
        [num_rows, hidden_size]: [usize; 2],
    ) -> Result<Self, OpError> {
        let rows = Normal::new(seed, 0, [num_rows, hidden_size]);
        let weight = Normal::new(seed, 1, [1, hidden_size]);
        Ok(RmsNormRun {
            host: [rows, weight],
            x: f32s(ops, &rows.rows())?,
            weight: f32s(ops, &weight.rows())?,
            out: ops.alloc_act(num_rows * hidden_size)?,
        })
    }
}

/// Holds checked rows of 16 bits against `want`, which gives a row's oracle and errors.
fn check_rows<O: Ops>(
    ops: &mut O,
    out: &O::Buffer,
    [num_rows, width]: [usize; 2],
    want: impl Fn(usize) -> (Vec<f32>, Vec<f64>),
) -> Result<Verdict, CompareError> {
    let mut got = vec![0.0; num_rows * width];
    ops.read_act(out, &mut got)?;
    let mut verdict = Verdict::default();
    for row in spread(num_rows) {
        let (want, errors) = want(row);
        let got = &got[row * width..(row + 1) * width];
        verdict.report(&check::compare(ops.compute_dtype(), got, &want, &errors));
    }
    Ok(verdict)
}

/// A normalised row, and how far it may be off.
pub(super) fn normed(x: &[f32], weight: &[f32]) -> (Vec<f32>, Vec<f64>) {
    let mut want = vec![0.0; x.len()];
    oracle::rms_norm(x, weight, EPS, None, &mut want);
    let errors = bounds::rms_norm(&want, weight);
    (want, errors)
}

/// An activated row, and how far it may be off.
pub(super) fn activated(gate_up: &[f32]) -> (Vec<f32>, Vec<f64>) {
    let width = gate_up.len() / 2;
    let mut want = vec![0.0; width];
    oracle::silu_mul(gate_up, width, &mut want);
    let errors = bounds::silu_mul(gate_up, width, &want);
    (want, errors)
}

impl<O: Ops> Bound<O> for RmsNormRun<O> {
    fn run(&mut self, ops: &mut O) -> Result<(), CompareError> {
        let RmsNormRun { host: [rows, _], x, weight, out } = self;
        let (num_rows, hidden_size) = (rows.num_rows, rows.num_cols);
        Ok(ops.rms_norm(RmsNorm { x, weight, eps: EPS, hidden_size, rows: None, num_rows, out })?)
    }

    fn check(&mut self, ops: &mut O) -> Result<Verdict, CompareError> {
        let [rows, weight] = self.host;
        let weight = weight.rows();
        let shape = [rows.num_rows, rows.num_cols];
        check_rows(ops, &self.out, shape, |row| normed(&rows.row(row), &weight))
    }
}

pub(super) struct SiluMulRun<O: Ops> {
    host: Normal,
    gate_up: O::Buffer,
    out: O::Buffer,
}

impl<O: Ops> SiluMulRun<O> {
    pub fn new(ops: &mut O, seed: u64, [num_rows, width]: [usize; 2]) -> Result<Self, OpError> {
        let host = Normal::new(seed, 0, [num_rows, 2 * width]);
        let gate_up = f32s(ops, &host.rows())?;
        Ok(SiluMulRun { host, gate_up, out: ops.alloc_act(num_rows * width)? })
    }
}

impl<O: Ops> Bound<O> for SiluMulRun<O> {
    fn run(&mut self, ops: &mut O) -> Result<(), CompareError> {
        let SiluMulRun { host, gate_up, out } = self;
        let (num_rows, width) = (host.num_rows, host.num_cols / 2);
        Ok(ops.silu_mul(SiluMul { gate_up, num_rows, width, out })?)
    }

    fn check(&mut self, ops: &mut O) -> Result<Verdict, CompareError> {
        let host = self.host;
        let shape = [host.num_rows, host.num_cols / 2];
        check_rows(ops, &self.out, shape, |row| activated(&host.row(row)))
    }
}
