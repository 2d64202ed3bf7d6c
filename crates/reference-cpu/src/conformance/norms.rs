//! RMSNorm of rows and of heads.

use engine_core::dtype::DType;
use engine_core::ops::{Cols, HeadNorm, Ops, RmsNorm};

use super::rig::Rig;
use super::{Failure, OpReport};
use crate::cases::{self, HeadsCase, RmsNormCase};
use crate::inputs::{Inputs, Rng};
use crate::{bounds, ops};

pub(super) fn rms_norm<O: Ops>(mut rig: Rig<O>) -> Result<OpReport, Failure> {
    let mut rng = Rng::new(0x2535);
    for case in cases::rms_norm() {
        rig.begin(&case);
        let done = rms_norm_case(&mut rig, &case, &mut rng);
        rig.end(done)?;
    }
    Ok(rig.finish())
}

fn rms_norm_case<O: Ops>(
    rig: &mut Rig<O>,
    case: &RmsNormCase,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let (num_rows, hidden_size) = (case.num_rows, case.hidden_size);
    // Selected rows out of order, some twice; the others are NaN.
    let num_x_rows = if case.gather { 2 * num_rows + 3 } else { num_rows };
    let rows: Vec<u32> = (0..num_rows).map(|_| rng.below(num_x_rows) as u32).collect();
    let rows = case.gather.then_some(rows);
    let mut host_x = case.inputs.make(rng, num_x_rows * hidden_size, DType::F32);
    for (row, x) in host_x.chunks_exact_mut(hidden_size).enumerate() {
        let selected = rows.as_ref().is_none_or(|rows| rows.contains(&(row as u32)));
        let factor = if selected { case.magnitude } else { f32::NAN };
        x.iter_mut().for_each(|x| *x *= factor);
    }
    let host_weight = case.inputs.make(rng, hidden_size, DType::F32);

    let x = rig.f32_buffer(&host_x)?;
    let weight = rig.f32_buffer(&host_weight)?;
    let len = num_rows * hidden_size;
    let mut out = rig.act_out(len)?;
    let done = rig.backend.rms_norm(RmsNorm {
        x: &x,
        weight: &weight,
        eps: case.eps,
        hidden_size,
        rows: rows.as_deref(),
        num_rows,
        out: &mut out,
    });
    rig.did(done)?;

    let mut want = vec![0.0; len];
    ops::rms_norm(&host_x, &host_weight, case.eps, rows.as_deref(), &mut want);
    let got = rig.read_act(&out, len)?;
    let dtype = rig.backend.compute_dtype();
    rig.check(dtype, &got, &want, &bounds::rms_norm(&want, &host_weight))
}

pub(super) fn head_norm<O: Ops>(mut rig: Rig<O>) -> Result<OpReport, Failure> {
    let mut rng = Rng::new(0x4ead);
    for case in cases::heads() {
        rig.begin(&case);
        head_norm_case(&mut rig, &case, &mut rng)?;
    }
    Ok(rig.finish())
}

fn head_norm_case<O: Ops>(
    rig: &mut Rig<O>,
    case: &HeadsCase,
    rng: &mut Rng,
) -> Result<(), Failure> {
    const EPS: f32 = 1e-6;
    let width = case.num_heads * case.head_dim;
    let stride = case.first_col + width + case.cols_after;
    let mut before = case.inputs.make(rng, case.num_rows * stride, DType::F32);
    before.iter_mut().for_each(|x| *x *= case.magnitude);
    let host_weight = Inputs::Normal.make(rng, case.head_dim, DType::F32);

    let mut x = rig.f32_buffer(&before)?;
    let weight = rig.f32_buffer(&host_weight)?;
    let done = rig.backend.head_norm(HeadNorm {
        x: Cols { buffer: &mut x, first_col: case.first_col, stride },
        weight: &weight,
        eps: EPS,
        num_rows: case.num_rows,
        num_heads: case.num_heads,
        head_dim: case.head_dim,
    });
    rig.did(done)?;

    let mut want = before.clone();
    let view = Cols { buffer: &mut want[..], first_col: case.first_col, stride };
    ops::head_norm(view, &host_weight, EPS, case.num_rows, case.num_heads);
    let mut errors = bounds::rms_norm(&want, &host_weight);
    exact_outside(&mut errors, case, stride);
    let got = rig.read_f32(&x, before.len())?;
    rig.check(DType::F32, &got, &want, &errors)
}

/// Columns outside the view have to stay as they are.
pub(super) fn exact_outside(errors: &mut [f64], case: &HeadsCase, stride: usize) {
    let end = case.first_col + case.num_heads * case.head_dim;
    for row in errors.chunks_exact_mut(stride) {
        row[..case.first_col].fill(0.0);
        row[end..].fill(0.0);
    }
}
