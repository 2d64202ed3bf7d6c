//! `Device` and `Ops` of this backend: checks every shape, then hands over to the kernels.

use crate::buffer::{AlignedBuf, Buffer, SharedPtr, Store};
use crate::isa::CpuIsa;
use crate::kv_layout::KvCache;
use crate::matrix::Matrix;
use crate::ops::{self, Attend, Dense, Heads};
use crate::pool::Pool;
use crate::simd::{Finish, Kernels};
use engine_core::batch::Batch;
use engine_core::checkpoint::RowSource;
use engine_core::device::{Device, KvCacheShape, OpError};
use engine_core::dtype::DType;
use engine_core::formats::Fp8Flavour;
use engine_core::kv_run::KvRun;
use engine_core::kv_scales::KvScales;
use engine_core::ops::{
    Attention, Cols, HeadNorm, KvWrite, Linear, Ops, Out, RmsNorm, Rope, RopeAngles, SiluMul,
};

/// The CPU backend.
pub struct KernelsCpu {
    isa: CpuIsa,
    kernels: Kernels,
    compute_dtype: DType,
    pool: Pool,
}

impl KernelsCpu {
    /// A backend that computes in `compute_dtype` on `num_threads` threads (the caller is one).
    ///
    /// # Errors
    /// When the machine lacks the path, or gives no more threads.
    pub fn new(isa: CpuIsa, compute_dtype: DType, num_threads: usize) -> Result<Self, StartError> {
        let isa = isa.require()?;
        let pool = Pool::new(num_threads).map_err(StartError::Threads)?;
        Ok(KernelsCpu { isa, kernels: Kernels::of(isa), compute_dtype, pool })
    }
}

/// Why the backend cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The ISA path is not of this machine.
    #[error(transparent)]
    Isa(#[from] crate::isa::IsaError),
    /// The system refused a thread.
    #[error("cannot start the CPU threads: {0}; lower --threads")]
    Threads(std::io::Error),
}

fn check(
    op: &'static str,
    what: &'static str,
    found: usize,
    expected: usize,
) -> Result<(), OpError> {
    if found != expected {
        return Err(OpError::Shape { op, what, found, expected });
    }
    Ok(())
}

fn at_most(op: &'static str, what: &'static str, found: usize, most: usize) -> Result<(), OpError> {
    if found > most {
        return Err(OpError::Shape { op, what, found, expected: most });
    }
    Ok(())
}

/// Fails unless columns `cols` of `num_rows` rows lie inside the buffer.
fn check_view(
    op: &'static str,
    (buffer, first_col, stride): (&Buffer, usize, usize),
    num_rows: usize,
    width: usize,
) -> Result<(), OpError> {
    at_most(op, "last column of a view", first_col + width, stride)?;
    buffer.check(op, "length of a view's buffer", num_rows * stride)
}

impl Device for KernelsCpu {
    type Buffer = Buffer;
    type KvCache = KvCache;
    type Batch = Batch;

    fn name(&self) -> String {
        format!("cpu ({}, {} threads)", self.isa.name(), self.pool.num_threads())
    }

    fn numerics_id(&self) -> String {
        format!("kernels-cpu/1 {} {} kv-tile-{}", self.isa.name(), self.compute_dtype, ops::KV_TILE)
    }

    fn compute_dtype(&self) -> DType {
        self.compute_dtype
    }

    fn act_size_bytes(&self) -> usize {
        self.kernels.store_of(self.compute_dtype).size_bytes()
    }

    fn fp8_flavour(&self) -> Fp8Flavour {
        Fp8Flavour::Ocp
    }

    fn alloc(&mut self, len: usize) -> Result<Buffer, OpError> {
        Buffer::new(len, Store::F32, "activations")
    }

    fn alloc_act(&mut self, len: usize) -> Result<Buffer, OpError> {
        Buffer::new(len, self.kernels.store_of(self.compute_dtype), "activations")
    }

    fn alloc_kv_cache(
        &mut self,
        shape: KvCacheShape,
        scales: &KvScales,
    ) -> Result<KvCache, OpError> {
        if !shape.head_dim.is_multiple_of(2) || shape.head_dim > ops::MAX_HEAD_DIM {
            let what = format!("head_dim {} (even, at most {})", shape.head_dim, ops::MAX_HEAD_DIM);
            return Err(OpError::Unsupported { op: "alloc_kv_cache", what });
        }
        shape.check_scales(scales)?;
        KvCache::new(shape, scales, self.compute_dtype)
    }

