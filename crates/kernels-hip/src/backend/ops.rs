//! The math: the engine's arguments to those of the kernels.

use engine_core::checkpoint::RowSource;
use engine_core::device::OpError;
use engine_core::ops::{
    Attention, Cols, HeadNorm, KvWrite, Linear, Ops, Out, RmsNorm, Rope, RopeAngles, RotateAttend,
    SiluMul,
};

use super::batch::check_slots;
use super::error::op_error;
use super::memory::alloc;
use super::{DeviceBatch, KernelsHip, KvCache, Matrix, Memory};
use crate::buffer::Buffer;
use crate::ops::{
    AttentionInputs, AttentionOutputs, KeyRope, KvRows, NormRows, Product, RopeLayout, RopeShape,
};

fn wide<'a>(op: &'static str, x: &Cols<&'a Memory>) -> Result<Cols<&'a Buffer<f32>>, OpError> {
    Ok(Cols { buffer: x.buffer.wide(op)?, first_col: x.first_col, stride: x.stride })
}

fn wide_mut<'a>(
    op: &'static str,
    x: Cols<&'a mut Memory>,
) -> Result<Cols<&'a mut Buffer<f32>>, OpError> {
    Ok(Cols { buffer: x.buffer.wide_mut(op)?, first_col: x.first_col, stride: x.stride })
}

impl KernelsHip {
    /// Room for so many elements of queries.
    fn grow_queries(&mut self, len: usize) -> Result<(), OpError> {
        if self.queries.len() < len {
            self.queries = alloc(&self.device, len, "queries")?;
        }
        Ok(())
    }

    /// Attends with the queries that have been made.
    fn attend(
        &mut self,
        batch: &DeviceBatch,
        (kv_cache, layer_idx): (&KvCache, usize),
        num_qo_heads: usize,
        (scale, window): (f32, Option<u32>),
        out: &mut Memory,
    ) -> Result<(), OpError> {
        const OP: &str = "attention";
        let batch = batch.get(OP)?;
        let layout = &kv_cache.layout;
        let layer = kv_cache.layer(OP, layer_idx)?;
        let stride = num_qo_heads.saturating_mul(layout.head_dim());
        let inputs = AttentionInputs {
            q: Cols { buffer: &self.queries, first_col: 0, stride },
            q_dtype: self.compute_dtype,
            num_qo_heads,
            k_pool: &layer.k,
            v_pool: &layer.v,
            layout,
            k_scales: &layer.k_scales,
            v_scales: &layer.v_scales,
            token_scales: None,
            batch: &batch.sequences,
            scale,
            window,
            soft_cap: None,
            alibi_slopes: None,
            sinks: None,
        };
        let op = match batch.is_decode() {
            true => &mut self.kernels.paged_attention,
            false => &mut self.kernels.prefill_attention,
        };
        let outputs = AttentionOutputs { out: out.narrow_mut(OP)?, lse: None };
        op.run(&self.stream, outputs, &inputs).map_err(|error| op_error(OP, error))
    }
}

impl Ops for KernelsHip {
    type Matrix = Matrix;

    fn load_matrix(&mut self, parts: &[&dyn RowSource]) -> Result<Matrix, OpError> {
        Matrix::load(&self.device, &self.stream, parts, self.compute_dtype)
    }

    fn embed(
        &mut self,
        table: &Matrix,
        batch: &DeviceBatch,
        out: &mut Memory,
    ) -> Result<(), OpError> {
        const OP: &str = "embed";
        let batch = batch.get(OP)?;
        let largest = batch.host.token_ids.iter().max().map_or(0, |&id| id as usize + 1);
        if largest > table.num_rows {
            let (what, expected) = ("rows of the table", largest);
            return Err(OpError::Shape { op: OP, what, found: table.num_rows, expected });
        }
        let sizes = [batch.num_tokens(), table.num_cols];
        let out = out.wide_mut(OP)?;
        self.kernels
            .embed
            .run(&self.stream, out, &table.data, &batch.token_ids, sizes)
            .map_err(|error| op_error(OP, error))
    }

