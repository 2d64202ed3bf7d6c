//! From the plan to flat token rows.

use super::{ScheduledSeq, SchedulerConfig};
use crate::batch::Batch;
use crate::sequence::Sequence;

/// Writes the plan, whose entry `i` is of `running[i]`, to `batch`.
pub(super) fn fill(
    batch: &mut Batch,
    plan: &[ScheduledSeq],
    running: &[Sequence],
    config: &SchedulerConfig,
) {
    batch.clear();
    reserve(batch, running, config);
    for (scheduled, seq) in plan.iter().zip(running) {
        debug_assert_eq!(scheduled.seq_id, seq.seq_id());
        push_rows(batch, scheduled, seq, config.block_size);
        batch.max_num_blocks = batch.max_num_blocks.max(seq.block_table().len());
    }
    for (seq_idx, seq) in running.iter().take(plan.len()).enumerate() {
        batch.block_tables.extend(seq.block_table().iter().map(|block| block.0));
        // Entries past a table's end are unread; 0 is as good as any block.
        batch.block_tables.resize((seq_idx + 1) * batch.max_num_blocks, 0);
    }
}

/// Makes room for the running sequences at their longest, so that only an admission ever makes
/// `block_tables` grow.
fn reserve(batch: &mut Batch, running: &[Sequence], config: &SchedulerConfig) {
    let num_blocks = |seq: &Sequence| seq.max_num_blocks(config.max_model_len, config.block_size);
    let max_num_blocks = running.iter().map(num_blocks).max().unwrap_or(0);
    batch.block_tables.reserve(running.len() * max_num_blocks);
}

fn push_rows(batch: &mut Batch, scheduled: &ScheduledSeq, seq: &Sequence, block_size: usize) {
    let positions = scheduled.positions();
    for position in positions.clone() {
        let block = seq.block_table()[position / block_size];
        let slot = u64::from(block.0) * block_size as u64 + (position % block_size) as u64;
        batch.token_ids.push(seq.token_ids()[position].0);
        batch.positions.push(position as u32);
        batch.slot_mapping.push(slot as i64);
    }
    batch.cu_seqlens_q.push(batch.token_ids.len() as u32);
    batch.seq_lens.push(positions.end as u32);
}
