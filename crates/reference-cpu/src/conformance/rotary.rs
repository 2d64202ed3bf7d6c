//! Rotary position embedding.

use engine_core::dtype::DType;
use engine_core::ops::{Cols, Ops, Rope, RopeAngles};

use super::paging::single_rows;
use super::rig::Rig;
use super::{Failure, OpReport};
use crate::cases::{self, HeadsCase, RopeAnglesCase};
use crate::inputs::Rng;
use crate::{bounds, ops};

pub(super) fn rope_angles<O: Ops>(mut rig: Rig<O>) -> Result<OpReport, Failure> {
    for case in cases::rope_angles() {
        rig.begin(&case);
        rope_angles_case(&mut rig, &case)?;
    }
    Ok(rig.finish())
}

fn rope_angles_case<O: Ops>(rig: &mut Rig<O>, case: &RopeAnglesCase) -> Result<(), Failure> {
    let end = case.first_position + case.num_tokens as u32;
    let positions: Vec<u32> = (case.first_position..end).collect();
    let host_freqs = frequencies(case.num_freqs, case.theta);
    let mut batch = O::Batch::default();
    let uploaded = rig.backend.upload_batch(&single_rows(&positions), &mut batch);
    rig.did(uploaded)?;
    let inv_freq = rig.f32_buffer(&host_freqs)?;
    let len = case.num_tokens * 2 * case.num_freqs;
    let mut out = rig.f32_out(len)?;
    let done = rig.backend.rope_angles(RopeAngles {
        batch: &batch,
        inv_freq: &inv_freq,
        num_freqs: case.num_freqs,
        attention_factor: case.attention_factor,
        out: &mut out,
    });
    rig.did(done)?;
    let mut want = vec![0.0; len];
    ops::rope_angles(&positions, &host_freqs, case.attention_factor, &mut want);
    let got = rig.read_f32(&out, len)?;
    rig.check(DType::F32, &got, &want, &bounds::rope_angles(len, case.attention_factor))
}

/// The geometric series `theta^(−i/n)`.
pub(super) fn frequencies(num_freqs: usize, theta: f64) -> Vec<f32> {
    let exponent = |i: usize| -(i as f64) / num_freqs as f64;
    (0..num_freqs).map(|i| theta.powf(exponent(i)) as f32).collect()
}

pub(super) fn rope<O: Ops>(mut rig: Rig<O>) -> Result<OpReport, Failure> {
    let mut rng = Rng::new(0x2095);
    for case in cases::heads() {
        rig.begin(&case);
        rope_case(&mut rig, &case, &mut rng)?;
    }
    Ok(rig.finish())
}

fn rope_case<O: Ops>(rig: &mut Rig<O>, case: &HeadsCase, rng: &mut Rng) -> Result<(), Failure> {
    let (num_rows, head_dim, rotary_dim) = (case.num_rows, case.head_dim, case.rotary_dim);
    let width = case.num_heads * head_dim;
    let stride = case.first_col + width + case.cols_after;
    let mut before = case.inputs.make(rng, num_rows * stride, DType::F32);
    before.iter_mut().for_each(|x| *x *= case.magnitude);
    let positions: Vec<u32> = (0..num_rows).map(|_| rng.below(5000) as u32).collect();
    let mut host_angles = vec![0.0; num_rows * rotary_dim];
    ops::rope_angles(&positions, &frequencies(rotary_dim / 2, 1e4), 1.0, &mut host_angles);

    let mut x = rig.f32_buffer(&before)?;
    let angles = rig.f32_buffer(&host_angles)?;
    let done = rig.backend.rope(Rope {
        x: Cols { buffer: &mut x, first_col: case.first_col, stride },
        angles: &angles,
        num_rows,
        num_heads: case.num_heads,
        head_dim,
        rotary_dim,
    });
    rig.did(done)?;

    let mut want = before.clone();
    let view = Cols { buffer: &mut want[..], first_col: case.first_col, stride };
    ops::rope(view, &host_angles, num_rows, case.num_heads, head_dim, rotary_dim);
    let mut errors = vec![0.0; before.len()];
    let heads = case.first_col..case.first_col + width;
    let rows = before.chunks_exact(stride).zip(errors.chunks_exact_mut(stride));
    for ((before, errors), angles) in rows.zip(host_angles.chunks_exact(rotary_dim)) {
        let row = bounds::rope(&before[heads.clone()], angles, head_dim);
        errors[heads.clone()].copy_from_slice(&row);
    }
    let got = rig.read_f32(&x, before.len())?;
    rig.check(DType::F32, &got, &want, &errors)
}
