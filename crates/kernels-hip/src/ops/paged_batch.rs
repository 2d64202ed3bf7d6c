//! The sequences of a step, where attention finds them.

use engine_core::batch::Batch;

use super::count;
use crate::buffer::Buffer;
use crate::device::Device;
use crate::result::{Error, Result};
use crate::stream::Stream;

/// What attention reads of a [`Batch`]: on the device for the kernels, and on the host for whoever checks and plans a
/// launch. A kernel follows block tables without looking; here is where they are looked at.
pub struct PagedBatch {
    pub(super) block_tables: Buffer<u32>,
    pub(super) cu_seqlens_q: Buffer<u32>,
    pub(super) seq_lens: Buffer<u32>,
    host: Host,
}

/// The same numbers on the host.
struct Host {
    block_tables: Vec<u32>,
    cu_seqlens_q: Vec<u32>,
    seq_lens: Vec<u32>,
    max_num_blocks: usize,
}

/// Positions are counted in 31 bits: their differences are signed.
const MAX_SEQ_LEN: u32 = i32::MAX as u32;

impl PagedBatch {
    /// Copies the batch to the device. Entries of block tables are checked when it is known what they are for.
    ///
    /// # Errors
    ///
    /// If the batch contradicts itself, or a sequence has 2^31 tokens; HIP's.
    pub fn upload(device: &Device, stream: &Stream, batch: &Batch) -> Result<Self> {
        let Batch { cu_seqlens_q, seq_lens, block_tables, max_num_blocks, .. } = batch;
        let host = Host {
            block_tables: block_tables.clone(),
            cu_seqlens_q: cu_seqlens_q.clone(),
            seq_lens: seq_lens.clone(),
            max_num_blocks: *max_num_blocks,
        };
        host.check()?;
        Ok(PagedBatch {
            block_tables: device.buffer_from(stream, block_tables)?,
            cu_seqlens_q: device.buffer_from(stream, cu_seqlens_q)?,
            seq_lens: device.buffer_from(stream, seq_lens)?,
            host,
        })
    }

    /// Token rows.
    #[must_use]
    pub fn num_tokens(&self) -> usize {
        self.host.cu_seqlens_q.last().map_or(0, |&end| end as usize)
    }

    /// Sequences.
    #[must_use]
    pub fn num_seqs(&self) -> usize {
        self.host.seq_lens.len()
    }

    /// Columns of the block tables.
    #[must_use]
    pub fn max_num_blocks(&self) -> usize {
        self.host.max_num_blocks
    }

    /// Rows and tokens of each sequence.
    pub fn lens(&self) -> impl Iterator<Item = (u32, u32)> + Clone {
        let rows = self.host.cu_seqlens_q.windows(2).map(|bounds| bounds[1] - bounds[0]);
        rows.zip(self.host.seq_lens.iter().copied())
    }

    /// Fails unless every position that a row attends is in a kv_block of the cache.
    pub(super) fn check_blocks(
        &self,
        block_size: usize,
        num_blocks: usize,
        window: Option<u32>,
    ) -> Result<()> {
        let window = window.unwrap_or(u32::MAX);
        for (seq_idx, (num_rows, seq_len)) in self.lens().enumerate() {
            if num_rows == 0 || seq_len == 0 {
                continue;
            }
            let first = (seq_len - num_rows + 1).saturating_sub(window) as usize / block_size;
            let last = (seq_len - 1) as usize / block_size;
            if last >= self.host.max_num_blocks {
                return Err(Error::Length {
                    what: "columns of block_tables",
                    expected: last + 1,
                    found: self.host.max_num_blocks,
                });
            }
            let table = &self.host.block_tables[seq_idx * self.host.max_num_blocks..];
            if let Some(block) = table[first..=last].iter().find(|&&b| b as usize >= num_blocks) {
                return Err(Error::Value {
                    what: "an entry of block_tables",
                    allowed: "a kv_block of the cache",
                    found: format!("{block} of {num_blocks}"),
                });
            }
        }
        Ok(())
    }
}

impl Host {
    fn check(&self) -> Result<()> {
        let Host { block_tables, cu_seqlens_q, seq_lens, max_num_blocks } = self;
        let num_seqs = seq_lens.len();
        count("num_seqs", num_seqs)?;
        count("max_num_blocks", *max_num_blocks)?;
        let equal = |what, found: usize, expected: usize| {
            if found == expected { Ok(()) } else { Err(Error::Length { what, expected, found }) }
        };
        equal("block_tables", block_tables.len(), num_seqs.saturating_mul(*max_num_blocks))?;
        if num_seqs == 0 && cu_seqlens_q.is_empty() {
            return Ok(());
        }
        equal("cu_seqlens_q", cu_seqlens_q.len(), num_seqs + 1)?;
        equal("rows before the first sequence", cu_seqlens_q[0] as usize, 0)?;
        for (bounds, &seq_len) in cu_seqlens_q.windows(2).zip(seq_lens) {
            let num_rows = bounds[1].checked_sub(bounds[0]);
            if num_rows.is_none_or(|num_rows| num_rows > seq_len) || seq_len > MAX_SEQ_LEN {
                return Err(Error::Value {
                    what: "a sequence of the batch",
                    allowed: "rows in order, no more of them than tokens, and less than 2^31 tokens",
                    found: format!("rows {}..{} of {seq_len} tokens", bounds[0], bounds[1]),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(cu_seqlens_q: &[u32], seq_lens: &[u32]) -> Host {
        Host {
            block_tables: vec![0; seq_lens.len()],
            cu_seqlens_q: cu_seqlens_q.to_vec(),
            seq_lens: seq_lens.to_vec(),
            max_num_blocks: 1,
        }
    }

    #[test]
    fn a_batch_that_contradicts_itself_is_refused() {
        host(&[], &[]).check().unwrap();
        host(&[0, 0, 3], &[0, 5]).check().unwrap();
        let wrong: [(&[u32], &[u32]); 6] = [
            (&[0, 2], &[1]),
            (&[1, 2], &[5]),
            (&[0, 2, 1], &[5, 5]),
            (&[0], &[1]),
            (&[0, 1], &[1 << 31]),
            (&[0, 1], &[]),
        ];
        for (cu_seqlens_q, seq_lens) in wrong {
            assert!(host(cu_seqlens_q, seq_lens).check().is_err(), "{cu_seqlens_q:?} {seq_lens:?}");
        }
        assert!(Host { max_num_blocks: 2, ..host(&[0, 1], &[1]) }.check().is_err());
    }
}
