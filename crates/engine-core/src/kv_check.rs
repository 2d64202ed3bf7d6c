//! The start-up check of a KV cache's format: known numbers go through the backend's own writing,
//! reading and attending, and what comes back is held against the format's definition. A backend whose
//! format, flavour or scales are wrong would answer nonsense without an error; it does not start.

use alloc::vec;
use alloc::vec::Vec;

use crate::batch::Batch;
use crate::device::{KvCacheShape, OpError};
use crate::dtype::DType;
use crate::kv_dtype::KvDType;
use crate::kv_scales::KvScales;
use crate::ops::{Attention, Cols, KvWrite, Ops};

/// Why a backend cannot be trusted with a cache.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KvCheckError {
    /// The backend refuses.
    #[error(transparent)]
    Op(#[from] OpError),
    /// The backend errs.
    #[error(
        "the check of the KV cache failed: {what} in {dtype} gave {found:e} where {expected:e} is right; use another --kv-cache-dtype, and report this as a bug"
    )]
    Wrong {
        /// The format.
        dtype: KvDType,
        /// Which path.
        what: &'static str,
        /// What came back.
        found: f32,
        /// What the format's definition says.
        expected: f32,
    },
}

/// Fails unless the backend's caches of this format, block size and heads hold what is written to
/// them. Takes a fraction of a millisecond.
///
/// # Errors
/// [`KvCheckError`] with a number that came back wrong.
pub fn check_kv_format<O: Ops>(ops: &mut O, shape: KvCacheShape) -> Result<(), KvCheckError> {
    let check = Check::new(shape);
    let mut kv_cache = ops.alloc_kv_cache(check.shape, &check.scales)?;
    let mut batch = O::Batch::default();
    ops.upload_batch(&check.batch(), &mut batch)?;
    let mut rows = ops.alloc(check.rows.len())?;
    ops.write_f32(&check.rows, &mut rows)?;
    let (stride, width) = (check.stride(), check.width());
    let cols = |first_col| Cols { buffer: &rows, first_col, stride };
    let (k, v) = (cols(0), cols(width));
    ops.kv_write(KvWrite { batch: &batch, k, v, kv_cache: &mut kv_cache, layer_idx: 0 })?;
    check.stored(ops, &kv_cache)?;
    let mut out = ops.alloc_act(check.num_rows * width)?;
    let mut got = vec![0.0; check.num_rows * width];
    for (what, window) in
        [("attention to one token", Some(1)), ("attention to two tokens", Some(2))]
    {
        ops.attention(Attention {
            batch: &batch,
            q: cols(2 * width),
            kv_cache: &kv_cache,
            layer_idx: 0,
            num_qo_heads: shape.num_kv_heads,
            scale: check.scale(),
            window,
            out: &mut out,
        })?;
        ops.read_act(&out, &mut got)?;
        check.attended(what, window == Some(2), ops.compute_dtype(), &got)?;
    }
    Ok(())
}

/// What is written, and what should come of it.
struct Check {
    shape: KvCacheShape,
    scales: KvScales,
    num_rows: usize,
    /// `[num_rows, 3 · num_kv_heads · head_dim]`: keys, values, queries.
    rows: Vec<f32>,
}

impl Check {
    fn new(shape: KvCacheShape) -> Self {
        let KvCacheShape { num_kv_heads, head_dim, block_size, dtype, .. } = shape;
        // Unlike each other, so that none can stand for another.
        let scale_of = |choices: [f32; 3]| match dtype {
            KvDType::Float(_) => vec![1.0; num_kv_heads],
            KvDType::Fp8(_) => (0..num_kv_heads).map(|head| choices[head % 3]).collect(),
        };
        let scales =
            KvScales::new(num_kv_heads, scale_of([0.75, 0.3, 0.5]), scale_of([0.4, 0.9, 0.6]))
                .unwrap_or_else(|_| KvScales::ones(1, num_kv_heads));
        let probes = probes(dtype);
        // An even number of rows, each pair with a key of zeros before a small one.
        let num_rows = probes.len().div_ceil(head_dim.max(1)).next_multiple_of(2);
        let mut rows = Vec::new();
        for row in 0..num_rows {
            let small = if row % 2 == 0 { 0.0 } else { 1.0 };
            rows.extend((0..num_kv_heads * head_dim).map(|_| small));
            for head in 0..num_kv_heads {
                let values =
                    (0..head_dim).map(|d| probes[(row * head_dim + d + head) % probes.len()]);
                let scale = scales.layer(0).v[head];
                rows.extend(values.map(|value| value * scale));
            }
            rows.extend((0..num_kv_heads * head_dim).map(|_| 1.0));
        }
        let num_blocks = num_rows.div_ceil(block_size.max(1));
        let shape = KvCacheShape { num_layers: 1, num_blocks, ..shape };
        Check { shape, scales, num_rows, rows }
    }