    fn upload_batch(&mut self, batch: &Batch, device_batch: &mut Batch) -> Result<(), OpError> {
        check_batch(batch)?;
        device_batch.clone_from(batch);
        Ok(())
    }

    fn read_f32(&mut self, buffer: &Buffer, out: &mut [f32]) -> Result<(), OpError> {
        buffer.check("read_f32", "length", out.len())?;
        out.copy_from_slice(&buffer.f32()[..out.len()]);
        Ok(())
    }

    fn write_f32(&mut self, data: &[f32], buffer: &mut Buffer) -> Result<(), OpError> {
        buffer.check("write_f32", "length", data.len())?;
        buffer.f32_mut()[..data.len()].copy_from_slice(data);
        Ok(())
    }

    fn read_act(&mut self, buffer: &Buffer, out: &mut [f32]) -> Result<(), OpError> {
        buffer.check("read_act", "length", out.len())?;
        match buffer.store {
            Store::F32 | Store::Rounded(_) => out.copy_from_slice(&buffer.f32()[..out.len()]),
            Store::Bf16 => {
                let bits = buffer.data.as_slice::<u16>();
                let widen = |bits: u16| f32::from_bits(u32::from(bits) << 16);
                out.iter_mut().zip(bits).for_each(|(x, &bits)| *x = widen(bits));
            }
        }
        Ok(())
    }

    fn write_act(&mut self, data: &[f32], buffer: &mut Buffer) -> Result<(), OpError> {
        buffer.check("write_act", "length", data.len())?;
        let store = buffer.store;
        let out = &mut buffer.data.as_mut_slice::<u8>()[..data.len() * store.size_bytes()];
        self.kernels.store_row(data, store, out);
        Ok(())
    }

    fn read_kv(
        &mut self,
        kv_cache: &KvCache,
        layer_idx: usize,
        slot: usize,
        kv_head_idx: usize,
    ) -> Result<(Vec<f32>, Vec<f32>), OpError> {
        let shape = kv_cache.layout.shape;
        at_most("read_kv", "layer_idx", layer_idx + 1, shape.num_layers)?;
        at_most("read_kv", "slot", slot + 1, shape.num_blocks * shape.block_size)?;
        at_most("read_kv", "kv_head_idx", kv_head_idx + 1, shape.num_kv_heads)?;
        let layer = &kv_cache.layers[layer_idx];
        let first = kv_cache.layout.head_block(slot / shape.block_size, kv_head_idx);
        let offset = slot % shape.block_size;
        let size_bytes = shape.dtype.size_bytes();
        let read = |pool: &AlignedBuf, element: usize| {
            let mut code = [0; 4];
            let bytes = &pool.as_slice::<u8>()[element * size_bytes..][..size_bytes];
            code[..size_bytes].copy_from_slice(bytes);
            shape.dtype.from_code(u32::from_le_bytes(code))
        };
        let dims = 0..shape.head_dim;
        let k = dims.clone().map(|d| read(&layer.k, first + kv_cache.layout.k_offset(offset, d)));
        let v = dims.map(|d| read(&layer.v, first + kv_cache.layout.v_offset(offset, d)));
        Ok((k.collect(), v.collect()))
    }

    fn read_kv_blocks(
        &mut self,
        kv_cache: &KvCache,
        block_ids: &[u32],
        out: &mut [u8],
    ) -> Result<(), OpError> {
        let shape = kv_cache.layout.shape;
        shape.check_transfer("read_kv_blocks", block_ids, out.len())?;
        let mut rest = out;
        for part in block_ids.iter().flat_map(|&block| kv_cache.block_parts(block)) {
            let (to, tail) = rest.split_at_mut(part.len());
            to.copy_from_slice(part);
            rest = tail;
        }
        Ok(())
    }

    fn write_kv_blocks(
        &mut self,
        kv_cache: &mut KvCache,
        block_ids: &[u32],
        data: &[u8],
    ) -> Result<(), OpError> {
        let shape = kv_cache.layout.shape;
        shape.check_transfer("write_kv_blocks", block_ids, data.len())?;
        let mut rest = data;
        for &block in block_ids {
            for part in kv_cache.block_parts_mut(block) {
                let (from, tail) = rest.split_at(part.len());
                part.copy_from_slice(from);
                rest = tail;
            }
        }
        Ok(())
    }

