//! Batches over a shuffled pool of kv_blocks.

use core::ops::Range;

use engine_core::batch::Batch;
use engine_core::device::KvCacheShape;
use engine_core::kv_scales::KvScales;

use crate::cases::KvFormat;
use crate::inputs::Rng;

/// Layers of the caches under test; the second is used, the first must not be.
pub(super) const NUM_LAYERS: usize = 2;
/// The layer that is written and read.
pub(super) const LAYER_IDX: usize = 1;

/// Sequences in a pool with shuffled and unused blocks.
pub(super) struct Paging {
    pub(super) block_size: usize,
    pub(super) num_blocks: usize,
    tables: Vec<Vec<u32>>,
}

impl Paging {
    /// Blocks for sequences of `seq_lens` tokens, drawn at random from a pool of a quarter more.
    pub(super) fn new(rng: &mut Rng, block_size: usize, seq_lens: &[usize]) -> Self {
        let blocks_of = |&seq_len: &usize| seq_len.div_ceil(block_size);
        let num_used: usize = seq_lens.iter().map(blocks_of).sum();
        let num_blocks = num_used + num_used / 4 + 2;
        let mut pool: Vec<u32> = (0..num_blocks as u32).collect();
        rng.shuffle(&mut pool);
        let tables = seq_lens.iter().map(|seq_len| pool.split_off(pool.len() - blocks_of(seq_len)));
        let tables = tables.collect();
        Paging { block_size, num_blocks, tables }
    }

    /// The kv_blocks of a sequence.
    pub(super) fn table(&self, seq_idx: usize) -> &[u32] {
        &self.tables[seq_idx]
    }

    /// The pool's shape with heads of a model, and its scales.
    pub(super) fn cache(
        &self,
        num_kv_heads: usize,
        head_dim: usize,
        format: KvFormat,
    ) -> (KvCacheShape, KvScales) {
        let shape = KvCacheShape {
            num_layers: NUM_LAYERS,
            num_blocks: self.num_blocks,
            block_size: self.block_size,
            num_kv_heads,
            head_dim,
            dtype: format.dtype,
        };
        (shape, format.scales(NUM_LAYERS, num_kv_heads))
    }

    /// Rows at `positions` of each sequence listed, in that order.
    pub(super) fn batch(&self, spans: &[(usize, Range<usize>)]) -> Batch {
        let mut batch = Batch::default();
        batch.clear();
        batch.max_num_blocks = self.tables.iter().map(Vec::len).max().unwrap_or(0);
        for (seq_idx, positions) in spans {
            let table = &self.tables[*seq_idx];
            for position in positions.clone() {
                let slot = table[position / self.block_size] as usize * self.block_size
                    + position % self.block_size;
                batch.token_ids.push(0);
                batch.positions.push(position as u32);
                batch.slot_mapping.push(slot as i64);
            }
            batch.cu_seqlens_q.push(batch.positions.len() as u32);
            batch.seq_lens.push(positions.end as u32);
            batch.block_tables.extend(table);
            // Entries past the end are unread, so they may name a block that is not there.
            let padded = batch.seq_lens.len() * batch.max_num_blocks;
            batch.block_tables.resize(padded, u32::MAX);
        }
        batch
    }

    /// One sequence that owns every block, to write every slot of the pool.
    pub(super) fn whole_pool(&self) -> Batch {
        let whole = Paging {
            block_size: self.block_size,
            num_blocks: self.num_blocks,
            tables: vec![(0..self.num_blocks as u32).collect()],
        };
        whole.batch(&[(0, 0..self.num_blocks * self.block_size)])
    }
}

/// A batch of sequences with one row each, at any position, and no cache behind them.
pub(super) fn single_rows(positions: &[u32]) -> Batch {
    Batch {
        token_ids: vec![0; positions.len()],
        positions: positions.to_vec(),
        slot_mapping: vec![-1; positions.len()],
        cu_seqlens_q: (0..=positions.len() as u32).collect(),
        seq_lens: positions.iter().map(|position| position + 1).collect(),
        block_tables: Vec::new(),
        max_num_blocks: 0,
    }
}
