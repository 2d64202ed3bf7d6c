//! Argument checks of the backend: every op asks here before it touches a slice.

use engine_core::batch::Batch;
use engine_core::device::{KvCacheShape, OpError};
use engine_core::ops::Cols;

use crate::ops::attended;

/// Fails unless `found == expected`.
pub(crate) fn equal(
    op: &'static str,
    what: &'static str,
    found: usize,
    expected: usize,
) -> Result<(), OpError> {
    if found == expected {
        return Ok(());
    }
    Err(OpError::Shape { op, what, found, expected })
}

/// Fails unless `found >= least`; the error names `least`.
pub(crate) fn at_least(
    op: &'static str,
    what: &'static str,
    found: usize,
    least: usize,
) -> Result<(), OpError> {
    equal(op, what, found.min(least), least).map_err(|_| OpError::Shape {
        op,
        what,
        found,
        expected: least,
    })
}

/// Fails unless `found <= most`; the error names `most`.
pub(crate) fn at_most(
    op: &'static str,
    what: &'static str,
    found: usize,
    most: usize,
) -> Result<(), OpError> {
    equal(op, what, found.max(most), most).map_err(|_| OpError::Shape {
        op,
        what,
        found,
        expected: most,
    })
}

/// Fails unless the view has `width` columns inside its stride and `num_rows` rows inside `len`.
pub(crate) fn view<B>(
    op: &'static str,
    cols: &Cols<B>,
    len: usize,
    width: usize,
    num_rows: usize,
) -> Result<(), OpError> {
    let end = cols.first_col.saturating_add(width);
    at_least(op, "stride of a view", cols.stride, end.max(1))?;
    at_least(op, "length of a view", len, size(num_rows, cols.stride))
}

/// `rows · cols`, too large for any buffer if it overflows.
pub(crate) fn size(rows: usize, cols: usize) -> usize {
    rows.saturating_mul(cols)
}

/// Fails unless the batch agrees with itself. Slots and blocks are checked where a cache is known.
pub(crate) fn batch(batch: &Batch) -> Result<(), OpError> {
    const OP: &str = "upload_batch";
    let num_tokens = batch.num_tokens();
    let num_seqs = batch.num_seqs();
    equal(OP, "length of positions", batch.positions.len(), num_tokens)?;
    equal(OP, "length of slot_mapping", batch.slot_mapping.len(), num_tokens)?;
    let table_len = size(num_seqs, batch.max_num_blocks);
    equal(OP, "length of block_tables", batch.block_tables.len(), table_len)?;
    if num_seqs == 0 && batch.cu_seqlens_q.is_empty() {
        return equal(OP, "rows without a sequence", num_tokens, 0);
    }
    let bounds = &batch.cu_seqlens_q;
    equal(OP, "length of cu_seqlens_q", bounds.len(), num_seqs + 1)?;
    equal(OP, "first of cu_seqlens_q", bounds[0] as usize, 0)?;
    equal(OP, "last of cu_seqlens_q", bounds[num_seqs] as usize, num_tokens)?;
    for seq_idx in 0..num_seqs {
        let (start, end) = (bounds[seq_idx] as usize, bounds[seq_idx + 1] as usize);
        at_least(OP, "an entry of cu_seqlens_q", end, start)?;
        at_most(OP, "an entry of cu_seqlens_q", end, num_tokens)?;
        let seq_len = batch.seq_lens[seq_idx] as usize;
        at_least(OP, "an entry of seq_lens", seq_len, end - start)?;
        for row in start..end {
            let expected = seq_len - (end - row);
            equal(OP, "a position", batch.positions[row] as usize, expected)?;
        }
    }
    Ok(())
}

/// Fails unless every slot is −1 or inside the cache.
pub(crate) fn slots(op: &'static str, batch: &Batch, shape: &KvCacheShape) -> Result<(), OpError> {
    let num_slots = shape.num_blocks * shape.block_size;
    for &slot in &batch.slot_mapping {
        let slot_or_zero = match slot {
            -1 => 0,
            slot => usize::try_from(slot).unwrap_or(usize::MAX),
        };
        at_most(op, "a slot", slot_or_zero, num_slots - 1)?;
    }
    Ok(())
}

/// Fails unless every position that a row of the batch attends is in a block of the cache.
pub(crate) fn block_tables(
    op: &'static str,
    batch: &Batch,
    shape: &KvCacheShape,
    window: Option<u32>,
) -> Result<(), OpError> {
    for seq_idx in 0..batch.num_seqs() {
        let rows = batch.rows(seq_idx);
        if rows.is_empty() {
            continue;
        }
        let first = attended(batch.positions[rows.start] as usize, window).start;
        let last = batch.positions[rows.end - 1] as usize;
        let (first_block, last_block) = (first / shape.block_size, last / shape.block_size);
        at_least(op, "columns of block_tables", batch.max_num_blocks, last_block + 1)?;
        for &block in &batch.block_table(seq_idx)[first_block..=last_block] {
            at_least(op, "blocks of the cache", shape.num_blocks, block as usize + 1)?;
        }
    }
    Ok(())
}