    fn read_kv_run(
        &mut self,
        kv_cache: &KvCache,
        run: &KvRun<'_>,
        out: &mut [u8],
    ) -> Result<(), OpError> {
        run.check("read_kv_run", &kv_cache.layout.shape, out.len())?;
        kv_cache.read_run(run, out);
        Ok(())
    }

    fn write_kv_run(
        &mut self,
        kv_cache: &mut KvCache,
        run: &KvRun<'_>,
        data: &[u8],
    ) -> Result<(), OpError> {
        run.check("write_kv_run", &kv_cache.layout.shape, data.len())?;
        kv_cache.write_run(&self.kernels, run, data);
        Ok(())
    }
}

fn check_batch(batch: &Batch) -> Result<(), OpError> {
    let op = "upload_batch";
    let (num_tokens, num_seqs) = (batch.num_tokens(), batch.num_seqs());
    check(op, "length of positions", batch.positions.len(), num_tokens)?;
    check(op, "length of slot_mapping", batch.slot_mapping.len(), num_tokens)?;
    check(op, "length of cu_seqlens_q", batch.cu_seqlens_q.len(), num_seqs + 1)?;
    check(op, "length of block_tables", batch.block_tables.len(), num_seqs * batch.max_num_blocks)?;
    check(op, "first of cu_seqlens_q", batch.cu_seqlens_q[0] as usize, 0)?;
    check(op, "last of cu_seqlens_q", batch.cu_seqlens_q[num_seqs] as usize, num_tokens)?;
    for (seq_idx, bounds) in batch.cu_seqlens_q.windows(2).enumerate() {
        at_most(op, "entry of cu_seqlens_q", bounds[0] as usize, bounds[1] as usize)?;
        let num_rows = (bounds[1] - bounds[0]) as usize;
        at_most(op, "rows of a sequence", num_rows, batch.seq_lens[seq_idx] as usize)?;
    }
    Ok(())
}

/// Fails unless every block that the batch's sequences read is in the cache.
fn check_block_tables(
    op: &'static str,
    batch: &Batch,
    shape: &KvCacheShape,
) -> Result<(), OpError> {
    for (seq_idx, &seq_len) in batch.seq_lens.iter().enumerate() {
        let num_blocks = (seq_len as usize).div_ceil(shape.block_size);
        at_most(op, "blocks of a sequence", num_blocks, batch.max_num_blocks)?;
        for &block in &batch.block_table(seq_idx)[..num_blocks] {
            at_most(op, "block id", block as usize + 1, shape.num_blocks)?;
        }
    }
    Ok(())
}

fn heads<B>(x: &Cols<B>, num_rows: usize, num_heads: usize, head_dim: usize) -> Heads {
    Heads { first_col: x.first_col, stride: x.stride, num_rows, num_heads, head_dim }
}

impl Ops for KernelsCpu {
    type Matrix = Matrix;

    fn load_matrix(&mut self, parts: &[&dyn RowSource]) -> Result<Matrix, OpError> {
        Matrix::pack(&mut self.pool, parts, self.compute_dtype)
    }

    fn embed(&mut self, table: &Matrix, batch: &Batch, out: &mut Buffer) -> Result<(), OpError> {
        let op = "embed";
        let width = table.num_cols;
        out.check(op, "length of out", batch.num_tokens() * width)?;
        for &token_id in &batch.token_ids {
            at_most(op, "token id", token_id as usize + 1, table.num_rows)?;
        }
        let out = SharedPtr::new(out.f32_mut());
        ops::run_rows(&mut self.pool, batch.num_tokens(), width, |rows| {
            for row in rows {
                // SAFETY: `out` holds all rows, and a row is one task's.
                let out = unsafe { out.part(row * width, width) };
                table.read_row(batch.token_ids[row] as usize, out);
            }
        });
        Ok(())
    }

