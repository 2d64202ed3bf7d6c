//! Memory and transfers.

use engine_core::batch::Batch;
use engine_core::device::{Device, KvCacheShape, OpError};
use engine_core::dtype::DType;
use engine_core::formats::Fp8Flavour;
use engine_core::kv_dtype::KvDType;
use engine_core::kv_run::KvRun;
use engine_core::kv_scales::KvScales;

use super::{Buffer, KvCache, ReferenceCpu};
use crate::shape;

impl Device for ReferenceCpu {
    type Buffer = Buffer;
    type KvCache = KvCache;
    type Batch = Batch;

    fn name(&self) -> String {
        format!("reference, {}, {} threads", self.compute_dtype, self.num_threads)
    }

    fn numerics_id(&self) -> String {
        format!("reference {}", self.compute_dtype)
    }

    fn compute_dtype(&self) -> DType {
        self.compute_dtype
    }

    /// Every number is held in f32.
    fn weight_size_bytes(&self) -> usize {
        DType::F32.size_bytes()
    }

    fn act_size_bytes(&self) -> usize {
        DType::F32.size_bytes()
    }

    fn fp8_flavour(&self) -> Fp8Flavour {
        Fp8Flavour::Ocp
    }

    fn alloc(&mut self, len: usize) -> Result<Buffer, OpError> {
        Buffer::new(len, false)
    }

    fn alloc_act(&mut self, len: usize) -> Result<Buffer, OpError> {
        Buffer::new(len, true)
    }

    fn alloc_kv_cache(
        &mut self,
        shape: KvCacheShape,
        scales: &KvScales,
    ) -> Result<KvCache, OpError> {
        KvCache::new(shape, scales)
    }

    fn upload_batch(&mut self, batch: &Batch, device_batch: &mut Batch) -> Result<(), OpError> {
        shape::batch(batch)?;
        device_batch.clone_from(batch);
        Ok(())
    }

    fn read_f32(&mut self, buffer: &Buffer, out: &mut [f32]) -> Result<(), OpError> {
        out.copy_from_slice(buffer.f32("read_f32", "length of the buffer", out.len())?);
        Ok(())
    }

    fn write_f32(&mut self, data: &[f32], buffer: &mut Buffer) -> Result<(), OpError> {
        let values = buffer.f32_mut("write_f32", "length of the buffer", data.len())?;
        values.copy_from_slice(data);
        Ok(())
    }

    fn read_act(&mut self, buffer: &Buffer, out: &mut [f32]) -> Result<(), OpError> {
        out.copy_from_slice(buffer.act("read_act", "length of the buffer", out.len())?);
        Ok(())
    }

    fn write_act(&mut self, data: &[f32], buffer: &mut Buffer) -> Result<(), OpError> {
        let values = buffer.act_mut("write_act", "length of the buffer", data.len())?;
        values.copy_from_slice(data);
        round_all(self.compute_dtype, values);
        Ok(())
    }

    fn read_kv(
        &mut self,
        kv_cache: &KvCache,
        layer_idx: usize,
        slot: usize,
        kv_head_idx: usize,
    ) -> Result<(Vec<f32>, Vec<f32>), OpError> {
        const OP: &str = "read_kv";
        let shape = &kv_cache.shape;
        let num_slots = shape.num_blocks * shape.block_size;
        shape::at_least(OP, "layers of the cache", shape.num_layers, layer_idx.saturating_add(1))?;
        shape::at_least(OP, "slots of the cache", num_slots, slot.saturating_add(1))?;
        shape::at_least(
            OP,
            "heads of the cache",
            shape.num_kv_heads,
            kv_head_idx.saturating_add(1),
        )?;
        let (keys, values) = kv_cache.layer(layer_idx);
        let start = (slot * shape.num_kv_heads + kv_head_idx) * shape.head_dim;
        let range = start..start + shape.head_dim;
        Ok((keys[range.clone()].to_vec(), values[range].to_vec()))
    }

