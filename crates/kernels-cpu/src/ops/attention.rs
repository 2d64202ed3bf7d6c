//! Paged causal attention, the same walk for prefill and decode.
//!
//! A task is one sequence, one KV head and a block of query tokens; its rows are the block's tokens
//! times the query heads that share the KV head. All rows walk the sequence's KV in tiles of
//! [`KV_TILE`] positions at absolute borders:
//!
//! ```text
//! for each tile:  S = Q·Kᵀ   (rows × 64, one tile product)
//!                 P = online softmax of each row, masked to what it attends
//!                 O = O·rescale + P·V   (continues the chain)
//! out = O / sum
//! ```
//!
//! FP8 keys and values are widened a tile at a time, exactly, to 16 bits; the scale of the keys is part
//! of the scores', the scale of the values multiplies the result.
//!
//! What a row adds for positions it does not attend is an exact zero, so how many rows share a walk
//! does not show in its bits. Source: arXiv:2205.14135, with the tile borders tied to the position.

use engine_core::batch::Batch;
use engine_core::dtype::DType;
use engine_core::kv_scales::LayerScales;

use super::rows::Heads;
use crate::buffer::{AlignedBuf, Buffer, SharedPtr, Store};
use crate::kv_layout::{Fp8, KvCache, KvLayer, KvLayout};
use crate::pool::Pool;
use crate::simd::{Finish, Kernels, LANES, SoftmaxRow, TILE_COLS, TILE_PANELS, TILE_ROWS, Tile};

/// Positions of one KV tile: part of the reduction class.
pub(crate) const KV_TILE: usize = TILE_COLS;

/// Rows of a task (query tokens × heads per KV head) aimed at: scores and outputs of 48 rows stay in
/// L1 beside a K tile, and one walk over the KV serves them all.
const ROWS_PER_TASK: usize = 48;

/// Tasks that each thread should find at least, so that none waits long for the last.
const TASKS_PER_THREAD: usize = 2;

/// One layer's attention.
pub(crate) struct Attend<'a> {
    pub(crate) batch: &'a Batch,
    pub(crate) q: &'a [f32],
    pub(crate) q_heads: Heads,
    pub(crate) kv_cache: &'a KvCache,
    pub(crate) layer_idx: usize,
    pub(crate) scale: f32,
    pub(crate) window: Option<usize>,
    pub(crate) out: &'a mut Buffer,
}

/// A block of query tokens of one sequence, for one KV head.
#[derive(Clone, Copy)]
struct Task {
    seq_idx: usize,
    kv_head_idx: usize,
    /// Rows of the batch.
    first_row: usize,
    num_tokens: usize,
    /// Position of the first.
    first_position: usize,
}

/// Runs the layer's attention.
pub(crate) fn attention(kernels: &Kernels, pool: &mut Pool, attend: Attend<'_>) {
    let Attend { batch, q, q_heads, kv_cache, layer_idx, scale, window, out } = attend;
    let group = q_heads.num_heads / kv_cache.layout.shape.num_kv_heads;
    let tasks = plan(batch, kv_cache.layout.shape.num_kv_heads, group, pool.num_threads());
    let out_store = out.store;
    let out = SharedPtr::new(out.data.as_mut_slice::<u8>());
    let walk = Walk {
        kernels,
        layout: kv_cache.layout,
        layer: &kv_cache.layers[layer_idx],
        batch,
        group,
        scale_log2: scale * std::f32::consts::LOG2_E,
        window,
        store: kernels.store_of(kv_cache.attention_dtype),
        tile_dtype: kv_cache.tile_dtype(),
        scales: kv_cache.scales.layer(layer_idx),
        fp8: kv_cache.fp8.as_ref(),
    };
    let mut scratches: Vec<Scratch> = Vec::new();
    scratches.resize_with(pool.num_threads(), Scratch::default);
    let scratches = SharedPtr::new(&mut scratches);
    pool.run(tasks.len(), |task_idx, thread_idx| {
        let task = tasks[task_idx];
        // SAFETY: one task at a time runs with this `thread_idx`.
        let scratch = unsafe { &mut scratches.part(thread_idx, 1)[0] };
        walk.run(task, q, q_heads, scratch);
        for (row, result) in scratch.out.chunks_exact(q_heads.head_dim).enumerate() {
            let (token, head) = (row / group, task.kv_head_idx * group + row % group);
            let first = (task.first_row + token) * q_heads.width() + head * q_heads.head_dim;
            let size_bytes = out_store.size_bytes();
            // SAFETY: the caller has checked that `out` holds all rows; this row and head are only
            // this task's.
            let part = unsafe { out.part(first * size_bytes, q_heads.head_dim * size_bytes) };
            kernels.store_row(result, out_store, part);
        }
    });
}

