//! What the KV cache should hold, slot by slot, and a model that sees only what it does hold.

use std::collections::{BTreeMap, BTreeSet};

use engine_core::batch::Batch;
use engine_core::request::SeqId;
use engine_core::scheduler::{ScheduledSeq, SchedulerConfig};

/// What a row wrote to a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    seq_id: SeqId,
    /// What a sequence wrote before a preemption is no longer its own.
    num_preemptions: u32,
    position: usize,
    token_id: u32,
}

/// The truth about a live sequence.
#[derive(Clone, Debug, Default)]
pub struct TrueSeq {
    /// Prompt and output.
    pub token_ids: Vec<u32>,
    /// Leading tokens whose KV is in the cache.
    pub num_computed: usize,
    pub num_preemptions: u32,
}

/// The truth about every sequence and every slot.
#[derive(Clone, Debug)]
pub struct Shadow {
    config: SchedulerConfig,
    slots: Vec<Option<Written>>,
    /// Live sequences.
    pub seqs: BTreeMap<SeqId, TrueSeq>,
}

/// Tokens of the made-up model's vocabulary.
const VOCAB_SIZE: u32 = 24;

/// The made-up model: a token that depends on every token before it and on their order.
pub fn next_token(context: impl Iterator<Item = u32>) -> u32 {
    let hash = context.fold(0x811C_9DC5u32, |hash, token_id| {
        (hash ^ token_id.wrapping_add(1)).wrapping_mul(0x0100_0193).rotate_left(5)
    });
    (hash >> 7) % VOCAB_SIZE
}

/// Fails with the formatted text unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            return Err(format!($($text)*));
        }
    };
}
pub(crate) use ensure;

impl Shadow {
    pub fn new(config: SchedulerConfig) -> Self {
        let num_slots = config.num_blocks * config.block_size;
        Shadow { config, slots: vec![None; num_slots], seqs: BTreeMap::new() }
    }

    /// Runs the made-up model on a step: checks all there is to see in plan and batch, writes the
    /// step's rows, then reads every row's context. Answers the sampled tokens.
    pub fn forward(&mut self, plan: &[ScheduledSeq], batch: &Batch) -> Result<Vec<u32>, String> {
        self.check_shape(plan, batch)?;
        for (seq_idx, scheduled) in plan.iter().enumerate() {
            self.check_part(scheduled, batch, seq_idx)?;
        }
        self.check_tables_are_disjoint(plan, batch)?;
        self.write_rows(plan, batch)?;
        let mut sampled = Vec::new();
        for (seq_idx, scheduled) in plan.iter().enumerate() {
            let context = self.read_context(scheduled.seq_id, batch, seq_idx)?;
            if scheduled.samples {
                sampled.push(next_token(context.into_iter()));
            }
        }
        Ok(sampled)
    }

    /// The step counts: its rows are computed and its tokens appended. Sequences that have ended
    /// meanwhile are left out.
    pub fn commit(&mut self, plan: &[ScheduledSeq], sampled: &[u32]) {
        let mut sampled = sampled.iter();
        for scheduled in plan {
            let token_id = if scheduled.samples { sampled.next() } else { None };
            if let Some(seq) = self.seqs.get_mut(&scheduled.seq_id) {
                seq.num_computed += scheduled.num_scheduled_tokens;
                seq.token_ids.extend(token_id);
            }
        }
    }

    fn check_shape(&self, plan: &[ScheduledSeq], batch: &Batch) -> Result<(), String> {
        let SchedulerConfig { max_num_seqs, max_num_batched_tokens, .. } = self.config;
        let num_tokens: usize = plan.iter().map(|scheduled| scheduled.num_scheduled_tokens).sum();
        let (num_seqs, num_cols) = (plan.len(), batch.max_num_blocks);
        ensure!(num_tokens <= max_num_batched_tokens, "{num_tokens} rows are over the budget");
        ensure!(num_seqs <= max_num_seqs, "{num_seqs} sequences are over max_num_seqs");
        ensure!(batch.token_ids.len() == num_tokens, "token_ids is not [num_tokens]");
        ensure!(batch.positions.len() == num_tokens, "positions is not [num_tokens]");
        ensure!(batch.slot_mapping.len() == num_tokens, "slot_mapping is not [num_tokens]");
        ensure!(batch.seq_lens.len() == num_seqs, "seq_lens is not [num_seqs]");
        ensure!(batch.block_tables.len() == num_seqs * num_cols, "block_tables is misshapen");
        let mut cu_seqlens_q = vec![0];
        for scheduled in plan {
            cu_seqlens_q.push(cu_seqlens_q.last().unwrap() + scheduled.num_scheduled_tokens as u32);
        }
        ensure!(batch.cu_seqlens_q == cu_seqlens_q, "cu_seqlens_q is {:?}", batch.cu_seqlens_q);
        let ids: BTreeSet<SeqId> = plan.iter().map(|scheduled| scheduled.seq_id).collect();
        ensure!(ids.len() == num_seqs, "a sequence is scheduled twice");
        Ok(())
    }

