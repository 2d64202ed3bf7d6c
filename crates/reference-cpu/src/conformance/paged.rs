//! The paged cache: writing it and attending it.

use core::ops::Range;

use engine_core::batch::Batch;
use engine_core::device::KvCacheShape;
use engine_core::dtype::DType;
use engine_core::kv_dtype::KvDType;
use engine_core::kv_scales::KvScales;
use engine_core::ops::{Attention, Cols, KvWrite, Ops};

use super::paging::{LAYER_IDX, NUM_LAYERS, Paging};
use super::rig::Rig;
use super::{Failure, OpReport};
use crate::cases::{self, AttentionCase, KvFormat, KvWriteCase};
use crate::inputs::{Inputs, Rng};
use crate::{bounds, ops};

/// A cache on the backend and what it should hold of layer [`LAYER_IDX`].
struct Caches<O: Ops> {
    shape: KvCacheShape,
    scales: KvScales,
    device: O::KvCache,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl<O: Ops> Caches<O> {
    /// All slots of all layers hold `fill(layer_idx)`.
    fn new(
        rig: &mut Rig<O>,
        paging: &Paging,
        (shape, scales): (KvCacheShape, KvScales),
        fill: impl Fn(usize) -> f32,
    ) -> Result<Self, Failure> {
        let allocated = rig.backend.alloc_kv_cache(shape, &scales);
        let device = rig.did(allocated)?;
        let len = shape.num_blocks * shape.block_size * shape.num_kv_heads * shape.head_dim;
        let unwritten = || vec![f32::NAN; len];
        let mut caches = Caches { shape, scales, device, keys: unwritten(), values: unwritten() };
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
            let scales = self.scales.layer(layer_idx);
            let pools = [(&mut self.keys, scales.k, 0), (&mut self.values, scales.v, width)];
            for (pool, scales, first_col) in pools {
                let rows = columns(rows, first_col, 2 * width);
                let format = (self.shape.dtype, scales);
                ops::kv_write(&batch.slot_mapping, rows, self.shape.head_dim, format, pool);
            }
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
        rig.check_exact(DType::F32, &got_keys, keys)?;
        rig.check_exact(DType::F32, &got_values, values)
    }
}

fn columns<B: ?Sized>(buffer: &B, first_col: usize, stride: usize) -> Cols<&B> {
    Cols { buffer, first_col, stride }
}

pub(super) fn kv_write<O: Ops>(
    mut rig: Rig<O>,
    kv_dtypes: &[KvDType],
) -> Result<OpReport, Failure> {
    let mut rng = Rng::new(0x6b76);
    let (cases, formats) = (cases::kv_write(), cases::kv_formats(kv_dtypes));
    // Each format meets ten cases or more, and one more block size in every round.
    let num_rounds = (10 * formats.len()).div_ceil(cases.len());
    for round in 0..num_rounds {
        for (case, &format) in cases.iter().zip(formats.iter().cycle().skip(round)) {
            rig.begin(&(case, format));
            kv_write_case(&mut rig, case, format, &mut rng)?;
        }
    }
    Ok(rig.finish())
}

fn kv_write_case<O: Ops>(
    rig: &mut Rig<O>,
    case: &KvWriteCase,
    format: KvFormat,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let seq_lens = [case.num_tokens / 2, case.num_tokens.div_ceil(2)];
    let paging = Paging::new(rng, case.block_size, &seq_lens);
    let cache = paging.cache(case.num_kv_heads, case.head_dim, format);
    let filler = |layer_idx: usize| [-2.0, -3.0][layer_idx];
    let mut caches = Caches::new(rig, &paging, cache, filler)?;
    let mut batch = paging.batch(&[(1, 0..seq_lens[1]), (0, 0..seq_lens[0])]);
    batch.slot_mapping.iter_mut().skip(1).step_by(3).for_each(|slot| *slot = -1);
    // Not rounded, and out of f16's range among the extreme ones.
    let len = case.num_tokens * 2 * case.num_kv_heads * case.head_dim;
    let rows = case.inputs.make(rng, len, DType::F32);
    caches.write(rig, &batch, &rows, LAYER_IDX)?;
    caches.check(rig, LAYER_IDX, &caches.keys, &caches.values)?;
    let scales = caches.scales.layer(0);
    let untouched = [scales.k, scales.v].map(|scales| {
        let heads = scales.iter().map(|scale| format.dtype.round(filler(0) / scale));
        let slot: Vec<f32> = heads.flat_map(|x| core::iter::repeat_n(x, case.head_dim)).collect();
        slot.repeat(caches.keys.len() / slot.len())
    });
    caches.check(rig, 0, &untouched[0], &untouched[1])
}

pub(super) fn attention<O: Ops>(rig: Rig<O>, kv_dtypes: &[KvDType]) -> Result<OpReport, Failure> {
    attention_within(rig, kv_dtypes, bounds::attention)
}

pub(super) fn attention_of_fp8_queries<O: Ops>(
    rig: Rig<O>,
    kv_dtypes: &[KvDType],
) -> Result<OpReport, Failure> {
    attention_within(rig, kv_dtypes, bounds::attention_of_fp8_queries)
}

/// What rows may be off by, given their oracle and its results.
type Bound = fn(&ops::Attention<'_>, Range<usize>, &[f32]) -> Vec<f64>;

fn attention_within<O: Ops>(
    mut rig: Rig<O>,
    kv_dtypes: &[KvDType],
    bound: Bound,
) -> Result<OpReport, Failure> {
    let mut rng = Rng::new(0xa77e);
    let (cases, formats) = (cases::attention(), cases::kv_formats(kv_dtypes));
    // Each format meets five cases or more.
    let num_rounds = (5 * formats.len()).div_ceil(cases.len());
    for (case, &format) in
        cases.iter().cycle().zip(formats.iter().cycle()).take(num_rounds * cases.len())
    {
        rig.begin(&(case, format));
        let done = attention_case(&mut rig, case, format, &mut rng, bound);
        rig.end(done)?;
    }
    Ok(rig.finish())
}

fn attention_case<O: Ops>(
    rig: &mut Rig<O>,
    case: &AttentionCase,
    format: KvFormat,
    rng: &mut Rng,
    bound: Bound,
) -> Result<(), Failure> {
    let (num_qo_heads, head_dim) = (case.num_qo_heads, case.head_dim);
    let seq_lens: Vec<usize> = case.seqs.iter().map(|seq| seq.seq_len).collect();
    let paging = Paging::new(rng, case.block_size, &seq_lens);
    let cache = paging.cache(case.num_kv_heads, head_dim, format);
    let shape = cache.0;
    let mut caches = Caches::new(rig, &paging, cache, |_| f32::NAN)?;
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

    let compute_dtype = rig.backend.compute_dtype();
    let oracle = ops::Attention {
        batch: &batch,
        q: columns(&host_q[..], first_col, stride),
        k: &caches.keys,
        v: &caches.values,
        shape,
        scales: caches.scales.layer(LAYER_IDX),
        query_dtype: shape.dtype.attention_dtype(compute_dtype),
        num_qo_heads,
        scale,
        window: case.window,
    };
    let mut want = vec![0.0; num_tokens * width];
    ops::attention(&oracle, 0..num_tokens, &mut want);
    let errors = bound(&oracle, 0..num_tokens, &want);
    let got = rig.read_act(&out, want.len())?;
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
