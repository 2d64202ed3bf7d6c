//! One step's work as plain data: flat token rows, grouped by sequence.

use alloc::vec::Vec;

/// What a step computes. Rows of one sequence are adjacent and in position order; sequences that
/// decode have one row, sequences that prefill have a chunk.
///
/// With `num_tokens` rows and `num_seqs` sequences:
/// `token_ids`, `positions`, `slot_mapping` are `[num_tokens]`, `cu_seqlens_q` is `[num_seqs + 1]`,
/// `seq_lens` is `[num_seqs]`, `block_tables` is `[num_seqs, max_num_blocks]` row-major.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Token of each row.
    pub token_ids: Vec<u32>,
    /// Position of each row in its sequence, from 0.
    pub positions: Vec<u32>,
    /// Where each row's K and V go: `block * block_size + offset`; −1 writes nothing.
    pub slot_mapping: Vec<i64>,
    /// Sequence `s` owns rows `cu_seqlens_q[s]..cu_seqlens_q[s + 1]`.
    pub cu_seqlens_q: Vec<u32>,
    /// Tokens of each sequence once this step is done; its last row has position `seq_lens[s] - 1`.
    pub seq_lens: Vec<u32>,
    /// KV block of each `block_size` positions of each sequence; entries past the end are unread.
    pub block_tables: Vec<u32>,
    /// Columns of `block_tables`.
    pub max_num_blocks: usize,
}

impl Batch {
    /// Token rows.
    pub fn num_tokens(&self) -> usize {
        self.token_ids.len()
    }

    /// Sequences.
    pub fn num_seqs(&self) -> usize {
        self.seq_lens.len()
    }

    /// Rows of sequence `seq_idx`.
    pub fn rows(&self, seq_idx: usize) -> core::ops::Range<usize> {
        self.cu_seqlens_q[seq_idx] as usize..self.cu_seqlens_q[seq_idx + 1] as usize
    }

    /// KV blocks of sequence `seq_idx`, in position order.
    pub fn block_table(&self, seq_idx: usize) -> &[u32] {
        &self.block_tables[seq_idx * self.max_num_blocks..(seq_idx + 1) * self.max_num_blocks]
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.token_ids.clear();
        self.positions.clear();
        self.slot_mapping.clear();
        self.cu_seqlens_q.clear();
        self.cu_seqlens_q.push(0);
        self.seq_lens.clear();
        self.block_tables.clear();
        self.max_num_blocks = 0;
    }
}