/// The tasks, longest context first, so that the last to finish are short.
fn plan(batch: &Batch, num_kv_heads: usize, group: usize, num_threads: usize) -> Vec<Task> {
    let mut tokens_per_task = (ROWS_PER_TASK / group).max(1);
    let num_tasks = |tokens: usize| {
        let blocks =
            (0..batch.num_seqs()).map(|seq_idx| batch.rows(seq_idx).len().div_ceil(tokens));
        blocks.sum::<usize>() * num_kv_heads
    };
    // A walk more costs less than a thread that has nothing to do.
    while tokens_per_task > 1 && num_tasks(tokens_per_task) < TASKS_PER_THREAD * num_threads {
        tokens_per_task = tokens_per_task.div_ceil(2);
    }
    let mut tasks = Vec::new();
    for seq_idx in 0..batch.num_seqs() {
        let rows = batch.rows(seq_idx);
        let context_len = batch.seq_lens[seq_idx] as usize - rows.len();
        for first_row in rows.clone().step_by(tokens_per_task) {
            for kv_head_idx in 0..num_kv_heads {
                tasks.push(Task {
                    seq_idx,
                    kv_head_idx,
                    first_row,
                    num_tokens: tokens_per_task.min(rows.end - first_row),
                    first_position: context_len + first_row - rows.start,
                });
            }
        }
    }
    tasks.sort_by_key(|task| std::cmp::Reverse(task.first_position));
    tasks
}

/// Positions `start + first..start + len` of the KV tile at `start`: what the task's rows attend.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    first: usize,
    len: usize,
}

/// One thread's working memory.
#[derive(Default)]
struct Scratch {
    /// `[rows, head_dim]`, stored as matrix inputs of the KV dtype.
    q: Vec<u32>,
    /// `[rows, KV_TILE]` raw scores, then probabilities.
    scores: Vec<[f32; KV_TILE]>,
    /// `[rows, KV_TILE]`, stored as matrix inputs of the KV dtype.
    probabilities: Vec<u32>,
    max: Vec<f32>,
    sum: Vec<f32>,
    /// `[rows, head_dim]`.
    out: Vec<f32>,
    /// A K tile and a V tile copied together where the cache has them in pieces.
    k_tile: Vec<u32>,
    v_tile: Vec<u32>,
    /// The FP8 codes of either, where they are in pieces.
    codes: Vec<u32>,
}

/// What all tasks of a layer share.
struct Walk<'a> {
    kernels: &'a Kernels,
    layout: KvLayout,
    layer: &'a KvLayer,
    batch: &'a Batch,
    group: usize,
    scale_log2: f32,
    window: Option<usize>,
    /// How q and probabilities are stored.
    store: Store,
    /// What tile products read: the cache's format, or what FP8 is widened to.
    tile_dtype: DType,
    scales: LayerScales<'a>,
    fp8: Option<&'a Fp8>,
}

