//! From the plan to flat token rows.

use super::{ScheduledSeq, SchedulerConfig, find};
use crate::batch::Batch;
use crate::sequence::Sequence;

/// Writes the plan, all of whose sequences run, to `batch`; others will run when they are loaded.
pub(super) fn fill(
    batch: &mut Batch,
    plan: &[ScheduledSeq],
    [running, loading]: [&[Sequence]; 2],
    config: &SchedulerConfig,
) {
    batch.clear();
    reserve(batch, [running, loading], config);
    for (scheduled, seq) in planned(plan, running) {
        push_rows(batch, scheduled, seq, config.block_size);
        batch.max_num_blocks = batch.max_num_blocks.max(seq.block_table().len());
    }
    for (seq_idx, (_, seq)) in planned(plan, running).enumerate() {
        batch.block_tables.extend(seq.block_table().iter().map(|block| block.0));
        // Entries past a table's end are unread; 0 is as good as any block.
        batch.block_tables.resize((seq_idx + 1) * batch.max_num_blocks, 0);
    }
}

fn planned<'a>(
    plan: &'a [ScheduledSeq],
    running: &'a [Sequence],
) -> impl Iterator<Item = (&'a ScheduledSeq, &'a Sequence)> {
    plan.iter().filter_map(|scheduled| {
        let seq_idx = find(running, scheduled.key());
        debug_assert!(seq_idx.is_ok(), "{:?} is planned but does not run", scheduled.seq_id);
        Some((scheduled, &running[seq_idx.ok()?]))
    })
}

/// Makes room for the largest step, and for the admitted sequences at their longest, so that only an
/// admission ever makes `block_tables` grow.
fn reserve(batch: &mut Batch, admitted: [&[Sequence]; 2], config: &SchedulerConfig) {
    let SchedulerConfig { max_num_batched_tokens, max_num_seqs, .. } = *config;
    batch.token_ids.reserve(max_num_batched_tokens);
    batch.positions.reserve(max_num_batched_tokens);
    batch.slot_mapping.reserve(max_num_batched_tokens);
    batch.cu_seqlens_q.reserve(max_num_seqs);
    batch.seq_lens.reserve(max_num_seqs);
    let all = admitted.iter().copied().flatten();
    let max_num_blocks = all.clone().map(Sequence::max_num_blocks).max().unwrap_or(0);
    batch.block_tables.reserve(all.count() * max_num_blocks);
}

fn push_rows(batch: &mut Batch, scheduled: &ScheduledSeq, seq: &Sequence, block_size: usize) {
    let positions = scheduled.positions();
    for position in positions.clone() {
        let block = seq.block_table()[position / block_size];
        let slot = u64::from(block.0) * block_size as u64 + (position % block_size) as u64;
        let token_id = match position.checked_sub(seq.num_tokens()) {
            None => seq.token_ids()[position],
            Some(draft_idx) => seq.draft_token_ids()[draft_idx],
        };
        batch.token_ids.push(token_id.0);
        batch.positions.push(position as u32);
        batch.slot_mapping.push(slot as i64);
    }
    batch.cu_seqlens_q.push(batch.token_ids.len() as u32);
    batch.seq_lens.push(positions.end as u32);
}