    fn width(&self) -> usize {
        self.shape.num_kv_heads * self.shape.head_dim
    }

    fn stride(&self) -> usize {
        3 * self.width()
    }

    /// Scores of about ln 3 with the small keys, which weigh 3 against the 1 of the zeros.
    fn scale(&self) -> f32 {
        1.1 / self.shape.head_dim as f32
    }

    /// One sequence in the pool's own order.
    fn batch(&self) -> Batch {
        let num_rows = self.num_rows as u32;
        Batch {
            token_ids: vec![0; self.num_rows],
            positions: (0..num_rows).collect(),
            slot_mapping: (0..i64::from(num_rows)).collect(),
            cu_seqlens_q: vec![0, num_rows],
            seq_lens: vec![num_rows],
            block_tables: (0..self.shape.num_blocks as u32).collect(),
            max_num_blocks: self.shape.num_blocks,
        }
    }

    /// The stored number of element `d` of the keys (`part` 0) or values (1).
    fn expected(&self, part: usize, row: usize, head: usize, d: usize) -> f32 {
        let scales = self.scales.layer(0);
        let scale = if part == 0 { scales.k[head] } else { scales.v[head] };
        let col = part * self.width() + head * self.shape.head_dim + d;
        self.shape.dtype.round(self.rows[row * self.stride() + col] / scale)
    }

    fn stored<O: Ops>(&self, ops: &mut O, kv_cache: &O::KvCache) -> Result<(), KvCheckError> {
        for row in 0..self.num_rows {
            for head in 0..self.shape.num_kv_heads {
                let (keys, values) = ops.read_kv(kv_cache, 0, row, head)?;
                for (part, found) in [keys, values].into_iter().enumerate() {
                    for (d, found) in found.into_iter().enumerate() {
                        let expected = self.expected(part, row, head, d);
                        if found.to_bits() != expected.to_bits() {
                            return Err(self.wrong("a stored number", found, expected));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Holds outputs against values: a row's own, or with `is_pair` the mean of it and the one before.
    fn attended(
        &self,
        what: &'static str,
        is_pair: bool,
        compute_dtype: DType,
        got: &[f32],
    ) -> Result<(), KvCheckError> {
        // A rounding of the result, one of each probability, and far less than any wrong factor.
        const TOLERANCE: f32 = 1.0 / 64.0;
        let head_dim = self.shape.head_dim;
        let scales = self.scales.layer(0);
        let weight = |row: usize, head: usize| {
            let key = self.expected(0, row, head, 0) * scales.k[head];
            libm::expf(self.scale() * head_dim as f32 * key)
        };
        for (i, &found) in got.iter().enumerate() {
            let (row, head, d) = (i / self.width(), i % self.width() / head_dim, i % head_dim);
            let value = |row: usize| self.expected(1, row, head, d) * scales.v[head];
            let (expected, largest) = match row.checked_sub(1).filter(|_| is_pair) {
                None => (value(row), value(row).abs()),
                Some(before) => {
                    let (a, b) = (weight(before, head), weight(row, head));
                    let mean = (a * value(before) + b * value(row)) / (a + b);
                    (mean, value(before).abs().max(value(row).abs()))
                }
            };
            let least = 2.0 * compute_dtype.least_normal();
            let error = (found - expected).abs();
            // NaN is an error too.
            if error.is_nan() || error > TOLERANCE * largest + least {
                return Err(self.wrong(what, found, expected));
            }
        }
        Ok(())
    }

    fn wrong(&self, what: &'static str, found: f32, expected: f32) -> KvCheckError {
        KvCheckError::Wrong { dtype: self.shape.dtype, what, found, expected }
    }
}

/// Numbers whose codes tell formats apart: of FP8 every finite one, what lies between it and the
/// next, and some that are too large; of the others some of all magnitudes that binary16 has.
fn probes(dtype: KvDType) -> Vec<f32> {
    match dtype {
        KvDType::Fp8(format) => {
            let numbers = (0..=u8::MAX).map(|code| format.decode(code)).filter(|x| x.is_finite());
            let between = numbers.clone().flat_map(|x| [x, 1.04 * x]);
            between.chain([4.0 * format.max(), -4.0 * format.max()]).collect()
        }
        KvDType::Float(_) => {
            let number = |i: usize| (i as f32 * 0.37 - 23.7) * [1.0, 1e-3, 64.0, 0.1][i % 4];
            (0..128).map(number).collect()
        }
    }
}
