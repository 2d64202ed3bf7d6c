//! Pages: writing them and attending them.

use std::fmt;

use engine_core::batch::Batch;
use engine_core::device::{KvCacheShape, OpError};
use engine_core::dtype::DType;
use engine_core::kv_dtype::KvDType;
use engine_core::kv_scales::{KvScales, LayerScales};
use engine_core::ops::{Attention, Cols, KvWrite, Ops};
use reference_cpu::{bounds, check, ops as oracle};

use super::numbers::{Normal, Verdict, spread};
use super::rows::f32s;
use super::{Bound, CompareError};

/// Keys and values are rows of so many, again and again: a prime, so that equal places of blocks and sequences differ.
const FILL_ROWS: usize = 1021;

/// Sequences in pages, the last rows of which are computed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Pages {
    /// Sequences.
    pub num_seqs: usize,
    /// Rows of each.
    pub num_rows: usize,
    /// Tokens of each.
    pub seq_len: usize,
    /// Query heads.
    pub num_qo_heads: usize,
    /// KV heads.
    pub num_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Token slots of a kv_block.
    pub block_size: usize,
    /// Format of the cache.
    pub kv_dtype: KvDType,
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} x {} of {} tokens, {}/{} heads of {}, {} in blocks of {}",
            self.num_seqs,
            self.num_rows,
            self.seq_len,
            self.num_qo_heads,
            self.num_kv_heads,
            self.head_dim,
            self.kv_dtype,
            self.block_size
        )
    }
}

impl Pages {
    /// Elements of the keys of a token.
    #[must_use]
    pub const fn kv_width(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }

    /// Elements of the queries of a token.
    #[must_use]
    pub const fn q_width(&self) -> usize {
        self.num_qo_heads * self.head_dim
    }

    fn blocks_per_seq(&self) -> usize {
        self.seq_len.div_ceil(self.block_size)
    }

    fn cache(&self, num_seqs: usize) -> KvCacheShape {
        KvCacheShape {
            num_layers: 1,
            num_blocks: num_seqs * self.blocks_per_seq(),
            block_size: self.block_size,
            num_kv_heads: self.num_kv_heads,
            head_dim: self.head_dim,
            dtype: self.kv_dtype,
        }
    }

    fn scales(&self) -> KvScales {
        KvScales::ones(1, self.num_kv_heads)
    }

    /// The blocks of a sequence: one after the other.
    fn table(&self, seq_idx: usize) -> impl Iterator<Item = u32> + use<> {
        let num = self.blocks_per_seq();
        (seq_idx * num..(seq_idx + 1) * num).map(|block| block as u32)
    }

    fn slot(&self, seq_idx: usize, position: usize) -> i64 {
        (seq_idx * self.blocks_per_seq() * self.block_size + position) as i64
    }

    /// A batch that writes keys and values of the tokens `tokens`, counted over all sequences: sequences of one row each.
    fn fill(&self, tokens: std::ops::Range<usize>) -> Batch {
        let position = |token: usize| token % self.seq_len;
        let num_rows = tokens.len();
        let slot = |token: usize| self.slot(token / self.seq_len, position(token));
        Batch {
            token_ids: vec![0; num_rows],
            positions: tokens.clone().map(|token| position(token) as u32).collect(),
            slot_mapping: tokens.clone().map(slot).collect(),
            cu_seqlens_q: (0..=num_rows as u32).collect(),
            seq_lens: tokens.clone().map(|token| position(token) as u32 + 1).collect(),
            block_tables: tokens.flat_map(|token| self.table(token / self.seq_len)).collect(),
            max_num_blocks: self.blocks_per_seq(),
        }
    }

    /// The last rows of every sequence.
    fn last_rows(&self) -> Batch {
        let Pages { num_seqs, num_rows, seq_len, .. } = *self;
        let places = || {
            let positions = seq_len - num_rows..seq_len;
            (0..num_seqs).flat_map(move |seq_idx| positions.clone().map(move |p| (seq_idx, p)))
        };
        Batch {
            token_ids: vec![0; num_seqs * num_rows],
            positions: places().map(|(_, position)| position as u32).collect(),
            slot_mapping: places().map(|(seq, position)| self.slot(seq, position)).collect(),
            cu_seqlens_q: (0..=num_seqs).map(|seq_idx| (seq_idx * num_rows) as u32).collect(),
            seq_lens: vec![seq_len as u32; num_seqs],
            block_tables: (0..num_seqs).flat_map(|seq_idx| self.table(seq_idx)).collect(),
            max_num_blocks: self.blocks_per_seq(),
        }
    }

