//! Memory and transfers.

use engine_core::batch::Batch;
use engine_core::device::{Device, KvCacheShape, OpError};
use engine_core::dtype::DType;
use engine_core::formats::Fp8Flavour;
use engine_core::kv_run::KvRun;
use engine_core::kv_scales::KvScales;

use super::batch::{Uploaded, check};
use super::error::op_error;
use super::kv_run;
use super::memory::{Kind, alloc, from_bits, to_bits};
use super::{DeviceBatch, KernelsHip, KvCache, Memory};
use crate::buffer::Buffer;
use crate::kv_layout::KvLayout;
use crate::ops::{DenseBlocks, KvPart};

/// The ops of a step whose results have an order of summation.
const OPS_WITH_SUMS: [&str; 5] =
    ["gemm", "head_norm", "paged_attention", "prefill_attention", "rms_norm"];

/// Bytes of kv_blocks that are moved at a time, and no less than one block's.
pub(super) const STAGING_BYTES: usize = 64 << 20;

impl KernelsHip {
    /// The elements of one head of one kv_block of a pool, as codes.
    fn read_head(
        &self,
        layout: &KvLayout,
        pool: &Buffer<u8>,
        first: usize,
    ) -> Result<Vec<u8>, OpError> {
        let size_bytes = layout.dtype().size_bytes();
        let mut codes = vec![0; layout.padded() * layout.head_dim() * size_bytes];
        pool.read_at(&self.stream, first * size_bytes, &mut codes)
            .map_err(|error| op_error("read_kv", error))?;
        Ok(codes)
    }

    /// kv_blocks that are staged at a time, and memory for them.
    fn staging(
        &self,
        shape: &KvCacheShape,
        num_blocks: usize,
    ) -> Result<(usize, Buffer<u8>), OpError> {
        let block_bytes = shape.block_bytes() as usize;
        let at_a_time = (STAGING_BYTES / block_bytes.max(1)).clamp(1, num_blocks.max(1));
        let buffer = alloc(&self.device, at_a_time * block_bytes, "kv_blocks on their way")?;
        Ok((at_a_time, buffer))
    }
}

/// Where the parts of staged kv_blocks lie: a block has K and V of each layer in turn.
fn dense_parts(shape: &KvCacheShape) -> impl Iterator<Item = (usize, KvPart, DenseBlocks)> + use<> {
    let stride = shape.block_bytes() as usize;
    let part_bytes = stride / (2 * shape.num_layers.max(1));
    (0..shape.num_layers).flat_map(move |layer_idx| {
        [KvPart::K, KvPart::V].map(|part| {
            let first = (2 * layer_idx + part as usize) * part_bytes;
            (layer_idx, part, DenseBlocks { first, stride })
        })
    })
}

fn within(op: &'static str, what: &'static str, found: usize, num: usize) -> Result<(), OpError> {
    if found < num {
        return Ok(());
    }
    Err(OpError::Shape { op, what, found, expected: num.saturating_sub(1) })
}

impl Device for KernelsHip {
    type Buffer = Memory;
    type KvCache = KvCache;
    type Batch = DeviceBatch;

    fn name(&self) -> String {
        let info = self.device.info();
        format!("hip ({}, {})", info.name, info.arch)
    }

    fn numerics_id(&self) -> String {
        let arch = &self.device.info().arch;
        // The emulator adds matrix products up in an order of its own.
        let emulated = if self.device.runtime().emulator().is_some() { " emulated" } else { "" };
        let classes = self.choices.reduction_classes(arch, &OPS_WITH_SUMS);
        format!("kernels-hip/1 {arch}{emulated} {} {classes}", self.compute_dtype)
    }

    fn compute_dtype(&self) -> DType {
        self.compute_dtype
    }

    fn fp8_flavour(&self) -> Fp8Flavour {
        Fp8Flavour::Fnuz
    }

    fn alloc(&mut self, len: usize) -> Result<Memory, OpError> {
        Ok(Memory { kind: Kind::Wide(alloc(&self.device, len, "activations")?) })
    }

    fn alloc_act(&mut self, len: usize) -> Result<Memory, OpError> {
        Ok(Memory { kind: Kind::Narrow(alloc(&self.device, len, "activations")?) })
    }

    fn alloc_kv_cache(
        &mut self,
        shape: KvCacheShape,
        scales: &KvScales,
    ) -> Result<KvCache, OpError> {
        KvCache::new(self, shape, scales)
    }

    fn upload_batch(
        &mut self,
        batch: &Batch,
        device_batch: &mut DeviceBatch,
    ) -> Result<(), OpError> {
        check(batch)?;
        let before = device_batch.uploaded.take();
        let uploaded = Uploaded::new(&self.device, &self.stream, batch, before)?;
        if uploaded.is_decode() {
            // Here, where the host waits for copies anyway, and not in a layer.
            let prepared = self.kernels.paged_attention.prepare(&self.stream, &uploaded.sequences);
            prepared.map_err(|error| op_error("upload_batch", error))?;
        }
        device_batch.uploaded = Some(uploaded);
        Ok(())
    }

    fn read_f32(&mut self, buffer: &Memory, out: &mut [f32]) -> Result<(), OpError> {
        const OP: &str = "read_f32";
        buffer.wide(OP)?.read_at(&self.stream, 0, out).map_err(|error| op_error(OP, error))
    }