    fn linear(&mut self, args: Linear<'_, Self>) -> Result<(), OpError> {
        let op = "linear";
        let Linear { x, weight, bias, num_rows, out } = args;
        let (out, finish) = match out {
            Out::Store(out) => (out, Finish::Store),
            Out::AddTo(out) => (out, Finish::AddTo),
        };
        x.check(op, "length of x", num_rows * weight.num_cols)?;
        out.check(op, "length of out", num_rows * weight.num_rows)?;
        check(op, "element bytes of out", out.store.size_bytes(), 4)?;
        let stored_as = self.kernels.store_of(weight.dtype).size_bytes();
        check(op, "element bytes of x", x.store.size_bytes(), stored_as)?;
        if let Some(bias) = bias {
            bias.check(op, "length of bias", weight.num_rows)?;
        }
        let dense = Dense { x, weight, bias, num_rows, out, finish };
        ops::linear(&self.kernels, &mut self.pool, dense)
    }

    fn rms_norm(&mut self, args: RmsNorm<'_, Buffer>) -> Result<(), OpError> {
        let op = "rms_norm";
        let RmsNorm { x, weight, eps, hidden_size: width, rows, num_rows, out } = args;
        weight.check(op, "length of weight", width)?;
        out.check(op, "length of out", num_rows * width)?;
        let last_row = match rows {
            Some(rows) => {
                check(op, "length of rows", rows.len(), num_rows)?;
                rows.iter().map(|&row| row as usize + 1).max().unwrap_or(0)
            }
            None => num_rows,
        };
        x.check(op, "length of x", last_row * width)?;
        let (x, weight, store) = (x.f32(), &weight.f32()[..width], out.store);
        let out = SharedPtr::new(out.data.as_mut_slice::<u8>());
        let kernels = &self.kernels;
        ops::run_rows(&mut self.pool, num_rows, width, |range| {
            let mut normed = vec![0.0; width];
            for row in range {
                let source = rows.map_or(row, |rows| rows[row] as usize);
                let x = &x[source * width..(source + 1) * width];
                // SAFETY: `kernels` exists, so the CPU has the features.
                unsafe { (kernels.rms_norm_row)(x, weight, eps, &mut normed) };
                let row_bytes = width * store.size_bytes();
                // SAFETY: `out` holds all rows, and a row is one task's.
                kernels.store_row(&normed, store, unsafe { out.part(row * row_bytes, row_bytes) });
            }
        });
        Ok(())
    }

    fn head_norm(&mut self, args: HeadNorm<'_, Buffer>) -> Result<(), OpError> {
        let op = "head_norm";
        let HeadNorm { x, weight, eps, num_rows, num_heads, head_dim } = args;
        check_view(op, (x.buffer, x.first_col, x.stride), num_rows, num_heads * head_dim)?;
        weight.check(op, "length of weight", head_dim)?;
        at_most(op, "head_dim", head_dim, ops::MAX_HEAD_DIM)?;
        let heads = heads(&x, num_rows, num_heads, head_dim);
        let weight = &weight.f32()[..head_dim];
        ops::head_norm(&self.kernels, &mut self.pool, x.buffer.f32_mut(), heads, weight, eps);
        Ok(())
    }

    fn rope_angles(&mut self, args: RopeAngles<'_, Self>) -> Result<(), OpError> {
        let op = "rope_angles";
        let RopeAngles { batch, inv_freq, num_freqs, attention_factor, out } = args;
        inv_freq.check(op, "length of inv_freq", num_freqs)?;
        out.check(op, "length of out", batch.num_tokens() * 2 * num_freqs)?;
        let inv_freq = &inv_freq.f32()[..num_freqs];
        let out = SharedPtr::new(out.f32_mut());
        // A sine and a cosine cost some fifty times a plain element.
        ops::run_rows(&mut self.pool, batch.num_tokens(), 100 * num_freqs, |rows| {
            for row in rows {
                // SAFETY: `out` holds all rows, and a row is one task's.
                let out = unsafe { out.part(row * 2 * num_freqs, 2 * num_freqs) };
                let (cos, sin) = out.split_at_mut(num_freqs);
                for (i, &inv_freq) in inv_freq.iter().enumerate() {
                    let angle = f64::from(batch.positions[row] as f32 * inv_freq);
                    let (s, c) = libm::sincos(angle);
                    cos[i] = c as f32 * attention_factor;
                    sin[i] = s as f32 * attention_factor;
                }
            }
        });
        Ok(())
    }