    fn read_kv_blocks(
        &mut self,
        kv_cache: &KvCache,
        block_ids: &[u32],
        out: &mut [u8],
    ) -> Result<(), OpError> {
        kv_cache.shape.check_transfer("read_kv_blocks", block_ids, out.len())?;
        let mut rest = out;
        for range in block_ids.iter().flat_map(|&block| kv_cache.block_ranges(block)) {
            for pool in [&kv_cache.keys, &kv_cache.values] {
                let dtype = kv_cache.shape.dtype;
                let (to, tail) = rest.split_at_mut(range.len() * dtype.size_bytes());
                to_bytes(dtype, &pool[range.clone()], to);
                rest = tail;
            }
        }
        Ok(())
    }

    fn write_kv_blocks(
        &mut self,
        kv_cache: &mut KvCache,
        block_ids: &[u32],
        data: &[u8],
    ) -> Result<(), OpError> {
        kv_cache.shape.check_transfer("write_kv_blocks", block_ids, data.len())?;
        let dtype = kv_cache.shape.dtype;
        let mut rest = data;
        for &block in block_ids {
            for range in kv_cache.block_ranges(block) {
                for pool in [&mut kv_cache.keys, &mut kv_cache.values] {
                    let (from, tail) = rest.split_at(range.len() * dtype.size_bytes());
                    from_bytes(dtype, from, &mut pool[range.clone()]);
                    rest = tail;
                }
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
        let shape = &kv_cache.shape;
        run.check("read_kv_run", shape, out.len())?;
        let (keys, values) = kv_cache.layer(run.layer_idx);
        let token_bytes = shape.head_dim * shape.dtype.size_bytes();
        for piece in run.pieces(shape, run.table_range(shape.block_size)) {
            for (pool, bytes) in [(keys, piece.k_bytes.clone()), (values, piece.v_bytes.clone())] {
                let tokens = out[bytes].chunks_exact_mut(token_bytes);
                for (slot, token) in piece.slots.clone().zip(tokens) {
                    to_bytes(shape.dtype, &pool[kv_cache.head_range(&piece, slot)], token);
                }
            }
        }
        Ok(())
    }

    fn write_kv_run(
        &mut self,
        kv_cache: &mut KvCache,
        run: &KvRun<'_>,
        data: &[u8],
    ) -> Result<(), OpError> {
        let shape = kv_cache.shape;
        run.check("write_kv_run", &shape, data.len())?;
        let token_bytes = shape.head_dim * shape.dtype.size_bytes();
        for piece in run.pieces(&shape, run.table_range(shape.block_size)) {
            for (part, bytes) in
                [piece.k_bytes.clone(), piece.v_bytes.clone()].into_iter().enumerate()
            {
                let tokens = data[bytes].chunks_exact(token_bytes);
                for (slot, token) in piece.slots.clone().zip(tokens) {
                    let range = kv_cache.head_range(&piece, slot);
                    let pool = &mut kv_cache.layer_mut(run.layer_idx)[part].0[range];
                    from_bytes(shape.dtype, token, pool);
                }
            }
        }
        Ok(())
    }
}

/// Rounds every value to `dtype`.
pub(super) fn round_all(dtype: DType, values: &mut [f32]) {
    for value in values {
        *value = dtype.round(*value);
    }
}

/// Writes `values`, which `dtype` represents, in its format; `out` has just the room.
fn to_bytes(dtype: KvDType, values: &[f32], out: &mut [u8]) {
    let size_bytes = dtype.size_bytes();
    for (&value, out) in values.iter().zip(out.chunks_exact_mut(size_bytes)) {
        out.copy_from_slice(&dtype.to_code(value).to_le_bytes()[..size_bytes]);
    }
}

/// The values that [`to_bytes`] wrote.
fn from_bytes(dtype: KvDType, bytes: &[u8], values: &mut [f32]) {
    let size_bytes = dtype.size_bytes();
    for (value, bytes) in values.iter_mut().zip(bytes.chunks_exact(size_bytes)) {
        let mut code = [0; 4];
        code[..size_bytes].copy_from_slice(bytes);
        *value = dtype.from_code(u32::from_le_bytes(code));
    }
}
