//! What one call of `schedule` may change.

use std::collections::BTreeMap;

use engine_core::prefix_cache::BlockHash;
use engine_core::request::SeqId;

use crate::queues::{Queues, SeqView};
use crate::shadow::ensure;

/// All checks of a call of `schedule` between `before` and `after`.
pub fn check(before: &Queues, after: &Queues) -> Result<(), String> {
    check_tables_grow(before, after)?;
    check_victims(before, after)?;
    check_admitted(before, after)?;
    check_free_order(before, after)?;
    check_rows(before, after)?;
    check_progress(before, after)
}

fn by_id(queue: &[SeqView]) -> BTreeMap<SeqId, &SeqView> {
    queue.iter().map(|seq| (seq.key.seq_id, seq)).collect()
}

fn has_preempted(before: &Queues, after: &Queues) -> bool {
    after.num_preemptions > before.num_preemptions
}

/// Invariant 7.
fn check_tables_grow(before: &Queues, after: &Queues) -> Result<(), String> {
    let old = by_id(&before.running);
    for seq in &after.running {
        let Some(old) = old.get(&seq.key.seq_id) else { continue };
        let kept = old.num_computed.div_ceil(after.config.block_size);
        let is_same = seq.block_table.starts_with(&old.block_table[..kept]);
        ensure!(is_same, "{:?}'s table was not appended to", seq.key);
    }
    Ok(())
}

/// Invariants 22 and 23: victims are the last in order, and nobody takes their place.
fn check_victims(before: &Queues, after: &Queues) -> Result<(), String> {
    let old = by_id(&before.running);
    let victims = after.waiting.iter().filter(|seq| old.contains_key(&seq.key.seq_id));
    let victims: Vec<_> = victims.collect();
    ensure!(victims.is_empty() != has_preempted(before, after), "victims: {victims:?}");
    for seq in &after.running {
        let is_first = victims.iter().all(|victim| seq.key < victim.key);
        ensure!(is_first, "{:?} runs on, but one before it was preempted", seq.key);
        let is_old = old.contains_key(&seq.key.seq_id);
        ensure!(is_old || victims.is_empty(), "{:?} admitted in a preempting step", seq.key);
    }
    for seq in &after.waiting {
        let is_scheduled = after.plan.contains_key(&seq.key.seq_id);
        ensure!(!is_scheduled, "{:?} is scheduled but waits", seq.key);
    }
    Ok(())
}

/// Blocks that a sequence could find before the step: invariant 12.
fn num_hits(queues: &Queues, seq: &SeqView) -> usize {
    let max = if seq.reads_cache { (seq.num_tokens - 1) / queues.config.block_size } else { 0 };
    let hits = seq.block_hashes[..max.min(seq.block_hashes.len())].iter();
    hits.take_while(|hash| queues.found.contains_key(hash)).count()
}

/// Who joins starts behind what it found, all of it and no more.
fn check_admitted(before: &Queues, after: &Queues) -> Result<(), String> {
    let waiting = by_id(&before.waiting);
    for seq in &after.running {
        let Some(old) = waiting.get(&seq.key.seq_id) else { continue };
        // What an earlier admission of this step evicted is not found any more.
        let num_hit_tokens = num_hits(after, old) * after.config.block_size;
        let most = num_hits(before, old) * after.config.block_size;
        let found = seq.num_computed;
        let is_right =
            (num_hit_tokens.max(old.num_swapped)..=most.max(old.num_swapped)).contains(&found);
        ensure!(is_right, "{:?} starts at {found}, could at {num_hit_tokens}", seq.key);
    }
    Ok(())
}

/// Invariants 15 and 16: of the free published blocks, those that came back first are lent first,
/// and those that come back go to the end.
fn check_free_order(before: &Queues, after: &Queues) -> Result<(), String> {
    let is_published = |queues: &Queues, block: u32| queues.hashes[block as usize].is_some();
    let published = |queues: &Queues| -> Vec<u32> {
        queues.free_blocks.iter().copied().filter(|&block| is_published(queues, block)).collect()
    };
    let (old, new) = (published(before), published(after));
    let stayed: Vec<u32> = old.iter().copied().filter(|block| new.contains(block)).collect();
    ensure!(new.starts_with(&stayed), "free: {old:?}, then {new:?}");
    let first_evicted = old.iter().rposition(|&block| !is_published(after, block));
    if let Some(idx) = first_evicted {
        let is_jumped = |block: &u32| stayed.contains(block);
        ensure!(!old[..idx].iter().any(is_jumped), "evicted out of order: {old:?}, {new:?}");
    }
    Ok(())
}