    /// The sequence and the position of a row of that batch.
    fn place(&self, row: usize) -> (usize, usize) {
        (row / self.num_rows, self.seq_len - self.num_rows + row % self.num_rows)
    }
}

/// Columns of `buffer` from `first_col` on.
fn cols<B>(buffer: &B, first_col: usize, stride: usize) -> Cols<&B> {
    Cols { buffer, first_col, stride }
}

pub(super) struct KvWriteRun<O: Ops> {
    pages: Pages,
    host: Normal,
    kv: O::Buffer,
    batch: O::Batch,
    kv_cache: O::KvCache,
}

impl<O: Ops> KvWriteRun<O> {
    pub fn new(ops: &mut O, seed: u64, pages: Pages) -> Result<Self, OpError> {
        let host = Normal::new(seed, 0, [pages.num_seqs * pages.num_rows, 2 * pages.kv_width()]);
        let kv = f32s(ops, &host.rows())?;
        let kv_cache = ops.alloc_kv_cache(pages.cache(pages.num_seqs), &pages.scales())?;
        let mut batch = O::Batch::default();
        ops.upload_batch(&pages.last_rows(), &mut batch)?;
        Ok(KvWriteRun { pages, host, kv, batch, kv_cache })
    }
}

impl<O: Ops> Bound<O> for KvWriteRun<O> {
    fn run(&mut self, ops: &mut O) -> Result<(), CompareError> {
        let KvWriteRun { pages, host, kv, batch, kv_cache } = self;
        let [k, v] = [0, pages.kv_width()].map(|first| cols(&*kv, first, host.num_cols));
        Ok(ops.kv_write(KvWrite { batch, k, v, kv_cache, layer_idx: 0 })?)
    }

    fn check(&mut self, ops: &mut O) -> Result<Verdict, CompareError> {
        let Pages { num_kv_heads, head_dim, kv_dtype, .. } = self.pages;
        let mut verdict = Verdict::default();
        for row in spread(self.host.num_rows) {
            let (seq_idx, position) = self.pages.place(row);
            let slot = self.pages.slot(seq_idx, position) as usize;
            let values = self.host.row(row);
            let want: Vec<f32> = values.iter().map(|&value| kv_dtype.round(value)).collect();
            let heads = want.chunks(head_dim).zip(want[self.pages.kv_width()..].chunks(head_dim));
            for (head, (k, v)) in heads.take(num_kv_heads).enumerate() {
                let (got_k, got_v) = ops.read_kv(&self.kv_cache, 0, slot, head)?;
                for (got, want) in [(got_k, k), (got_v, v)] {
                    verdict.report(&check::compare_exact(DType::F32, &got, want));
                }
            }
        }
        Ok(verdict)
    }
}

pub(super) struct AttentionRun<O: Ops> {
    pages: Pages,
    /// Queries; rows of keys and values.
    host: [Normal; 2],
    q: O::Buffer,
    batch: O::Batch,
    kv_cache: O::KvCache,
    out: O::Buffer,
    has_fp8_queries: bool,
}