    fn check_part(
        &self,
        scheduled: &ScheduledSeq,
        batch: &Batch,
        seq_idx: usize,
    ) -> Result<(), String> {
        let ScheduledSeq { seq_id, num_computed_tokens, num_scheduled_tokens, samples, .. } =
            *scheduled;
        let block_size = self.config.block_size;
        let Some(seq) = self.seqs.get(&seq_id) else {
            return Err(format!("{seq_id:?} does not live"));
        };
        ensure!(num_scheduled_tokens >= 1, "{seq_id:?} has no rows");
        ensure!(
            num_computed_tokens == seq.num_computed,
            "{seq_id:?} starts at {num_computed_tokens}, but {} tokens are computed",
            seq.num_computed
        );
        let end = num_computed_tokens + num_scheduled_tokens;
        ensure!(end <= seq.token_ids.len(), "{seq_id:?} has rows past its end");
        ensure!(end <= self.config.max_model_len, "{seq_id:?} is over max_model_len");
        ensure!(samples == (end == seq.token_ids.len()), "{seq_id:?} samples: {samples}");
        ensure!(batch.seq_lens[seq_idx] as usize == end, "{seq_id:?} has a wrong seq_len");
        ensure!(end.div_ceil(block_size) <= batch.max_num_blocks, "{seq_id:?}'s table is short");
        let table = batch.block_table(seq_idx);
        for (row, position) in batch.rows(seq_idx).zip(num_computed_tokens..end) {
            let slot = table[position / block_size] as usize * block_size + position % block_size;
            ensure!(batch.positions[row] as usize == position, "row {row} has a wrong position");
            ensure!(batch.token_ids[row] == seq.token_ids[position], "row {row} has a wrong token");
            ensure!(batch.slot_mapping[row] == slot as i64, "row {row} has a wrong slot");
        }
        Ok(())
    }

    fn check_tables_are_disjoint(
        &self,
        plan: &[ScheduledSeq],
        batch: &Batch,
    ) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for (seq_idx, scheduled) in plan.iter().enumerate() {
            let num_used = (batch.seq_lens[seq_idx] as usize).div_ceil(self.config.block_size);
            for &block in &batch.block_table(seq_idx)[..num_used] {
                ensure!((block as usize) < self.config.num_blocks, "there is no block {block}");
                ensure!(seen.insert(block), "{:?} shares block {block}", scheduled.seq_id);
            }
        }
        Ok(())
    }

    fn write_rows(&mut self, plan: &[ScheduledSeq], batch: &Batch) -> Result<(), String> {
        let mut written = BTreeSet::new();
        for (seq_idx, scheduled) in plan.iter().enumerate() {
            for row in batch.rows(seq_idx) {
                let slot = batch.slot_mapping[row] as usize;
                ensure!(written.insert(slot), "two rows write slot {slot}");
                let num_preemptions = self.seqs[&scheduled.seq_id].num_preemptions;
                if let Some(old) = self.slots[slot] {
                    let is_needed = self.seqs.get(&old.seq_id).is_some_and(|seq| {
                        old.num_preemptions == seq.num_preemptions
                            && old.position < seq.num_computed
                    });
                    ensure!(!is_needed, "{:?} overwrites {old:?}", scheduled.seq_id);
                }
                self.slots[slot] = Some(Written {
                    seq_id: scheduled.seq_id,
                    num_preemptions,
                    position: batch.positions[row] as usize,
                    token_id: batch.token_ids[row],
                });
            }
        }
        Ok(())
    }

    /// The tokens that the sequence's rows attend, read through its block table.
    fn read_context(
        &self,
        seq_id: SeqId,
        batch: &Batch,
        seq_idx: usize,
    ) -> Result<Vec<u32>, String> {
        let SchedulerConfig { block_size, .. } = self.config;
        let seq = &self.seqs[&seq_id];
        (0..batch.seq_lens[seq_idx] as usize)
            .map(|position| {
                let block = batch.block_table(seq_idx)[position / block_size] as usize;
                let TrueSeq { num_preemptions, .. } = *seq;
                let token_id = seq.token_ids[position];
                let expected = Written { seq_id, num_preemptions, position, token_id };
                let found = self.slots[block * block_size + position % block_size];
                ensure!(found == Some(expected), "{expected:?} is missing; there is {found:?}");
                Ok(expected.token_id)
            })
            .collect()
    }
}