    fn linear(&mut self, args: Linear<'_, Self>) -> Result<(), OpError> {
        const OP: &str = "linear";
        let Linear { x, weight, bias, num_rows, out } = args;
        let (out, add_to) = match out {
            Out::Store(out) => (out, false),
            Out::AddTo(out) => (out, true),
        };
        let product = Product {
            x: x.narrow(OP)?,
            weight: &weight.data,
            bias: bias.map(|bias| bias.wide(OP)).transpose()?,
            num_rows,
            out_features: weight.num_rows,
            in_features: weight.num_cols,
            add_to,
        };
        let out = out.wide_mut(OP)?;
        self.kernels
            .gemm
            .run(&self.stream, &self.choices, out, &product)
            .map_err(|error| op_error(OP, error))
    }

    fn rms_norm(&mut self, args: RmsNorm<'_, Memory>) -> Result<(), OpError> {
        const OP: &str = "rms_norm";
        let RmsNorm { x, weight, eps, hidden_size, rows, num_rows, out } = args;
        let rows = match rows {
            None => NormRows::First(num_rows),
            Some(rows) => {
                let (what, found, expected) = ("length of rows", rows.len(), num_rows);
                let short = OpError::Shape { op: OP, what, found, expected };
                NormRows::Listed(rows.get(..num_rows).ok_or(short)?)
            }
        };
        let (x, weight, out) = (x.wide(OP)?, weight.wide(OP)?, out.narrow_mut(OP)?);
        self.kernels
            .rms_norm
            .run(&self.stream, out, x, weight, (eps, hidden_size), rows)
            .map_err(|error| op_error(OP, error))
    }

    fn head_norm(&mut self, args: HeadNorm<'_, Memory>) -> Result<(), OpError> {
        const OP: &str = "head_norm";
        let HeadNorm { x, weight, eps, num_rows, num_heads, head_dim } = args;
        let (x, weight) = (wide_mut(OP, x)?, weight.wide(OP)?);
        self.kernels
            .head_norm
            .run(&self.stream, x, weight, eps, [num_rows, num_heads, head_dim])
            .map_err(|error| op_error(OP, error))
    }

    fn rope_angles(&mut self, args: RopeAngles<'_, Self>) -> Result<(), OpError> {
        const OP: &str = "rope_angles";
        let RopeAngles { batch, inv_freq, num_freqs, attention_factor, out } = args;
        let batch = batch.get(OP)?;
        let (out, inv_freq) = (out.wide_mut(OP)?, inv_freq.wide(OP)?);
        let sizes = [batch.num_tokens(), num_freqs];
        self.kernels
            .rope_angles
            .run(&self.stream, out, &batch.positions, inv_freq, attention_factor, sizes)
            .map_err(|error| op_error(OP, error))
    }

    fn rope(&mut self, args: Rope<'_, Memory>) -> Result<(), OpError> {
        const OP: &str = "rope";
        let Rope { x, angles, num_rows, num_heads, head_dim, rotary_dim } = args;
        let layout = RopeLayout::HalfSplit;
        let shape = RopeShape { num_rows, num_heads, head_dim, rotary_dim, layout };
        let (x, angles) = (wide_mut(OP, x)?, angles.wide(OP)?);
        self.kernels.rope.run(&self.stream, x, angles, shape).map_err(|error| op_error(OP, error))
    }

    fn kv_write(&mut self, args: KvWrite<'_, Self>) -> Result<(), OpError> {
        const OP: &str = "kv_write";
        let KvWrite { batch, k, v, kv_cache, layer_idx } = args;
        let batch = batch.get(OP)?;
        check_slots(OP, &batch.host, &kv_cache.shape)?;
        let layout = kv_cache.layout;
        let layer = kv_cache.layer_mut(OP, layer_idx)?;
        let rows = KvRows {
            slot_mapping: &batch.slot_mapping,
            num_tokens: batch.num_tokens(),
            k: wide(OP, &k)?,
            v: wide(OP, &v)?,
            k_scales: &layer.k_scales,
            v_scales: &layer.v_scales,
            token_scales: None,
        };
        let failed = |error| op_error(OP, error);
        let op = self.kernels.kv_write(layout.dtype()).map_err(failed)?;
        op.run(&self.stream, &layout, [&mut layer.k, &mut layer.v], rows).map_err(failed)
    }