impl Walk<'_> {
    /// Leaves the task's result in `scratch.out`, `[rows, head_dim]` f32.
    fn run(&self, task: Task, q: &[f32], q_heads: Heads, scratch: &mut Scratch) {
        let head_dim = self.layout.shape.head_dim;
        let num_rows = task.num_tokens * self.group;
        scratch.reset(num_rows, head_dim, self.store.size_bytes());
        let q_row_bytes = head_dim * self.store.size_bytes();
        let q_rows: &mut [u8] = bytemuck::cast_slice_mut(&mut scratch.q);
        for row in 0..num_rows {
            let head = task.kv_head_idx * self.group + row % self.group;
            let q_row = q_heads.head(q, task.first_row + row / self.group, head);
            let out = &mut q_rows[row * q_row_bytes..(row + 1) * q_row_bytes];
            self.kernels.store_row(q_row, self.store, out);
        }
        let end = task.first_position + task.num_tokens;
        let first_seen =
            self.window.map_or(0, |window| (task.first_position + 1).saturating_sub(window));
        for start in (first_seen / KV_TILE * KV_TILE..end).step_by(KV_TILE) {
            let first = first_seen.saturating_sub(start);
            let span = Span { start, first, len: KV_TILE.min(end - start) };
            self.scores(task, span, num_rows, scratch);
            self.softmax(task, span, num_rows, scratch);
            self.accumulate(task, span, num_rows, scratch);
        }
        let v_scale = self.scales.v[task.kv_head_idx];
        for (row, &sum) in scratch.out.chunks_exact_mut(head_dim).zip(&scratch.sum) {
            row.iter_mut().for_each(|x| *x = *x / sum * v_scale);
        }
    }

    /// S = Q·Kᵀ for the tile's positions.
    fn scores(&self, task: Task, span: Span, num_rows: usize, scratch: &mut Scratch) {
        let steps = self.layout.shape.head_dim / self.layout.k_group;
        let panels = self.k_panels(task, span, &mut scratch.k_tile, &mut scratch.codes);
        self.product(Product {
            a: scratch.q.as_ptr().cast(),
            a_stride: self.layout.shape.head_dim * self.store.size_bytes(),
            num_rows,
            steps,
            b: panels.pointers,
            b_stride: panels.stride,
            cols: span.len,
            c: scratch.scores.as_mut_ptr().cast(),
            c_stride: KV_TILE,
            finish: Finish::Store,
        });
    }

    /// Turns scores into probabilities and rescales the rows' outputs.
    fn softmax(&self, task: Task, span: Span, num_rows: usize, scratch: &mut Scratch) {
        let head_dim = self.layout.shape.head_dim;
        let row_bytes = KV_TILE * self.store.size_bytes();
        let probabilities: &mut [u8] = bytemuck::cast_slice_mut(&mut scratch.probabilities);
        for row in 0..num_rows {
            let position = task.first_position + row / self.group;
            let first_seen = self.window.map_or(0, |window| (position + 1).saturating_sub(window));
            let in_tile = |position: usize| position.saturating_sub(span.start).min(KV_TILE);
            let scores = &mut scratch.scores[row];
            let softmax_row = SoftmaxRow {
                scores: &mut *scores,
                valid: in_tile(first_seen)..in_tile(position + 1),
                scale_log2: self.scale_log2 * self.scales.k[task.kv_head_idx],
                max: &mut scratch.max[row],
                sum: &mut scratch.sum[row],
                out: &mut scratch.out[row * head_dim..(row + 1) * head_dim],
            };
            // SAFETY: `kernels` exists, so the CPU has the features.
            unsafe { (self.kernels.softmax_row)(softmax_row) };
            let out = &mut probabilities[row * row_bytes..(row + 1) * row_bytes];
            self.kernels.store_row(scores, self.store, out);
        }
    }

    /// O += P·V for the tile's positions.
    fn accumulate(&self, task: Task, span: Span, num_rows: usize, scratch: &mut Scratch) {
        let head_dim = self.layout.shape.head_dim;
        let v = self.v_tile(task, span, &mut scratch.v_tile, &mut scratch.codes);
        let group = self.layout.k_group;
        let element_bytes = self.tile_dtype.size_bytes();
        for first_col in (0..head_dim).step_by(TILE_COLS) {
            let cols = TILE_COLS.min(head_dim - first_col);
            let mut panels = [std::ptr::null(); TILE_PANELS];
            for (p, panel) in panels.iter_mut().enumerate().take(cols.div_ceil(LANES)) {
                *panel = v.wrapping_add((first_col + p * LANES) * group * element_bytes);
            }
            self.product(Product {
                a: scratch.probabilities.as_ptr().cast(),
                a_stride: KV_TILE * self.store.size_bytes(),
                num_rows,
                steps: span.len.div_ceil(group),
                b: panels,
                b_stride: head_dim * group * element_bytes,
                cols,
                c: scratch.out.as_mut_ptr().wrapping_add(first_col),
                c_stride: head_dim,
                finish: Finish::Continue,
            });
        }
    }

    fn product(&self, product: Product) {
        let tile_fn = self.kernels.tile(self.tile_dtype);
        for row in (0..product.num_rows).step_by(TILE_ROWS) {
            let tile = Tile {
                rows: TILE_ROWS.min(product.num_rows - row),
                cols: product.cols,
                steps: product.steps,
                a: product.a.wrapping_add(row * product.a_stride),
                a_stride: product.a_stride,
                b: product.b,
                b_stride: product.b_stride,
                c: product.c.wrapping_add(row * product.c_stride),
                c_stride: product.c_stride,
                bias: std::ptr::null(),
                finish: product.finish,
            };
            // SAFETY: a and c are this thread's scratch, sized by `Scratch::reset` for `num_rows`; b
            // are whole tiles of the cache or of scratch. A last panel may read up to one line past
            // the end of its row or pool; every pool and tile has that line.
            unsafe { tile_fn(&tile) };
        }
    }

    /// Address of an element of the K or V pool of this layer.
    fn pool_ptr(
        &self,
        pool: &AlignedBuf,
        block: usize,
        kv_head_idx: usize,
        offset: usize,
    ) -> *const u8 {
        let element = self.layout.head_block(block, kv_head_idx) + offset;
        pool.as_slice::<u8>()[element * self.layout.shape.dtype.size_bytes()..].as_ptr()
    }

    /// Four panels of 16 positions. Straight from the cache where a kv_block holds whole panels,
    /// else copied together as `[head_dim / k_group][KV_TILE][k_group]`.
    fn k_panels(
        &self,
        task: Task,
        span: Span,
        k_tile: &mut Vec<u32>,
        codes: &mut Vec<u32>,
    ) -> Panels {
        if let Some(fp8) = self.fp8 {
            return self.widened_k(task, span, fp8, k_tile, codes);
        }
        let KvLayout { shape, k_group, .. } = self.layout;
        let lane_bytes = k_group * shape.dtype.size_bytes();
        let block_table = self.batch.block_table(task.seq_idx);
        let mut pointers = [std::ptr::null(); TILE_PANELS];
        let used_panels = pointers.iter_mut().enumerate().take(span.len.div_ceil(LANES));
        if shape.block_size.is_multiple_of(LANES) {
            for (p, pointer) in used_panels {
                let position = span.start + p * LANES;
                let block = block_table[position / shape.block_size] as usize;
                let offset = self.layout.k_offset(position % shape.block_size, 0);
                *pointer = self.pool_ptr(&self.layer.k, block, task.kv_head_idx, offset);
            }
            return Panels { pointers, stride: shape.block_size * lane_bytes };
        }
        match shape.dtype.size_bytes() {
            4 => self.gather_k::<u32>(task, span, k_tile),
            _ => self.gather_k::<u16>(task, span, k_tile),
        }
        for (p, pointer) in used_panels {
            *pointer = k_tile.as_ptr().cast::<u8>().wrapping_add(p * LANES * lane_bytes);
        }
        Panels { pointers, stride: KV_TILE * lane_bytes }
    }

    /// The tile's V as `[KV_TILE / group][head_dim][group]`: straight from the cache where a kv_block
    /// holds it whole, else copied together. What no row attends is made zero there, since a slot
    /// that nobody reads may hold NaN.
    fn v_tile(
        &self,
        task: Task,
        span: Span,
        v_tile: &mut Vec<u32>,
        codes: &mut Vec<u32>,
    ) -> *const u8 {
        let KvLayout { shape, k_group: group, .. } = self.layout;
        if let Some(fp8) = self.fp8 {
            self.gather_v::<u8>(task, span, codes);
            let num_codes = span.len.next_multiple_of(group) * shape.head_dim;
            let codes: &[u8] = bytemuck::cast_slice(codes);
            let wide = &mut elements::<u16>(v_tile, shape.head_dim)[..num_codes];
            self.widen(fp8, &codes[..num_codes], wide);
            return v_tile.as_ptr().cast();
        }
        let block_table = self.batch.block_table(task.seq_idx);
        let is_whole = span.first == 0 && span.len.is_multiple_of(group);
        if shape.block_size.is_multiple_of(KV_TILE) && is_whole {
            let block = block_table[span.start / shape.block_size] as usize;
            let offset = self.layout.v_offset(span.start % shape.block_size, 0);
            return self.pool_ptr(&self.layer.v, block, task.kv_head_idx, offset);
        }
        match shape.dtype.size_bytes() {
            4 => self.gather_v::<u32>(task, span, v_tile),
            _ => self.gather_v::<u16>(task, span, v_tile),
        }
        v_tile.as_ptr().cast()
    }

    /// Four panels of 16 positions widened from FP8 codes, each `[head_dim / k_group][16][k_group]`: the
    /// order in which a kv_block of 16 tokens has them.
    fn widened_k(
        &self,
        task: Task,
        span: Span,
        fp8: &Fp8,
        k_tile: &mut Vec<u32>,
        codes: &mut Vec<u32>,
    ) -> Panels {
        let KvLayout { shape, k_group, .. } = self.layout;
        let panel_len = shape.head_dim * LANES;
        let wide = elements::<u16>(k_tile, shape.head_dim);
        let panels = wide.chunks_exact_mut(panel_len).take(span.len.div_ceil(LANES));
        let pool = self.layer.k.as_slice::<u8>();
        for (p, wide) in panels.enumerate() {
            let (first, offset) = self.place(task, span.start + p * LANES);
            if shape.block_size == LANES {
                self.widen(fp8, &pool[first..first + panel_len], wide);
                continue;
            }
            let codes = &mut elements::<u8>(codes, shape.head_dim)[..panel_len];
            if shape.block_size.is_multiple_of(LANES) {
                let rows = pool[first..].chunks_exact(shape.block_size * k_group);
                for (to, from) in codes.chunks_exact_mut(LANES * k_group).zip(rows) {
                    to.copy_from_slice(&from[offset * k_group..][..LANES * k_group]);
                }
            } else {
                for i in 0..LANES.min(span.len - p * LANES) {
                    let (first, offset) = self.place(task, span.start + p * LANES + i);
                    for d in 0..shape.head_dim {
                        let to = (d / k_group * LANES + i) * k_group + d % k_group;
                        codes[to] = pool[first + self.layout.k_offset(offset, d)];
                    }
                }
            }
            self.widen(fp8, codes, wide);
        }
        let wide = k_tile.as_ptr().cast::<u8>();
        let panel_bytes = panel_len * size_of::<u16>();
        let pointers = std::array::from_fn(|p| wide.wrapping_add(p * panel_bytes));
        Panels { pointers, stride: LANES * k_group * size_of::<u16>() }
    }

    fn widen(&self, fp8: &Fp8, codes: &[u8], wide: &mut [u16]) {
        // SAFETY: `kernels` exists, so the CPU has the features.
        unsafe { (self.kernels.widen_fp8)(&fp8.widen, codes, wide) };
    }

    /// Copies K element by element; for kv_blocks that hold no whole panel.
    fn gather_k<T: bytemuck::Pod>(&self, task: Task, span: Span, tile: &mut Vec<u32>) {
        let KvLayout { shape, k_group, .. } = self.layout;
        let tile = elements::<T>(tile, shape.head_dim);
        let pool = self.layer.k.as_slice::<T>();
        for i in 0..span.len {
            let (first, offset) = self.place(task, span.start + i);
            for d in 0..shape.head_dim {
                let to = (d / k_group * KV_TILE + i) * k_group + d % k_group;
                tile[to] = pool[first + self.layout.k_offset(offset, d)];
            }
        }
    }

    /// Copies V, a run of whole groups at a time where the cache groups positions as the tile does.
    fn gather_v<T: bytemuck::Pod>(&self, task: Task, span: Span, tile: &mut Vec<u32>) {
        let KvLayout { shape, k_group: group, v_group } = self.layout;
        let head_dim = shape.head_dim;
        let tile = elements::<T>(tile, head_dim);
        let pool = self.layer.v.as_slice::<T>();
        let attended = span.first..span.len;
        let first_whole = attended.start.next_multiple_of(group);
        let last_group = attended.end / group * group;
        tile[..first_whole * head_dim].fill(T::zeroed());
        tile[last_group * head_dim..][..group * head_dim].fill(T::zeroed());
        let whole = if v_group == group { first_whole..last_group } else { 0..0 };
        let mut i = whole.start;
        while i < whole.end {
            let (first, offset) = self.place(task, span.start + i);
            let run = (shape.block_size - offset).min(whole.end - i);
            let from = first + self.layout.v_offset(offset, 0);
            tile[i * head_dim..][..run * head_dim].copy_from_slice(&pool[from..][..run * head_dim]);
            i += run;
        }
        for i in attended.filter(|i| !whole.contains(i)) {
            let (first, offset) = self.place(task, span.start + i);
            for d in 0..head_dim {
                let to = (i / group * head_dim + d) * group + i % group;
                tile[to] = pool[first + self.layout.v_offset(offset, d)];
            }
        }
    }

    /// First element of the kv_block and head that hold `position`, and the token's place in it.
    fn place(&self, task: Task, position: usize) -> (usize, usize) {
        let block_size = self.layout.shape.block_size;
        let block = self.batch.block_table(task.seq_idx)[position / block_size] as usize;
        (self.layout.head_block(block, task.kv_head_idx), position % block_size)
    }
}

