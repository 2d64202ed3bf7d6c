//! The math: argument checks, then [`crate::ops`] on slices, in bands over threads.

use engine_core::batch::Batch;
use engine_core::checkpoint::RowSource;
use engine_core::device::OpError;
use engine_core::ops::{
    Attention, Cols, HeadNorm, KvWrite, Linear, Ops, Out, RmsNorm, Rope, RopeAngles, SiluMul,
};

use super::device::round_all;
use super::storage::unwritten;
use super::{Buffer, KvCache, Matrix, ReferenceCpu};
use crate::parallel::bands;
use crate::shape::{at_least, equal, size};
use crate::{ops, shape};

impl Ops for ReferenceCpu {
    type Matrix = Matrix;

    fn load_matrix(&mut self, parts: &[&dyn RowSource]) -> Result<Matrix, OpError> {
        const OP: &str = "load_matrix";
        let in_features = parts.first().map_or(0, |part| part.num_cols());
        at_least(OP, "columns", in_features, 1)?;
        let mut len = Some(0_usize);
        for part in parts {
            equal(OP, "columns of a part", part.num_cols(), in_features)?;
            let part_len = part.num_rows().checked_mul(in_features);
            len = len.zip(part_len).and_then(|(len, part)| len.checked_add(part));
        }
        let mut values = unwritten("a weight matrix", len)?;
        let mut rows = values.chunks_exact_mut(in_features);
        for part in parts {
            for (row, out) in (0..part.num_rows()).zip(rows.by_ref()) {
                part.read_row(row, out);
                round_all(self.compute_dtype, out);
            }
        }
        Ok(Matrix { values, in_features })
    }

    fn embed(&mut self, table: &Matrix, batch: &Batch, out: &mut Buffer) -> Result<(), OpError> {
        const OP: &str = "embed";
        for &token_id in &batch.token_ids {
            let least = (token_id as usize).saturating_add(1);
            at_least(OP, "rows of the table", table.out_features(), least)?;
        }
        let len = size(batch.num_tokens(), table.in_features);
        let out = out.f32_mut(OP, "length of out", len)?;
        ops::embed(&table.values, &batch.token_ids, table.in_features, out);
        Ok(())
    }

    fn linear(&mut self, args: Linear<'_, Self>) -> Result<(), OpError> {
        const OP: &str = "linear";
        let (in_features, out_features) = (args.weight.in_features, args.weight.out_features());
        let x = args.x.act(OP, "length of x", size(args.num_rows, in_features))?;
        let bias = match args.bias {
            Some(bias) => Some(bias.f32(OP, "length of bias", out_features)?),
            None => None,
        };
        let (out, add) = match args.out {
            Out::Store(out) => (out, false),
            Out::AddTo(out) => (out, true),
        };
        let out = out.f32_mut(OP, "length of out", size(args.num_rows, out_features))?;
        if out.is_empty() {
            return Ok(());
        }
        let weight = &args.weight.values;
        let work = size(x.len(), out_features);
        let products = bands(self.num_threads, out_features, work, |cols| {
            let weight = &weight[cols.start * in_features..cols.end * in_features];
            let bias = bias.map(|bias| &bias[cols.clone()]);
            let mut product = vec![0.0; args.num_rows * cols.len()];
            ops::linear(x, weight, bias, in_features, &mut product);
            product
        });
        for (cols, product) in products {
            let out_rows = out.chunks_exact_mut(out_features);
            for (out, product) in out_rows.zip(product.chunks_exact(cols.len())) {
                store(&mut out[cols.clone()], product, add);
            }
        }
        Ok(())
    }

    fn rms_norm(&mut self, args: RmsNorm<'_, Buffer>) -> Result<(), OpError> {
        const OP: &str = "rms_norm";
        at_least(OP, "hidden_size", args.hidden_size, 1)?;
        let weight = args.weight.f32(OP, "length of weight", args.hidden_size)?;
        let num_x_rows = match args.rows {
            Some(rows) => {
                at_least(OP, "length of rows", rows.len(), args.num_rows)?;
                let rows = &rows[..args.num_rows];
                rows.iter().map(|&row| row as usize + 1).max().unwrap_or(0)
            }
            None => args.num_rows,
        };
        let x = args.x.f32(OP, "length of x", size(num_x_rows, args.hidden_size))?;
        let len = size(args.num_rows, args.hidden_size);
        let out = args.out.act_mut(OP, "length of out", len)?;
        ops::rms_norm(x, weight, args.eps, args.rows, out);
        round_all(self.compute_dtype, out);
        Ok(())
    }

    fn head_norm(&mut self, args: HeadNorm<'_, Buffer>) -> Result<(), OpError> {
        const OP: &str = "head_norm";
        at_least(OP, "head_dim", args.head_dim, 1)?;
        let width = size(args.num_heads, args.head_dim);
        let weight = args.weight.f32(OP, "length of weight", args.head_dim)?;
        let x = view_mut(OP, args.x, width, args.num_rows)?;
        if args.num_rows == 0 {
            return Ok(());
        }
        ops::head_norm(x, weight, args.eps, args.num_rows, args.num_heads);
        Ok(())
    }

    fn rope_angles(&mut self, args: RopeAngles<'_, Self>) -> Result<(), OpError> {
        const OP: &str = "rope_angles";
        at_least(OP, "num_freqs", args.num_freqs, 1)?;
        let inv_freq = args.inv_freq.f32(OP, "length of inv_freq", args.num_freqs)?;
        let rotary_dim = size(2, args.num_freqs);
        let len = size(args.batch.num_tokens(), rotary_dim);
        let out = args.out.f32_mut(OP, "length of out", len)?;
        ops::rope_angles(&args.batch.positions, inv_freq, args.attention_factor, out);
        Ok(())
    }