/// Chunk rules, and that prompts leave room for those that need one row.
fn check_rows(before: &Queues, after: &Queues) -> Result<(), String> {
    let config = &after.config;
    let num_live = after.running.len() + after.waiting.len();
    let ran = by_id(&before.running);
    let stalls = after.running.iter().any(|seq| {
        let id = seq.key.seq_id;
        ran.contains_key(&id)
            && seq.num_computed + 1 == seq.num_tokens
            && !after.plan.contains_key(&id)
    });
    for (idx, seq) in after.running.iter().enumerate() {
        let Some(planned) = after.plan.get(&seq.key.seq_id) else { continue };
        let num_rows = planned.num_scheduled_tokens - planned.num_draft_tokens;
        let num_missing = seq.num_tokens - seq.num_computed;
        let threshold = config.long_prefill_token_threshold;
        ensure!(
            threshold == 0 || num_live == 1 || num_rows <= threshold.max(1),
            "{:?} has {num_rows} rows, over the threshold",
            seq.key
        );
        ensure!(
            config.enable_chunked_prefill || num_rows == num_missing,
            "{:?} has {num_rows} of {num_missing} rows without chunks",
            seq.key
        );
        let is_least = num_missing == 1 || (idx == 0 && num_rows == 1);
        ensure!(
            !stalls || is_least || !config.enable_chunked_prefill,
            "{:?} has {num_rows} rows while a decode stalls",
            seq.key
        );
        ensure!(
            planned.num_draft_tokens == 0 || !has_preempted(before, after),
            "{:?} guesses in a preempting step",
            seq.key
        );
        ensure!(
            planned.num_draft_tokens == 0 || !stalls,
            "{:?} guesses while a decode stalls",
            seq.key
        );
    }
    Ok(())
}

/// Invariant 25, and no idle budget.
fn check_progress(before: &Queues, after: &Queues) -> Result<(), String> {
    if let Some(first) = after.running.first() {
        let is_scheduled = after.plan.contains_key(&first.key.seq_id);
        ensure!(is_scheduled, "the first, {:?}, is not scheduled", first.key);
    }
    ensure!(!after.running.is_empty() || after.waiting.is_empty(), "all wait and nobody runs");
    let num_rows: usize = after.plan.values().map(|s| s.num_scheduled_tokens).sum();
    // How many rows a step may take under a target depends on what was measured.
    let is_full = num_rows >= after.config.max_num_batched_tokens;
    let is_limited = after.config.tpot_target_us.is_some() || !after.config.enable_chunked_prefill;
    if is_full || is_limited {
        return Ok(());
    }
    for seq in &after.running {
        let is_scheduled = after.plan.contains_key(&seq.key.seq_id);
        ensure!(is_scheduled, "{:?} runs and budget is left, but it idles", seq.key);
    }
    if has_preempted(before, after) || after.running.len() >= after.config.max_num_seqs {
        return Ok(());
    }
    for next in after.waiting.iter().take(after.config.max_num_seqs) {
        // A block that was evicted in this very step may have been there when it was looked for.
        match block_in_the_making(after, next) {
            Some(hash) if before.found.contains_key(&hash) => return Ok(()),
            Some(_) => continue,
            None => {}
        }
        let needed = next.num_tokens.div_ceil(after.config.block_size);
        let num_used_hits = next.block_hashes[..num_hits(after, next)]
            .iter()
            .filter_map(|hash| after.found[hash])
            .filter(|&block| after.ref_counts[block as usize] > 0)
            .count();
        let fits = needed - num_used_hits <= after.free_blocks.len();
        ensure!(!fits, "{:?} waits for nothing", next.key);
        return Ok(());
    }
    Ok(())
}

/// The first block that `seq` does not find, if a sequence of the step computes it.
fn block_in_the_making(queues: &Queues, seq: &SeqView) -> Option<BlockHash> {
    let block_size = queues.config.block_size;
    let max = if seq.reads_cache { (seq.num_tokens - 1) / block_size } else { 0 };
    let is_planned = |run: &&SeqView| queues.plan.contains_key(&run.key.seq_id);
    let made = queues.running.iter().filter(is_planned).filter_map(|run| {
        let block_idx = run.num_computed / block_size;
        let hash = run.block_hashes.get(block_idx)?;
        (block_idx < max && seq.block_hashes[block_idx] == *hash).then_some(*hash)
    });
    made.filter(|_| seq.num_swapped == 0).find(|hash| !queues.found.contains_key(hash))
}