    fn attention(&mut self, args: Attention<'_, Self>) -> Result<(), OpError> {
        const OP: &str = "attention";
        let Attention { batch, q, kv_cache, layer_idx, num_qo_heads, scale, window, out } = args;
        let num_tokens = batch.get(OP)?.num_tokens();
        let width = num_qo_heads.saturating_mul(kv_cache.layout.head_dim());
        self.grow_queries(num_tokens.saturating_mul(width))?;
        self.kernels
            .convert
            .run(&self.stream, &mut self.queries, &wide(OP, &q)?, [num_tokens, width])
            .map_err(|error| op_error(OP, error))?;
        self.attend(batch, (kv_cache, layer_idx), num_qo_heads, (scale, window), out)
    }

    /// With two launches before attention instead of four.
    fn rotate_attend(&mut self, args: RotateAttend<'_, Self>) -> Result<(), OpError> {
        const OP: &str = "rotate_attend";
        let stride = args.stride();
        let RotateAttend { batch, num_rows, qkv, angles, rotary_dim, kv_cache, layer_idx, .. } =
            args;
        let RotateAttend { num_qo_heads, num_kv_heads, head_dim, scale, window, out, .. } = args;
        let uploaded = batch.get(OP)?;
        check_slots(OP, &uploaded.host, &kv_cache.shape)?;
        let equal = |what, found, expected| match found == expected {
            true => Ok(()),
            false => Err(OpError::Shape { op: OP, what, found, expected }),
        };
        equal("num_rows", num_rows, uploaded.num_tokens())?;
        equal("num_kv_heads", num_kv_heads, kv_cache.shape.num_kv_heads)?;
        equal("head_dim", head_dim, kv_cache.shape.head_dim)?;
        let (qkv, angles) = (qkv.wide(OP)?, angles.wide(OP)?);
        let cols =
            |first_head: usize| Cols { buffer: qkv, first_col: first_head * head_dim, stride };
        let failed = |error| op_error(OP, error);
        let rope_layout = RopeLayout::HalfSplit;
        let layout = kv_cache.layout;
        let layer = kv_cache.layer_mut(OP, layer_idx)?;
        let rows = KvRows {
            slot_mapping: &uploaded.slot_mapping,
            num_tokens: num_rows,
            k: cols(num_qo_heads),
            v: cols(num_qo_heads + num_kv_heads),
            k_scales: &layer.k_scales,
            v_scales: &layer.v_scales,
            token_scales: None,
        };
        let rope = KeyRope { angles, rotary_dim, layout: rope_layout };
        let op = self.kernels.kv_write_rope(layout.dtype()).map_err(failed)?;
        op.run(&self.stream, &layout, [&mut layer.k, &mut layer.v], rows, rope).map_err(failed)?;

        self.grow_queries(num_rows.saturating_mul(num_qo_heads * head_dim))?;
        let num_heads = num_qo_heads;
        let shape = RopeShape { num_rows, num_heads, head_dim, rotary_dim, layout: rope_layout };
        self.kernels
            .rope_convert
            .run(&self.stream, &mut self.queries, &cols(0), angles, shape)
            .map_err(failed)?;
        self.attend(batch, (kv_cache, layer_idx), num_qo_heads, (scale, window), out)
    }

    fn silu_mul(&mut self, args: SiluMul<'_, Memory>) -> Result<(), OpError> {
        const OP: &str = "silu_mul";
        let SiluMul { gate_up, num_rows, width, out } = args;
        let (out, gate_up) = (out.narrow_mut(OP)?, gate_up.wide(OP)?);
        self.kernels
            .silu_mul
            .run(&self.stream, out, gate_up, [num_rows, width])
            .map_err(|error| op_error(OP, error))
    }
}