    fn rope(&mut self, args: Rope<'_, Buffer>) -> Result<(), OpError> {
        const OP: &str = "rope";
        at_least(OP, "rotary_dim", args.rotary_dim, 2)?;
        at_least(OP, "head_dim", args.head_dim, args.rotary_dim)?;
        equal(OP, "remainder of rotary_dim by 2", args.rotary_dim % 2, 0)?;
        let width = size(args.num_heads, args.head_dim);
        let len = size(args.num_rows, args.rotary_dim);
        let angles = args.angles.f32(OP, "length of angles", len)?;
        let x = view_mut(OP, args.x, width, args.num_rows)?;
        if args.num_rows == 0 {
            return Ok(());
        }
        ops::rope(x, angles, args.num_rows, args.num_heads, args.head_dim, args.rotary_dim);
        Ok(())
    }

    fn kv_write(&mut self, args: KvWrite<'_, Self>) -> Result<(), OpError> {
        const OP: &str = "kv_write";
        let shape = args.kv_cache.shape;
        let num_tokens = args.batch.num_tokens();
        check_layer(OP, args.kv_cache, args.layer_idx)?;
        shape::slots(OP, args.batch, &shape)?;
        let width = shape.num_kv_heads * shape.head_dim;
        let k = view(OP, args.k, width, num_tokens)?;
        let v = view(OP, args.v, width, num_tokens)?;
        for (rows, (pool, scales)) in
            [k, v].into_iter().zip(args.kv_cache.layer_mut(args.layer_idx))
        {
            let slots = &args.batch.slot_mapping;
            ops::kv_write(slots, rows, shape.head_dim, (shape.dtype, scales), pool);
        }
        Ok(())
    }

    fn attention(&mut self, args: Attention<'_, Self>) -> Result<(), OpError> {
        const OP: &str = "attention";
        let shape = args.kv_cache.shape;
        let num_tokens = args.batch.num_tokens();
        check_layer(OP, args.kv_cache, args.layer_idx)?;
        at_least(OP, "num_qo_heads", args.num_qo_heads, 1)?;
        let remainder = args.num_qo_heads % shape.num_kv_heads;
        equal(OP, "remainder of num_qo_heads by num_kv_heads", remainder, 0)?;
        at_least(OP, "window", args.window.map_or(1, |window| window as usize), 1)?;
        shape::block_tables(OP, args.batch, &shape, args.window)?;
        let width = size(args.num_qo_heads, shape.head_dim);
        let out = args.out.act_mut(OP, "length of out", size(num_tokens, width))?;
        let (k, v) = args.kv_cache.layer(args.layer_idx);
        let oracle = ops::Attention {
            batch: args.batch,
            q: view(OP, args.q, width, num_tokens)?,
            k,
            v,
            shape,
            scales: args.kv_cache.scales().layer(args.layer_idx),
            query_dtype: shape.dtype.attention_dtype(self.compute_dtype),
            num_qo_heads: args.num_qo_heads,
            scale: args.scale,
            window: args.window,
        };
        let keys: usize = args.batch.positions.iter().map(|&position| position as usize + 1).sum();
        let outputs = bands(self.num_threads, num_tokens, size(size(2, width), keys), |rows| {
            let mut out = vec![0.0; rows.len() * width];
            ops::attention(&oracle, rows, &mut out);
            round_all(self.compute_dtype, &mut out);
            out
        });
        for (rows, output) in outputs {
            out[rows.start * width..rows.end * width].copy_from_slice(&output);
        }
        Ok(())
    }

    fn silu_mul(&mut self, args: SiluMul<'_, Buffer>) -> Result<(), OpError> {
        const OP: &str = "silu_mul";
        at_least(OP, "width", args.width, 1)?;
        let len = size(args.num_rows, args.width);
        let gate_up = args.gate_up.f32(OP, "length of gate_up", size(2, len))?;
        let out = args.out.act_mut(OP, "length of out", len)?;
        if out.is_empty() {
            return Ok(());
        }
        ops::silu_mul(gate_up, args.width, out);
        round_all(self.compute_dtype, out);
        Ok(())
    }
}

/// `out = product`, or `out += product` in f32.
fn store(out: &mut [f32], product: &[f32], add: bool) {
    for (out, &product) in out.iter_mut().zip(product) {
        *out = if add { *out + product } else { product };
    }
}

fn check_layer(op: &'static str, kv_cache: &KvCache, layer_idx: usize) -> Result<(), OpError> {
    let least = layer_idx.saturating_add(1);
    at_least(op, "layers of the cache", kv_cache.shape.num_layers, least)
}

fn view<'a>(
    op: &'static str,
    cols: Cols<&'a Buffer>,
    width: usize,
    num_rows: usize,
) -> Result<Cols<&'a [f32]>, OpError> {
    let buffer = cols.buffer.f32(op, "length of a view", cols.buffer.values.len())?;
    shape::view(op, &cols, buffer.len(), width, num_rows)?;
    Ok(Cols { buffer, first_col: cols.first_col, stride: cols.stride })
}

fn view_mut<'a>(
    op: &'static str,
    cols: Cols<&'a mut Buffer>,
    width: usize,
    num_rows: usize,
) -> Result<Cols<&'a mut [f32]>, OpError> {
    shape::view(op, &cols, cols.buffer.values.len(), width, num_rows)?;
    let len = cols.buffer.values.len();
    Ok(Cols {
        first_col: cols.first_col,
        stride: cols.stride,
        buffer: cols.buffer.f32_mut(op, "length of a view", len)?,
    })
}