/// Room for a tile of `KV_TILE × head_dim` elements, one group and one line more.
fn elements<T: bytemuck::Pod>(tile: &mut Vec<u32>, head_dim: usize) -> &mut [T] {
    tile.resize(((KV_TILE + 2) * head_dim * size_of::<T>()).div_ceil(4) + LANES, 0);
    bytemuck::cast_slice_mut(tile)
}

/// Panels of K.
struct Panels {
    pointers: [*const u8; TILE_PANELS],
    /// Bytes from one step over head elements to the next.
    stride: usize,
}

/// A product of any number of rows.
struct Product {
    a: *const u8,
    a_stride: usize,
    num_rows: usize,
    steps: usize,
    b: [*const u8; TILE_PANELS],
    b_stride: usize,
    cols: usize,
    c: *mut f32,
    c_stride: usize,
    finish: Finish,
}

impl Scratch {
    fn reset(&mut self, num_rows: usize, head_dim: usize, size_bytes: usize) {
        self.q.resize((num_rows * head_dim * size_bytes).div_ceil(4), 0);
        self.scores.resize(num_rows, [0.0; KV_TILE]);
        self.probabilities.resize((num_rows * KV_TILE * size_bytes).div_ceil(4), 0);
        for (values, start) in [(&mut self.max, f32::NEG_INFINITY), (&mut self.sum, 0.0)] {
            values.clear();
            values.resize(num_rows, start);
        }
        self.out.clear();
        self.out.resize(num_rows * head_dim, 0.0);
    }
}
