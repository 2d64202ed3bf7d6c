//! A step's dealings with KV outside the device.

use std::time::Duration;

use engine_core::batch::Batch;
use engine_core::device::OpError;
use engine_core::ops::Ops;
use engine_core::request::{FinishReason, SeqId};
use engine_core::scheduler::FinishedSeq;
use engine_core::sequence::Sequence;

use super::Engine;
use super::trace::{ObservedOffer, Tracer};
use crate::kv_tier::{Computed, LoadedTokens, block_ids, read_until};

/// Longest wait of a step in which all live sequences wait for loads.
const MAX_WAIT: Duration = Duration::from_millis(20);

impl<O: Ops> Engine<O> {
    /// Ends the loads that are over and offers what the store has, before a step is planned; a repetition
    /// takes both from the record.
    pub(super) fn take_from_outside(&mut self) -> Result<(), OpError> {
        if let Some(observed) = self.tracer.as_ref().and_then(Tracer::replayed) {
            let (loads, offers) = (observed.loads.clone(), observed.offers.clone());
            for (seq_id, num_tokens) in loads {
                self.compute_load(seq_id, num_tokens)?;
                // What a record says of another run may not fit; then its steps will differ.
                let _ = self.scheduler.end_load(seq_id, num_tokens);
            }
            for ObservedOffer(seq_id, end, start) in offers {
                self.scheduler.offer(seq_id, start..end);
            }
            return Ok(());
        }
        let Some(kv_tier) = &mut self.kv_tier else { return Ok(()) };
        for (seq_id, num_tokens) in kv_tier.poll(&mut self.ops, &mut self.kv_cache, &self.scheduler)
        {
            let ended = self.scheduler.end_load(seq_id, num_tokens);
            debug_assert!(ended.is_ok(), "{ended:?}");
            if let Some(tracer) = &mut self.tracer {
                tracer.loaded(seq_id, num_tokens);
            }
        }
        let tracer = &mut self.tracer;
        kv_tier.offer(&mut self.scheduler, |seq_id, tokens| {
            if let Some(tracer) = tracer {
                tracer.offered(seq_id, tokens);
            }
        });
        Ok(())
    }

    /// Starts the loads of the step that was just planned.
    pub(super) fn begin_loads(&mut self) {
        if let Some(kv_tier) = &mut self.kv_tier {
            kv_tier.begin_loads(&self.scheduler);
            kv_tier.prefetch(&self.scheduler);
        }
    }

    /// If there is nothing to compute before a load ends, waits for one.
    pub(super) fn wait_for_loads(&self) {
        if let Some(kv_tier) = self.kv_tier.as_ref().filter(|kv_tier| kv_tier.has_loads()) {
            kv_tier.wait(MAX_WAIT);
        }
    }

    /// A step is over: what a prompt alone takes is what loading it is compared with.
    pub(super) fn tell_prefill(&mut self, us: u64) {
        let (Some(kv_tier), [alone]) = (&mut self.kv_tier, &self.plan[..]) else { return };
        if alone.is_prefill {
            let first = alone.num_computed_tokens;
            let tokens = first..first + alone.num_scheduled_tokens;
            kv_tier.measured_prefill(tokens, Duration::from_micros(us));
        }
    }

    /// Computes what a recorded run had loaded, and what comes before it: the bits are the same, whenever the rows of
    /// the latter have their turn.
    fn compute_load(&mut self, seq_id: SeqId, num_tokens: usize) -> Result<(), OpError> {
        let Some(seq) = self.scheduler.sequence(seq_id) else { return Ok(()) };
        let config = self.scheduler.config();
        let end = seq.ahead().map_or(0, |ahead| ahead.tokens.end);
        let (first, end) = (seq.num_computed_tokens(), num_tokens.min(end));
        let (block_size, most) = (config.block_size, config.max_num_batched_tokens);
        let batches: Vec<Batch> = (first..end)
            .step_by(most)
            .map(|start| rows(seq, start..end.min(start + most), block_size))
            .collect();
        for batch in &batches {
            self.forward_batch(batch)?;
        }
        Ok(())
    }

    /// The kv_blocks of the step's sequences: those that end with it give them back, and what is in them is
    /// still to be stored.
    pub(super) fn tables(&self) -> Vec<(SeqId, Vec<u32>)> {
        if self.kv_tier.is_none() {
            return Vec::new();
        }
        let table = |seq_id| self.scheduler.sequence(seq_id).map(block_ids).unwrap_or_default();
        self.plan.iter().map(|scheduled| (scheduled.seq_id, table(scheduled.seq_id))).collect()
    }

    /// Stores what the step that took so long completed: full chunks of those that live, everything of those that ended.
    pub(super) fn store(
        &mut self,
        tables: &[(SeqId, Vec<u32>)],
        finished: &[FinishedSeq],
        step: Duration,
    ) {
        let Some(kv_tier) = &mut self.kv_tier else { return };
        let until = Some(read_until(step));
        for (seq_id, block_table) in tables {
            if let Some(seq) = self.scheduler.sequence(*seq_id) {
                let computed = computed(seq, block_table, seq.num_computed_tokens());
                kv_tier.save(&mut self.ops, &self.kv_cache, &computed, until);
            }
            let ended = finished.iter().find(|ended| ended.sequence.seq_id() == *seq_id);
            if let Some(ended) = ended.filter(|ended| ended.reason != FinishReason::Error) {
                let seq = &ended.sequence;
                // All but the last token, which nobody computes any more.
                let computed = computed(seq, block_table, seq.num_tokens() - 1);
                kv_tier.save_all(&mut self.ops, &self.kv_cache, &computed);
            }
        }
    }

    /// A sequence is ended from outside: stores what it has computed.
    pub(super) fn store_before_end(&mut self, seq_id: SeqId) {
        let Some(kv_tier) = &mut self.kv_tier else { return };
        let Some(seq) = self.scheduler.sequence(seq_id).filter(|seq| !seq.is_loading()) else {
            return;
        };
        let block_table = block_ids(seq);
        let computed = computed(seq, &block_table, seq.num_computed_tokens());
        kv_tier.save_all(&mut self.ops, &self.kv_cache, &computed);
    }

    /// What was loaded for a live sequence.
    pub(super) fn loaded(&self, seq_id: SeqId) -> LoadedTokens {
        self.kv_tier.as_ref().map(|kv_tier| kv_tier.loaded(seq_id)).unwrap_or_default()
    }
}

fn computed<'a>(
    seq: &'a Sequence,
    block_table: &'a [u32],
    num_computed_tokens: usize,
) -> Computed<'a> {
    Computed {
        seq_id: seq.seq_id(),
        token_ids: seq.token_ids(),
        block_table,
        num_computed_tokens,
        num_prompt_tokens: seq.num_prompt_tokens(),
    }
}

/// A batch of rows of one sequence alone.
fn rows(seq: &Sequence, positions: std::ops::Range<usize>, block_size: usize) -> Batch {
    let mut batch = Batch::default();
    batch.clear();
    batch.block_tables = block_ids(seq);
    batch.max_num_blocks = batch.block_tables.len();
    for position in positions.clone() {
        let block = batch.block_tables[position / block_size] as i64;
        batch.token_ids.push(seq.token_ids()[position].0);
        batch.positions.push(position as u32);
        batch.slot_mapping.push(block * block_size as i64 + (position % block_size) as i64);
    }
    batch.cu_seqlens_q.push(positions.len() as u32);
    batch.seq_lens.push(positions.end as u32);
    batch
}
