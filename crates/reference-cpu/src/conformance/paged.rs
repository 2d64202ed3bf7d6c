//! The paged cache: writing it and attending it.

use core::ops::Range;

use engine_core::batch::Batch;
use engine_core::device::KvCacheShape;
use engine_core::dtype::DType;
use engine_core::ops::{Attention, Cols, KvWrite, Ops};

use super::paging::{LAYER_IDX, NUM_LAYERS, Paging};
use super::rig::Rig;
use super::{Failure, OpReport};
use crate::cases::{self, AttentionCase, KvWriteCase};
use crate::inputs::{Inputs, Rng};
use crate::{bounds, ops};

/// A cache on the backend and what it should hold of layer [`LAYER_IDX`].
struct Caches<O: Ops> {
    shape: KvCacheShape,
    device: O::KvCache,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl<O: Ops> Caches<O> {
    /// All slots of all layers hold `fill(layer_idx)`.
    fn new(
        rig: &mut Rig<O>,
        paging: &Paging,
        shape: KvCacheShape,
        fill: impl Fn(usize) -> f32,
    ) -> Result<Self, Failure> {
        let allocated = rig.backend.alloc_kv_cache(shape);
        let device = rig.did(allocated)?;
        let len = shape.num_blocks * shape.block_size * shape.num_kv_heads * shape.head_dim;
        let mut caches =
            Caches { shape, device, keys: vec![f32::NAN; len], values: vec![f32::NAN; len] };
        let batch = paging.whole_pool();
        for layer_idx in 0..NUM_LAYERS {
            let rows = vec![fill(layer_idx); 2 * len];
            caches.write(rig, &batch, &rows, layer_idx)?;
        }
        Ok(caches)
    }

    /// Writes `rows`, `[num_tokens, 2 · num_kv_heads · head_dim]`: a row's keys, then its values.
    fn write(
        &mut self,
        rig: &mut Rig<O>,
        batch: &Batch,
        rows: &[f32],
        layer_idx: usize,
    ) -> Result<(), Failure> {
        let width = self.shape.num_kv_heads * self.shape.head_dim;
        let mut device_batch = O::Batch::default();
        let uploaded = rig.backend.upload_batch(batch, &mut device_batch);
        rig.did(uploaded)?;
        let buffer = rig.f32_buffer(rows)?;
        let done = rig.backend.kv_write(KvWrite {
            batch: &device_batch,
            k: columns(&buffer, 0, 2 * width),
            v: columns(&buffer, width, 2 * width),
            kv_cache: &mut self.device,
            layer_idx,
        });
        rig.did(done)?;
        if layer_idx == LAYER_IDX {
            let (slots, dtype) = (&batch.slot_mapping, self.shape.dtype);
            ops::kv_write(slots, columns(rows, 0, 2 * width), width, dtype, &mut self.keys);
            ops::kv_write(slots, columns(rows, width, 2 * width), width, dtype, &mut self.values);
        }
        Ok(())
    }

    /// Holds every slot of layer `layer_idx` against `keys` and `values`.
    fn check(
        &self,
        rig: &mut Rig<O>,
        layer_idx: usize,
        keys: &[f32],
        values: &[f32],
    ) -> Result<(), Failure> {
        let shape = self.shape;
        let (mut got_keys, mut got_values) = (Vec::new(), Vec::new());
        for slot in 0..shape.num_blocks * shape.block_size {
            for head in 0..shape.num_kv_heads {
                let read = rig.backend.read_kv(&self.device, layer_idx, slot, head);
                let (key, value) = rig.did(read)?;
                got_keys.extend(key);
                got_values.extend(value);
            }
        }
        rig.check_exact(shape.dtype, &got_keys, keys)?;
        rig.check_exact(shape.dtype, &got_values, values)
    }
}

fn columns<B: ?Sized>(buffer: &B, first_col: usize, stride: usize) -> Cols<&B> {
    Cols { buffer, first_col, stride }
}

pub(super) fn kv_write<O: Ops>(mut rig: Rig<O>, kv_dtypes: &[DType]) -> Result<OpReport, Failure> {
    let mut rng = Rng::new(0x6b76);
    for case in cases::kv_write() {
        for &dtype in kv_dtypes {
            rig.begin(&(&case, dtype));
            kv_write_case(&mut rig, &case, dtype, &mut rng)?;
        }
    }
    Ok(rig.finish())
}

fn kv_write_case<O: Ops>(
    rig: &mut Rig<O>,
    case: &KvWriteCase,
    dtype: DType,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let seq_lens = [case.num_tokens / 2, case.num_tokens.div_ceil(2)];
    let paging = Paging::new(rng, case.block_size, &seq_lens);
    let shape = paging.shape(case.num_kv_heads, case.head_dim, dtype);
    let filler = |layer_idx: usize| [-2.0, -3.0][layer_idx];
    let mut caches = Caches::new(rig, &paging, shape, filler)?;
    let mut batch = paging.batch(&[(1, 0..seq_lens[1]), (0, 0..seq_lens[0])]);
    batch.slot_mapping.iter_mut().skip(1).step_by(3).for_each(|slot| *slot = -1);
    // Not rounded, and out of f16's range among the extreme ones.
    let len = case.num_tokens * 2 * case.num_kv_heads * case.head_dim;
    let rows = case.inputs.make(rng, len, DType::F32);
    caches.write(rig, &batch, &rows, LAYER_IDX)?;
    caches.check(rig, LAYER_IDX, &caches.keys, &caches.values)?;
    let untouched = vec![filler(0); caches.keys.len()];
    caches.check(rig, 0, &untouched, &untouched)
}

pub(super) fn attention<O: Ops>(mut rig: Rig<O>, kv_dtypes: &[DType]) -> Result<OpReport, Failure> {
    let mut rng = Rng::new(0xa77e);
    for (case, &dtype) in cases::attention().iter().zip(kv_dtypes.iter().cycle()) {
        rig.begin(&(case, dtype));
        attention_case(&mut rig, case, dtype, &mut rng)?;
    }
    Ok(rig.finish())
}

fn attention_case<O: Ops>(
    rig: &mut Rig<O>,
    case: &AttentionCase,
    dtype: DType,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let (num_qo_heads, head_dim) = (case.num_qo_heads, case.head_dim);
    let seq_lens: Vec<usize> = case.seqs.iter().map(|seq| seq.seq_len).collect();
    let paging = Paging::new(rng, case.block_size, &seq_lens);
    let shape = paging.shape(case.num_kv_heads, head_dim, dtype);
    let mut caches = Caches::new(rig, &paging, shape, |_| f32::NAN)?;
    let (history, rows) = history(case, &paging, rng);
    caches.write(rig, &history, &rows, LAYER_IDX)?;

    let spans = case.seqs.iter().enumerate();
    let spans = spans.map(|(seq_idx, seq)| (seq_idx, seq.seq_len - seq.num_rows..seq.seq_len));
    let batch = paging.batch(&spans.collect::<Vec<_>>());
    let num_tokens = batch.num_tokens();
    let width = num_qo_heads * head_dim;
    // The view starts behind columns that are not its own.
    let (first_col, stride) = (5, width + 9);
    let host_q = queries(case, rng, num_tokens, first_col, stride);
    let q = rig.f32_buffer(&host_q)?;
    let mut out = rig.act_out(num_tokens * width)?;
    let mut device_batch = O::Batch::default();
    let uploaded = rig.backend.upload_batch(&batch, &mut device_batch);
    rig.did(uploaded)?;
    let scale = (head_dim as f32).sqrt().recip();
    let done = rig.backend.attention(Attention {
        batch: &device_batch,
        q: columns(&q, first_col, stride),
        kv_cache: &caches.device,
        layer_idx: LAYER_IDX,
        num_qo_heads,
        scale,
        window: case.window,
        out: &mut out,
    });
    rig.did(done)?;

    let oracle = ops::Attention {
        batch: &batch,
        q: columns(&host_q[..], first_col, stride),
        k: &caches.keys,
        v: &caches.values,
        shape,
        num_qo_heads,
        scale,
        window: case.window,
    };
    let mut want = vec![0.0; num_tokens * width];
    ops::attention(&oracle, 0..num_tokens, &mut want);
    let errors = bounds::attention(&oracle, 0..num_tokens, &want);
    let got = rig.read_act(&out, want.len())?;
    let compute_dtype = rig.backend.compute_dtype();
    rig.check(compute_dtype, &got, &want, &errors)
}

/// A batch that writes every position of every sequence, and its rows: NaN for the positions that
/// no row of the step attends.
fn history(case: &AttentionCase, paging: &Paging, rng: &mut Rng) -> (Batch, Vec<f32>) {
    let width = case.num_kv_heads * case.head_dim;
    let (mut spans, mut rows): (Vec<(usize, Range<usize>)>, Vec<f32>) = Default::default();
    for (seq_idx, seq) in case.seqs.iter().enumerate() {
        let first = ops::attended(seq.seq_len - seq.num_rows, case.window).start;
        rows.resize(rows.len() + first * 2 * width, f32::NAN);
        for _ in first..seq.seq_len {
            rows.extend(score_inputs(case).make(rng, width, DType::F32));
            rows.extend(case.inputs.make(rng, width, DType::F16));
        }
        spans.push((seq_idx, 0..seq.seq_len));
    }
    (paging.batch(&spans), rows)
}

fn queries(
    case: &AttentionCase,
    rng: &mut Rng,
    num_tokens: usize,
    first_col: usize,
    stride: usize,
) -> Vec<f32> {
    let width = case.num_qo_heads * case.head_dim;
    let mut q = vec![f32::NAN; num_tokens * stride];
    for row in q.chunks_exact_mut(stride) {
        let values = score_inputs(case).make(rng, width, DType::F32);
        row[first_col..first_col + width].copy_from_slice(&values);
    }
    q
}

/// Extreme numbers in queries and keys would make scores of 10¹², whose f32 error alone decides the
/// softmax; peaked ones make scores of thousands.
fn score_inputs(case: &AttentionCase) -> Inputs {
    match case.inputs {
        Inputs::Extreme => Inputs::Normal,
        kind => kind,
    }
}