impl<O: Ops> AttentionRun<O> {
    pub fn new(
        ops: &mut O,
        seed: u64,
        pages: Pages,
        has_fp8_queries: bool,
    ) -> Result<Self, OpError> {
        let num_tokens = pages.num_seqs * pages.num_rows;
        let queries = Normal::new(seed, 0, [num_tokens, pages.q_width()]);
        let fill = Normal::new(seed, 1, [FILL_ROWS, 2 * pages.kv_width()]);
        let mut kv_cache = ops.alloc_kv_cache(pages.cache(pages.num_seqs), &pages.scales())?;
        let kv = f32s(ops, &fill.rows())?;
        let mut batch = O::Batch::default();
        let num_cached = pages.num_seqs * pages.seq_len;
        for first in (0..num_cached).step_by(FILL_ROWS) {
            let tokens = first..(first + FILL_ROWS).min(num_cached);
            ops.upload_batch(&pages.fill(tokens), &mut batch)?;
            let [k, v] = [0, pages.kv_width()].map(|first| cols(&kv, first, fill.num_cols));
            let (batch, kv_cache) = (&batch, &mut kv_cache);
            ops.kv_write(KvWrite { batch, k, v, kv_cache, layer_idx: 0 })?;
        }
        let q = f32s(ops, &queries.rows())?;
        let out = ops.alloc_act(num_tokens * pages.q_width())?;
        ops.upload_batch(&pages.last_rows(), &mut batch)?;
        Ok(AttentionRun { pages, host: [queries, fill], q, batch, kv_cache, out, has_fp8_queries })
    }

    fn scale(&self) -> f32 {
        (self.pages.head_dim as f32).sqrt().recip()
    }

    /// The oracle of a row, and how far it may be off.
    fn want(&self, row: usize, compute_dtype: DType) -> (Vec<f32>, Vec<f64>) {
        let [queries, fill] = self.host;
        let pages = Pages { num_seqs: 1, num_rows: 1, ..self.pages };
        let (seq_idx, position) = self.pages.place(row);
        let pages = Pages { seq_len: position + 1, ..pages };
        let num_slots = pages.blocks_per_seq() * pages.block_size;
        let mut pools = [(); 2].map(|()| Vec::with_capacity(num_slots * pages.kv_width()));
        for token in 0..=position {
            let row = fill.row((seq_idx * self.pages.seq_len + token) % FILL_ROWS);
            let parts = row.chunks(pages.kv_width());
            for (pool, part) in pools.iter_mut().zip(parts) {
                pool.extend(part.iter().map(|&value| pages.kv_dtype.round(value)));
            }
        }
        let [k, v] = &mut pools;
        k.resize(num_slots * pages.kv_width(), f32::NAN);
        v.resize(num_slots * pages.kv_width(), f32::NAN);
        let ones = vec![1.0; pages.num_kv_heads];
        let args = oracle::Attention {
            batch: &pages.last_rows(),
            q: Cols { buffer: &queries.row(row), first_col: 0, stride: queries.num_cols },
            k,
            v,
            shape: pages.cache(1),
            scales: LayerScales { k: &ones, v: &ones },
            query_dtype: pages.kv_dtype.attention_dtype(compute_dtype),
            num_qo_heads: pages.num_qo_heads,
            scale: self.scale(),
            window: None,
        };
        let mut want = vec![0.0; pages.q_width()];
        oracle::attention(&args, 0..1, &mut want);
        let errors = match self.has_fp8_queries {
            true => bounds::attention_of_fp8_queries(&args, 0..1, &want),
            false => bounds::attention(&args, 0..1, &want),
        };
        (want, errors)
    }
}

impl<O: Ops> Bound<O> for AttentionRun<O> {
    fn run(&mut self, ops: &mut O) -> Result<(), CompareError> {
        let scale = self.scale();
        let AttentionRun { pages, q, batch, kv_cache, out, .. } = self;
        Ok(ops.attention(Attention {
            batch,
            q: cols(&*q, 0, pages.q_width()),
            kv_cache,
            layer_idx: 0,
            num_qo_heads: pages.num_qo_heads,
            scale,
            window: None,
            out,
        })?)
    }

    fn check(&mut self, ops: &mut O) -> Result<Verdict, CompareError> {
        let (num_rows, width) = (self.host[0].num_rows, self.pages.q_width());
        let mut got = vec![0.0; num_rows * width];
        ops.read_act(&self.out, &mut got)?;
        let mut verdict = Verdict::default();
        for row in spread(num_rows) {
            let (want, errors) = self.want(row, ops.compute_dtype());
            let got = &got[row * width..(row + 1) * width];
            verdict.report(&check::compare(ops.compute_dtype(), got, &want, &errors));
        }
        Ok(verdict)
    }
}