    fn rope(&mut self, args: Rope<'_, Buffer>) -> Result<(), OpError> {
        let op = "rope";
        let Rope { x, angles, num_rows, num_heads, head_dim, rotary_dim } = args;
        check_view(op, (x.buffer, x.first_col, x.stride), num_rows, num_heads * head_dim)?;
        at_most(op, "rotary_dim", rotary_dim, head_dim)?;
        angles.check(op, "length of angles", num_rows * rotary_dim)?;
        let heads = heads(&x, num_rows, num_heads, head_dim);
        ops::rope(&mut self.pool, x.buffer.f32_mut(), heads, angles.f32(), rotary_dim);
        Ok(())
    }

    fn kv_write(&mut self, args: KvWrite<'_, Self>) -> Result<(), OpError> {
        let op = "kv_write";
        let KvWrite { batch, k, v, kv_cache, layer_idx } = args;
        let shape = kv_cache.layout.shape;
        let width = shape.num_kv_heads * shape.head_dim;
        check_view(op, (k.buffer, k.first_col, k.stride), batch.num_tokens(), width)?;
        check_view(op, (v.buffer, v.first_col, v.stride), batch.num_tokens(), width)?;
        at_most(op, "layer_idx", layer_idx + 1, shape.num_layers)?;
        let num_slots = shape.num_blocks * shape.block_size;
        for &slot in &batch.slot_mapping {
            let end = usize::try_from(slot).map_or(0, |slot| slot + 1);
            at_most(op, "slot", end, num_slots)?;
        }
        let k_heads = heads(&k, batch.num_tokens(), shape.num_kv_heads, shape.head_dim);
        let v_heads = heads(&v, batch.num_tokens(), shape.num_kv_heads, shape.head_dim);
        let (k, v) = ((k.buffer.f32(), k_heads), (v.buffer.f32(), v_heads));
        ops::kv_write(batch, k, v, kv_cache, layer_idx);
        Ok(())
    }

    fn attention(&mut self, args: Attention<'_, Self>) -> Result<(), OpError> {
        let op = "attention";
        let Attention { batch, q, kv_cache, layer_idx, num_qo_heads, scale, window, out } = args;
        let shape = kv_cache.layout.shape;
        let width = num_qo_heads * shape.head_dim;
        check_view(op, (q.buffer, q.first_col, q.stride), batch.num_tokens(), width)?;
        out.check(op, "length of out", batch.num_tokens() * width)?;
        at_most(op, "layer_idx", layer_idx + 1, shape.num_layers)?;
        check(op, "num_qo_heads modulo num_kv_heads", num_qo_heads % shape.num_kv_heads, 0)?;
        check_block_tables(op, batch, &shape)?;
        let q_heads = heads(&q, batch.num_tokens(), num_qo_heads, shape.head_dim);
        let attend = Attend {
            batch,
            q: q.buffer.f32(),
            q_heads,
            kv_cache,
            layer_idx,
            scale,
            window: window.map(|window| window as usize),
            out,
        };
        ops::attention(&self.kernels, &mut self.pool, attend);
        Ok(())
    }

    fn silu_mul(&mut self, args: SiluMul<'_, Buffer>) -> Result<(), OpError> {
        let op = "silu_mul";
        let SiluMul { gate_up, num_rows, width, out } = args;
        gate_up.check(op, "length of gate_up", num_rows * 2 * width)?;
        out.check(op, "length of out", num_rows * width)?;
        let (gate_up, store) = (gate_up.f32(), out.store);
        let out = SharedPtr::new(out.data.as_mut_slice::<u8>());
        let kernels = &self.kernels;
        ops::run_rows(&mut self.pool, num_rows, 4 * width, |rows| {
            let mut product = vec![0.0; width];
            for row in rows {
                let (gate, up) = gate_up[row * 2 * width..(row + 1) * 2 * width].split_at(width);
                // SAFETY: `kernels` exists, so the CPU has the features.
                unsafe { (kernels.silu_mul_row)(gate, up, &mut product) };
                let row_bytes = width * store.size_bytes();
                // SAFETY: `out` holds all rows, and a row is one task's.
                kernels.store_row(&product, store, unsafe { out.part(row * row_bytes, row_bytes) });
            }
        });
        Ok(())
    }
}
