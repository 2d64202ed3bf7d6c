//! Runs of tokens in their canonical form: whole kv_blocks of a layer go through staging memory, and the host puts
//! their tokens in order.

use std::ops::Range;

use engine_core::device::{KvCacheShape, OpError};
use engine_core::kv_run::KvRun;

use super::device::STAGING_BYTES;
use super::error::op_error;
use super::memory::alloc;
use super::{KernelsHip, KvCache};
use crate::buffer::Buffer;
use crate::ops::{DenseBlocks, KvPart};

/// kv_blocks of one layer on their way: K of all of them, and then V, `[block][kv_head][slot][head_dim]` each.
struct Staging {
    shape: KvCacheShape,
    /// kv_blocks that there is room for.
    num_blocks: usize,
    device: Buffer<u8>,
    host: Vec<u8>,
}

impl Staging {
    fn new(backend: &KernelsHip, shape: KvCacheShape, num_blocks: usize) -> Result<Self, OpError> {
        let block_bytes = shape.block_bytes() as usize / shape.num_layers.max(1);
        let num_blocks = (STAGING_BYTES / block_bytes.max(1)).clamp(1, num_blocks.max(1));
        let device = alloc(&backend.device, num_blocks * block_bytes, "kv_blocks on their way")?;
        Ok(Staging { shape, num_blocks, device, host: vec![0; num_blocks * block_bytes] })
    }

    /// Bytes of one kv_block's keys, or values.
    fn part_bytes(&self) -> usize {
        self.host.len() / (2 * self.num_blocks)
    }

    fn at(&self, part: KvPart) -> DenseBlocks {
        let stride = self.part_bytes();
        DenseBlocks { first: part as usize * self.num_blocks * stride, stride }
    }

    /// Brings kv_blocks of a layer to the host.
    fn gather(
        &mut self,
        backend: &mut KernelsHip,
        kv_cache: &KvCache,
        layer_idx: usize,
        block_ids: &[u32],
    ) -> Result<(), OpError> {
        const OP: &str = "read_kv_run";
        let failed = |error| op_error(OP, error);
        let layer = kv_cache.layer(OP, layer_idx)?;
        let size_bytes = self.shape.dtype.size_bytes();
        let op = backend.kernels.kv_blocks(size_bytes).map_err(failed)?;
        for (pool, part) in [(&layer.k, KvPart::K), (&layer.v, KvPart::V)] {
            let at = self.at(part);
            let to = (&mut self.device, at);
            op.gather(&backend.stream, &kv_cache.layout, (pool, part), block_ids, to)
                .map_err(failed)?;
        }
        self.device.read_at(&backend.stream, 0, &mut self.host).map_err(failed)
    }

    /// Brings the host's bytes to kv_blocks of a layer.
    fn scatter(
        &mut self,
        backend: &mut KernelsHip,
        kv_cache: &mut KvCache,
        layer_idx: usize,
        block_ids: &[u32],
    ) -> Result<(), OpError> {
        let failed = |error| op_error("write_kv_run", error);
        self.device.write_at(&backend.stream, 0, &self.host).map_err(failed)?;
        let size_bytes = self.shape.dtype.size_bytes();
        let op = backend.kernels.kv_blocks(size_bytes).map_err(failed)?;
        let (layer, layout) = (&mut kv_cache.layers[layer_idx], &kv_cache.layout);
        for (pool, part) in [(&mut layer.k, KvPart::K), (&mut layer.v, KvPart::V)] {
            let from = (&self.device, self.at(part));
            op.scatter(&backend.stream, layout, (pool, part), block_ids, from).map_err(failed)?;
        }
        Ok(())
    }

    /// Where each piece of the run lies on the host, when the kv_blocks at `places` are staged: its keys and its
    /// values, each with the bytes of the canonical form.
    fn pieces(
        &self,
        run: &KvRun<'_>,
        places: Range<usize>,
    ) -> impl Iterator<Item = [(Range<usize>, Range<usize>); 2]> {
        let KvCacheShape { block_size, num_kv_heads, head_dim, dtype, .. } = self.shape;
        let token_bytes = head_dim * dtype.size_bytes();
        let firsts = [self.at(KvPart::K).first, self.at(KvPart::V).first];
        let first_place = places.start;
        let blocks = &run.block_table[places.clone()];
        run.pieces(&self.shape, places).enumerate().map(move |(piece_idx, piece)| {
            // Head after head, each has a piece in every kv_block.
            let block_idx = piece_idx % blocks.len();
            debug_assert_eq!(blocks[block_idx], piece.block, "place {first_place} + {block_idx}");
            let row = (block_idx * num_kv_heads + piece.kv_head_idx) * block_size;
            let staged =
                (row + piece.slots.start) * token_bytes..(row + piece.slots.end) * token_bytes;
            let staged_at = |first: usize| first + staged.start..first + staged.end;
            [(staged_at(firsts[0]), piece.k_bytes), (staged_at(firsts[1]), piece.v_bytes)]
        })
    }
}

/// The places of a table from `table`, at most `at_a_time` each.
fn chunks(table: Range<usize>, at_a_time: usize) -> impl Iterator<Item = Range<usize>> {
    let end = table.end;
    table.step_by(at_a_time).map(move |first| first..(first + at_a_time).min(end))
}

/// [`Device::read_kv_run`](engine_core::device::Device::read_kv_run).
pub(super) fn read(
    backend: &mut KernelsHip,
    kv_cache: &KvCache,
    run: &KvRun<'_>,
    out: &mut [u8],
) -> Result<(), OpError> {
    run.check("read_kv_run", &kv_cache.shape, out.len())?;
    let table = run.table_range(kv_cache.shape.block_size);
    let mut staging = Staging::new(backend, kv_cache.shape, table.len())?;
    for places in chunks(table, staging.num_blocks) {
        let block_ids = &run.block_table[places.clone()];
        staging.gather(backend, kv_cache, run.layer_idx, block_ids)?;
        for (staged, bytes) in staging.pieces(run, places).flatten() {
            out[bytes].copy_from_slice(&staging.host[staged]);
        }
    }
    Ok(())
}

/// [`Device::write_kv_run`](engine_core::device::Device::write_kv_run).
pub(super) fn write(
    backend: &mut KernelsHip,
    kv_cache: &mut KvCache,
    run: &KvRun<'_>,
    data: &[u8],
) -> Result<(), OpError> {
    run.check("write_kv_run", &kv_cache.shape, data.len())?;
    let block_size = kv_cache.shape.block_size;
    let table = run.table_range(block_size);
    let mut staging = Staging::new(backend, kv_cache.shape, table.len())?;
    for places in chunks(table, staging.num_blocks) {
        let block_ids = &run.block_table[places.clone()];
        let (first, end) = (places.start * block_size, places.end * block_size);
        if first < run.first_token || end > run.first_token + run.num_tokens {
            // The slots around the run keep what they hold.
            staging.gather(backend, kv_cache, run.layer_idx, block_ids)?;
        }
        let pieces: Vec<_> = staging.pieces(run, places.clone()).flatten().collect();
        for (staged, bytes) in pieces {
            staging.host[staged].copy_from_slice(&data[bytes]);
        }
        staging.scatter(backend, kv_cache, run.layer_idx, block_ids)?;
    }
    Ok(())
}