    fn write_f32(&mut self, data: &[f32], buffer: &mut Memory) -> Result<(), OpError> {
        const OP: &str = "write_f32";
        buffer.wide_mut(OP)?.write_at(&self.stream, 0, data).map_err(|error| op_error(OP, error))
    }

    fn read_act(&mut self, buffer: &Memory, out: &mut [f32]) -> Result<(), OpError> {
        const OP: &str = "read_act";
        let mut bits = vec![0; out.len()];
        let read = buffer.narrow(OP)?.read_at(&self.stream, 0, &mut bits);
        read.map_err(|error| op_error(OP, error))?;
        out.iter_mut().zip(bits).for_each(|(x, bits)| *x = from_bits(self.compute_dtype, bits));
        Ok(())
    }

    fn write_act(&mut self, data: &[f32], buffer: &mut Memory) -> Result<(), OpError> {
        const OP: &str = "write_act";
        let bits: Vec<u16> = data.iter().map(|&x| to_bits(self.compute_dtype, x)).collect();
        let written = buffer.narrow_mut(OP)?.write_at(&self.stream, 0, &bits);
        written.map_err(|error| op_error(OP, error))
    }

    fn read_kv(
        &mut self,
        kv_cache: &KvCache,
        layer_idx: usize,
        slot: usize,
        kv_head_idx: usize,
    ) -> Result<(Vec<f32>, Vec<f32>), OpError> {
        const OP: &str = "read_kv";
        let KvCache { shape, layout, .. } = kv_cache;
        within(OP, "slot", slot, shape.num_blocks * shape.block_size)?;
        within(OP, "kv_head_idx", kv_head_idx, shape.num_kv_heads)?;
        let layer = kv_cache.layer(OP, layer_idx)?;
        let (block, slot) = (slot / shape.block_size, slot % shape.block_size);
        let first = layout.head_block(block, kv_head_idx);
        let k = self.read_head(layout, &layer.k, first)?;
        let v = self.read_head(layout, &layer.v, first)?;
        let size_bytes = shape.dtype.size_bytes();
        let number = |codes: &[u8], element: usize| {
            let mut code = [0; 4];
            code[..size_bytes].copy_from_slice(&codes[element * size_bytes..][..size_bytes]);
            shape.dtype.from_code(u32::from_le_bytes(code))
        };
        let dims = 0..shape.head_dim;
        let keys = dims.clone().map(|d| number(&k, layout.k_offset(slot, d))).collect();
        Ok((keys, dims.map(|d| number(&v, layout.v_offset(slot, d))).collect()))
    }

    fn read_kv_blocks(
        &mut self,
        kv_cache: &KvCache,
        block_ids: &[u32],
        out: &mut [u8],
    ) -> Result<(), OpError> {
        const OP: &str = "read_kv_blocks";
        let KvCache { shape, layout, layers } = kv_cache;
        shape.check_transfer(OP, block_ids, out.len())?;
        let (at_a_time, mut staged) = self.staging(shape, block_ids.len())?;
        let failed = |error| op_error(OP, error);
        let op = self.kernels.kv_blocks(shape.dtype.size_bytes()).map_err(failed)?;
        let block_bytes = shape.block_bytes() as usize;
        for (block_ids, out) in
            block_ids.chunks(at_a_time).zip(out.chunks_mut((at_a_time * block_bytes).max(1)))
        {
            for (layer_idx, part, at) in dense_parts(shape) {
                let layer = &layers[layer_idx];
                let pool = [&layer.k, &layer.v][part as usize];
                op.gather(&self.stream, layout, (pool, part), block_ids, (&mut staged, at))
                    .map_err(failed)?;
            }
            staged.read_at(&self.stream, 0, out).map_err(failed)?;
        }
        Ok(())
    }

    fn write_kv_blocks(
        &mut self,
        kv_cache: &mut KvCache,
        block_ids: &[u32],
        data: &[u8],
    ) -> Result<(), OpError> {
        const OP: &str = "write_kv_blocks";
        let KvCache { shape, layout, layers } = kv_cache;
        shape.check_transfer(OP, block_ids, data.len())?;
        let (at_a_time, mut staged) = self.staging(shape, block_ids.len())?;
        let failed = |error| op_error(OP, error);
        let op = self.kernels.kv_blocks(shape.dtype.size_bytes()).map_err(failed)?;
        let block_bytes = shape.block_bytes() as usize;
        for (block_ids, data) in
            block_ids.chunks(at_a_time).zip(data.chunks((at_a_time * block_bytes).max(1)))
        {
            staged.write_at(&self.stream, 0, data).map_err(failed)?;
            for (layer_idx, part, at) in dense_parts(shape) {
                let layer = &mut layers[layer_idx];
                let pool = match part {
                    KvPart::K => &mut layer.k,
                    KvPart::V => &mut layer.v,
                };
                op.scatter(&self.stream, layout, (pool, part), block_ids, (&staged, at))
                    .map_err(failed)?;
            }
        }
        // The staged bytes are freed: by then they have been read, for that waits for the device.
        Ok(())
    }

    fn read_kv_run(
        &mut self,
        kv_cache: &KvCache,
        run: &KvRun<'_>,
        out: &mut [u8],
    ) -> Result<(), OpError> {
        kv_run::read(self, kv_cache, run, out)
    }

    fn write_kv_run(
        &mut self,
        kv_cache: &mut KvCache,
        run: &KvRun<'_>,
        data: &[u8],
    ) -> Result<(), OpError> {
        kv_run::write(self, kv_cache, run, data)
    }
}
