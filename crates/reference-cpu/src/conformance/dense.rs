//! Embedding and dense layers.

use engine_core::batch::Batch;
use engine_core::dtype::DType;
use engine_core::ops::{Linear, Ops, Out};

use super::paging::single_rows;
use super::rig::{HostRows, Rig};
use super::{Failure, OpReport};
use crate::cases::{self, LinearCase};
use crate::inputs::{Inputs, Rng};
use crate::{bounds, ops};

pub(super) fn embed<O: Ops>(mut rig: Rig<O>) -> Result<OpReport, Failure> {
    let dtype = rig.backend.compute_dtype();
    let mut rng = Rng::new(0xe3bed);
    for case in cases::embed() {
        rig.begin(&case);
        // Not rounded: packing has to.
        let len = case.vocab_size * case.hidden_size;
        let source = case.inputs.make(&mut rng, len, DType::F32);
        let parts = HostRows::split(&source, case.hidden_size, 2);
        let loaded = HostRows::load(&mut rig.backend, &parts);
        let table = rig.did(loaded)?;
        let tokens = (0..case.num_tokens).map(|_| rng.below(case.vocab_size) as u32);
        let host_batch =
            Batch { token_ids: tokens.collect(), ..single_rows(&vec![0; case.num_tokens]) };
        let mut batch = O::Batch::default();
        let uploaded = rig.backend.upload_batch(&host_batch, &mut batch);
        rig.did(uploaded)?;
        let len = case.num_tokens * case.hidden_size;
        let mut out = rig.f32_out(len)?;
        let done = rig.backend.embed(&table, &batch, &mut out);
        rig.did(done)?;
        let rounded: Vec<f32> = source.iter().map(|&value| dtype.round(value)).collect();
        let mut want = vec![0.0; len];
        ops::embed(&rounded, &host_batch.token_ids, case.hidden_size, &mut want);
        let got = rig.read_f32(&out, len)?;
        rig.check_exact(dtype, &got, &want)?;
    }
    Ok(rig.finish())
}

pub(super) fn linear<O: Ops>(mut rig: Rig<O>) -> Result<OpReport, Failure> {
    let mut rng = Rng::new(0x11ea);
    for case in cases::linear() {
        rig.begin(&case);
        let done = linear_case(&mut rig, &case, &mut rng);
        rig.end(done)?;
    }
    Ok(rig.finish())
}

fn linear_case<O: Ops>(rig: &mut Rig<O>, case: &LinearCase, rng: &mut Rng) -> Result<(), Failure> {
    let dtype = rig.backend.compute_dtype();
    let (num_rows, ins, outs) = (case.num_rows, case.in_features, case.out_features);
    let host_x = case.inputs.make(rng, num_rows * ins, dtype);
    let host_weight = case.inputs.make(rng, outs * ins, dtype);
    let host_bias = case.bias.then(|| case.inputs.make(rng, outs, DType::F32));
    let before = Inputs::Normal.make(rng, num_rows * outs, DType::F32);
    let before = case.add_to.then_some(before);

    let parts = HostRows::split(&host_weight, ins, case.num_parts);
    let loaded = HostRows::load(&mut rig.backend, &parts);
    let weight = rig.did(loaded)?;
    let x = rig.act_buffer(&host_x)?;
    let bias = host_bias.as_deref().map(|bias| rig.f32_buffer(bias)).transpose()?;
    let mut out = match &before {
        Some(before) => rig.f32_buffer(before)?,
        None => rig.f32_out(num_rows * outs)?,
    };
    let done = rig.backend.linear(Linear {
        x: &x,
        weight: &weight,
        bias: bias.as_ref(),
        num_rows,
        out: if case.add_to { Out::AddTo(&mut out) } else { Out::Store(&mut out) },
    });
    rig.did(done)?;

    let mut want = vec![0.0; num_rows * outs];
    ops::linear(&host_x, &host_weight, host_bias.as_deref(), ins, &mut want);
    if let Some(before) = &before {
        for (want, before) in want.iter_mut().zip(before) {
            *want += before;
        }
    }
    let errors =
        bounds::linear(&host_x, &host_weight, host_bias.as_deref(), before.as_deref(), ins);
    let got = rig.read_f32(&out, num_rows * outs)?;
    rig.check(DType::F32, &got, &want, &errors)
}
