//! Work on single rows: norms, rotary embedding, KV write.

use engine_core::batch::Batch;
use engine_core::dtype::DType;
use engine_core::kv_dtype::KvDType;
use half::f16;

use crate::buffer::{AlignedBuf, SharedPtr};
use crate::kv_layout::{Fp8, KvCache};
use crate::matrix::bf16_bits;
use crate::pool::Pool;
use crate::simd::Kernels;

/// Elements below which a region is cheaper on one thread than shared out.
const MIN_SHARED_ELEMENTS: usize = 16 * 1024;
/// Tasks that each thread gets, so that an uneven machine still finishes together.
const TASKS_PER_THREAD: usize = 4;

/// Calls `work` on ranges of rows that together cover `0..num_rows`, on many threads when the rows
/// (of `row_elements` each) are worth it.
pub(crate) fn run_rows(
    pool: &mut Pool,
    num_rows: usize,
    row_elements: usize,
    work: impl Fn(std::ops::Range<usize>) + Sync,
) {
    if num_rows * row_elements < MIN_SHARED_ELEMENTS {
        return work(0..num_rows);
    }
    let rows_per_task = num_rows.div_ceil(TASKS_PER_THREAD * pool.num_threads());
    pool.run(num_rows.div_ceil(rows_per_task), |task_idx, _| {
        let first = task_idx * rows_per_task;
        work(first..(first + rows_per_task).min(num_rows));
    });
}

/// The heads of a view into a row-major buffer.
#[derive(Clone, Copy)]
pub(crate) struct Heads {
    pub(crate) first_col: usize,
    pub(crate) stride: usize,
    pub(crate) num_rows: usize,
    pub(crate) num_heads: usize,
    pub(crate) head_dim: usize,
}

impl Heads {
    /// Columns of the view.
    pub(crate) fn width(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Head `head_idx` of row `row_idx`.
    pub(crate) fn head<'a>(&self, x: &'a [f32], row_idx: usize, head_idx: usize) -> &'a [f32] {
        let first = row_idx * self.stride + self.first_col + head_idx * self.head_dim;
        &x[first..first + self.head_dim]
    }

    /// Calls `work(row_idx, head)` on each head of each row, in place.
    fn for_each(self, pool: &mut Pool, x: &mut [f32], work: impl Fn(usize, &mut [f32]) + Sync) {
        let x = SharedPtr::new(x);
        run_rows(pool, self.num_rows, self.width(), |rows| {
            for row_idx in rows {
                let first = row_idx * self.stride + self.first_col;
                // SAFETY: the caller has checked that the buffer holds the view; a row is one task's.
                let row = unsafe { x.part(first, self.width()) };
                row.chunks_exact_mut(self.head_dim).for_each(|head| work(row_idx, head));
            }
        });
    }
}

/// Largest head that [`head_norm`] takes.
pub(crate) const MAX_HEAD_DIM: usize = 512;

/// RMSNorm of each head in place.
pub(crate) fn head_norm(
    kernels: &Kernels,
    pool: &mut Pool,
    x: &mut [f32],
    heads: Heads,
    weight: &[f32],
    eps: f32,
) {
    heads.for_each(pool, x, |_, head| {
        let mut normed = [0.0_f32; MAX_HEAD_DIM];
        let normed = &mut normed[..heads.head_dim];
        // SAFETY: `kernels` exists, so the CPU has the features.
        unsafe { (kernels.rms_norm_row)(head, weight, eps, normed) };
        head.copy_from_slice(normed);
    });
}

/// Rotates each head in place; `angles` is `[num_rows, rotary_dim]`: cosines, then sines.
pub(crate) fn rope(
    pool: &mut Pool,
    x: &mut [f32],
    heads: Heads,
    angles: &[f32],
    rotary_dim: usize,
) {
    let half = rotary_dim / 2;
    heads.for_each(pool, x, |row_idx, head| {
        let (cos, sin) = angles[row_idx * rotary_dim..(row_idx + 1) * rotary_dim].split_at(half);
        let (low, high) = head[..rotary_dim].split_at_mut(half);
        for i in 0..half {
            let (a, b) = (low[i], high[i]);
            low[i] = a * cos[i] - b * sin[i];
            high[i] = b * cos[i] + a * sin[i];
        }
    });
}

/// Writes the rows' K and V to their slots of layer `layer_idx`. Slots have been checked.
pub(crate) fn kv_write(
    batch: &Batch,
    (k, k_heads): (&[f32], Heads),
    (v, v_heads): (&[f32], Heads),
    kv_cache: &mut KvCache,
    layer_idx: usize,
) {
    let layout = kv_cache.layout;
    let format = Format { dtype: layout.shape.dtype, fp8: kv_cache.fp8.as_ref() };
    let scales = kv_cache.scales.layer(layer_idx);
    let layer = &mut kv_cache.layers[layer_idx];
    let mut scatter = |row_idx: usize, slot: usize| {
        let (block, offset) = (slot / layout.shape.block_size, slot % layout.shape.block_size);
        for head_idx in 0..layout.shape.num_kv_heads {
            let first = layout.head_block(block, head_idx);
            let k_row = k_heads.head(k, row_idx, head_idx);
            let v_row = v_heads.head(v, row_idx, head_idx);
            let (k_scale, v_scale) = (scales.k[head_idx], scales.v[head_idx]);
            format.write(&mut layer.k, k_row, k_scale, |d| first + layout.k_offset(offset, d));
            format.write(&mut layer.v, v_row, v_scale, |d| first + layout.v_offset(offset, d));
        }
    };
    for (row_idx, &slot) in batch.slot_mapping.iter().enumerate() {
        if let Ok(slot) = usize::try_from(slot) {
            scatter(row_idx, slot);
        }
    }
}

/// A cache's format.
#[derive(Clone, Copy)]
struct Format<'a> {
    dtype: KvDType,
    fp8: Option<&'a Fp8>,
}

impl Format<'_> {
    /// Writes one head of one row, element `d` to `place(d)`.
    fn write(self, pool: &mut AlignedBuf, row: &[f32], scale: f32, place: impl Fn(usize) -> usize) {
        if let Some(fp8) = self.fp8 {
            // Encoded first: a loop without a scatter uses vectors.
            let mut codes = [0; MAX_HEAD_DIM];
            let encoder = fp8.encoder;
            codes.iter_mut().zip(row).for_each(|(code, &x)| *code = encoder.encode(x / scale));
            return put(pool, codes[..row.len()].iter().copied(), place);
        }
        let row = row.iter().map(|&x| x / scale);
        match self.dtype {
            KvDType::Float(DType::F16) => put(pool, row.map(f16::from_f32), place),
            KvDType::Float(DType::BF16) => put(pool, row.map(bf16_bits), place),
            KvDType::Float(DType::F32) | KvDType::Fp8(_) => put(pool, row, place),
        }
    }
}

fn put<T: bytemuck::Pod>(
    pool: &mut AlignedBuf,
    row: impl Iterator<Item = T>,
    place: impl Fn(usize) -> usize,
) {
    let pool = pool.as_mut_slice::<T>();
    row.enumerate().for_each(|(d, x)| pool[place(d)] = x);
}
