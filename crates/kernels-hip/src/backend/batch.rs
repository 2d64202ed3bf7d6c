//! A step's batch on the device.

use bytemuck::Pod;
use engine_core::batch::Batch;
use engine_core::device::{KvCacheShape, OpError};

use super::error::{alloc_error, op_error};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::ops::PagedBatch;
use crate::stream::Stream;

/// A batch as the kernels read it; its own memory is kept from step to step.
#[derive(Default)]
pub struct DeviceBatch {
    pub(super) uploaded: Option<Uploaded>,
}

pub(super) struct Uploaded {
    /// What the device has, for the checks of ops.
    pub(super) host: Batch,
    pub(super) token_ids: Buffer<u32>,
    pub(super) positions: Buffer<u32>,
    pub(super) slot_mapping: Buffer<i64>,
    pub(super) sequences: PagedBatch,
}

impl DeviceBatch {
    /// What was uploaded; an empty batch before.
    pub(super) fn get(&self, op: &'static str) -> Result<&Uploaded, OpError> {
        let missing = OpError::Shape { op, what: "uploaded batches", found: 0, expected: 1 };
        self.uploaded.as_ref().ok_or(missing)
    }
}

/// Rows of a sequence up to which a step is a decode, with or without drafted tokens.
const MAX_DECODE_ROWS: u32 = 8;

impl Uploaded {
    /// Whether `paged_attention` is for it, and not `prefill_attention`.
    pub(super) fn is_decode(&self) -> bool {
        self.sequences.lens().all(|(num_rows, _)| num_rows <= MAX_DECODE_ROWS)
    }

    pub(super) fn num_tokens(&self) -> usize {
        self.host.num_tokens()
    }

    /// Copies `batch`, which has been checked, to the memory of `before` where that is enough.
    pub(super) fn new(
        device: &Device,
        stream: &Stream,
        batch: &Batch,
        before: Option<Uploaded>,
    ) -> Result<Self, OpError> {
        let sequences =
            PagedBatch::upload(device, stream, batch).map_err(|error| op_error(OP, error))?;
        let (host, token_ids, positions, slot_mapping) = match before {
            Some(before) => {
                let Uploaded { host, token_ids, positions, slot_mapping, .. } = before;
                (host, Some(token_ids), Some(positions), Some(slot_mapping))
            }
            None => (Batch::default(), None, None, None),
        };
        let mut uploaded = Uploaded {
            host,
            token_ids: refill(device, stream, token_ids, &batch.token_ids)?,
            positions: refill(device, stream, positions, &batch.positions)?,
            slot_mapping: refill(device, stream, slot_mapping, &batch.slot_mapping)?,
            sequences,
        };
        uploaded.host.clone_from(batch);
        Ok(uploaded)
    }
}

const OP: &str = "upload_batch";

/// `values` in the memory of `before`, or in new memory if that is too small.
fn refill<T: Pod>(
    device: &Device,
    stream: &Stream,
    before: Option<Buffer<T>>,
    values: &[T],
) -> Result<Buffer<T>, OpError> {
    let mut buffer = match before {
        Some(buffer) if buffer.len() >= values.len() => buffer,
        _ => {
            let num_bytes = size_of_val(values);
            device.buffer(values.len()).map_err(|error| alloc_error("a batch", num_bytes, error))?
        }
    };
    buffer.write_at(stream, 0, values).map_err(|error| op_error(OP, error))?;
    Ok(buffer)
}

/// Fails unless the batch agrees with itself; what depends on a cache is checked where one is known.
pub(super) fn check(batch: &Batch) -> Result<(), OpError> {
    let equal = |what, found: usize, expected: usize| {
        if found == expected {
            return Ok(());
        }
        Err(OpError::Shape { op: OP, what, found, expected })
    };
    let (num_tokens, num_seqs) = (batch.num_tokens(), batch.num_seqs());
    equal("length of positions", batch.positions.len(), num_tokens)?;
    equal("length of slot_mapping", batch.slot_mapping.len(), num_tokens)?;
    let table_len = num_seqs.saturating_mul(batch.max_num_blocks);
    equal("length of block_tables", batch.block_tables.len(), table_len)?;
    let bounds = &batch.cu_seqlens_q;
    if num_seqs == 0 && bounds.is_empty() {
        return equal("rows without a sequence", num_tokens, 0);
    }
    equal("length of cu_seqlens_q", bounds.len(), num_seqs + 1)?;
    equal("first of cu_seqlens_q", bounds[0] as usize, 0)?;
    equal("last of cu_seqlens_q", bounds[num_seqs] as usize, num_tokens)?;
    for (bounds, &seq_len) in bounds.windows(2).zip(&batch.seq_lens) {
        let (start, end, seq_len) = (bounds[0] as usize, bounds[1] as usize, seq_len as usize);
        equal("an entry of cu_seqlens_q", end.clamp(start, num_tokens.max(start)), end)?;
        equal("an entry of seq_lens", seq_len.max(end - start), seq_len)?;
        // Attention takes a row's position from its place in the sequence.
        for row in start..end {
            equal("a position", batch.positions[row] as usize, seq_len - (end - row))?;
        }
    }
    Ok(())
}

/// Fails unless every slot is −1 or inside the cache.
pub(super) fn check_slots(
    op: &'static str,
    batch: &Batch,
    shape: &KvCacheShape,
) -> Result<(), OpError> {
    let num_slots = shape.num_blocks.saturating_mul(shape.block_size);
    for &slot in batch.slot_mapping.iter().filter(|&&slot| slot != -1) {
        let slot = usize::try_from(slot).unwrap_or(usize::MAX);
        if slot >= num_slots {
            let expected = num_slots.saturating_sub(1);
            return Err(OpError::Shape { op, what: "a slot", found: slot, expected });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        Batch {
            token_ids: vec![0; 3],
            positions: vec![4, 0, 1],
            slot_mapping: vec![0, -1, 7],
            cu_seqlens_q: vec![0, 1, 3],
            seq_lens: vec![5, 2],
            block_tables: vec![0; 4],
            max_num_blocks: 2,
        }
    }

    #[test]
    fn a_batch_has_to_agree_with_itself() {
        assert_eq!(check(&batch()), Ok(()));
        assert_eq!(check(&Batch::default()), Ok(()));
        let wrong = [
            Batch { positions: vec![4, 0], ..batch() },
            Batch { positions: vec![3, 0, 1], ..batch() },
            Batch { slot_mapping: vec![0; 4], ..batch() },
            Batch { cu_seqlens_q: vec![0, 3], ..batch() },
            Batch { cu_seqlens_q: vec![0, 4, 3], ..batch() },
            Batch { cu_seqlens_q: vec![1, 1, 3], ..batch() },
            Batch { seq_lens: vec![5, 1], ..batch() },
            Batch { block_tables: vec![0; 3], ..batch() },
        ];
        for batch in wrong {
            assert!(check(&batch).is_err(), "{batch:?}");
        }
    }

    #[test]
    fn slots_are_minus_one_or_in_the_cache() {
        let shape = KvCacheShape {
            num_layers: 1,
            num_blocks: 2,
            block_size: 4,
            num_kv_heads: 1,
            head_dim: 16,
            dtype: engine_core::dtype::DType::BF16.into(),
        };
        assert_eq!(check_slots("kv_write", &batch(), &shape), Ok(()));
        for slot in [8, -2, i64::MAX] {
            let batch = Batch { slot_mapping: vec![0, slot, 0], ..batch() };
            assert!(check_slots("kv_write", &batch, &shape).is_err(), "{slot}");
        }
    }
}
