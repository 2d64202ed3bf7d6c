//! What the KV cache should hold, slot by slot, and a model that sees only what it does hold.

use std::collections::{BTreeMap, BTreeSet};

use engine_core::batch::Batch;
use engine_core::prefix_cache::BlockHash;
use engine_core::request::SeqId;
use engine_core::scheduler::{BlockCopy, CopyDirection, ScheduledSeq, SchedulerConfig};

/// KV in a slot: that of the last token of a context, which it depends on as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kv {
    position: usize,
    context: u64,
}

/// The truth about a live sequence.
#[derive(Clone, Debug, Default)]
pub struct TrueSeq {
    /// Prompt and output.
    pub token_ids: Vec<u32>,
    /// Whose KV it may share.
    pub tenant: u64,
    /// It may share none.
    pub skips_cache: bool,
    /// Leading tokens whose KV is in the cache.
    pub num_computed: usize,
    /// Leading tokens whose KV is on the host.
    pub num_swapped: usize,
    /// Its guesses in the step in progress.
    pub drafts: Vec<u32>,
}

/// The truth about every sequence and every slot.
#[derive(Clone, Debug)]
pub struct Shadow {
    config: SchedulerConfig,
    slots: Vec<Option<Kv>>,
    host_slots: Vec<Option<Kv>>,
    /// What a block under each hash that was ever seen must hold.
    contents: BTreeMap<BlockHash, Vec<Kv>>,
    /// Live sequences.
    pub seqs: BTreeMap<SeqId, TrueSeq>,
}

/// Tokens of the made-up model's vocabulary.
const VOCAB_SIZE: u32 = 24;

fn mix(context: u64, token_id: u32) -> u64 {
    let mixed = (context ^ u64::from(token_id)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed.rotate_left(29) ^ (mixed >> 31)
}

/// The made-up model: a token that depends on every token before it and on their order, and that
/// often is what stood three tokens ago, so that guesses come true.
pub fn next_token(context: &[u32]) -> u32 {
    let hash = context.iter().fold(1, |hash, &token_id| mix(hash, token_id)) >> 20;
    match context {
        [.., third, _, _] if hash % 3 > 0 => *third,
        _ => (hash / 3 % u64::from(VOCAB_SIZE)) as u32,
    }
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

impl TrueSeq {
    /// The KV of each of its tokens, guesses included.
    fn kv(&self) -> Vec<Kv> {
        let mut context = mix(7, self.tenant as u32);
        let token_ids = self.token_ids.iter().chain(&self.drafts).enumerate();
        let kv = token_ids.map(|(position, &token_id)| {
            context = mix(context, token_id);
            Kv { position, context }
        });
        kv.collect()
    }
}

impl Shadow {
    pub fn new(config: SchedulerConfig) -> Self {
        Shadow {
            config,
            slots: vec![None; config.num_blocks * config.block_size],
            host_slots: vec![None; config.num_host_blocks * config.block_size],
            contents: BTreeMap::new(),
            seqs: BTreeMap::new(),
        }
    }

    /// Notes what blocks under the hashes of a live sequence hold: invariants 11 and 13.
    pub fn register(&mut self, seq_id: SeqId, hashes: &[BlockHash]) -> Result<(), String> {
        let seq = &self.seqs[&seq_id];
        let truth = TrueSeq { drafts: Vec::new(), ..seq.clone() }.kv();
        let blocks = truth.chunks_exact(self.config.block_size);
        let num_blocks = if self.config.enable_prefix_caching { blocks.len() } else { 0 };
        ensure!(hashes.len() == num_blocks, "{seq_id:?} has {} hashes", hashes.len());
        for (hash, block) in hashes.iter().zip(blocks) {
            let known = self.contents.entry(*hash).or_insert_with(|| block.to_vec());
            ensure!(known == block, "{seq_id:?}: a hash stands for two contents");
        }
        Ok(())
    }

    /// A published block holds what its hash says.
    pub fn check_published(&self, block: usize, hash: &BlockHash) -> Result<(), String> {
        let Some(content) = self.contents.get(hash) else {
            return Err(format!("block {block} is published under an unknown hash"));
        };
        let slots = &self.slots[block * self.config.block_size..][..self.config.block_size];
        let is_right = slots.iter().copied().eq(content.iter().copied().map(Some));
        ensure!(is_right, "block {block} should hold {content:?}; there is {slots:?}");
        Ok(())
    }

    /// Copies a block between device and host.
    pub fn copy(&mut self, copy: &BlockCopy) {
        let block_size = self.config.block_size;
        let device = copy.device.0 as usize * block_size..(copy.device.0 as usize + 1) * block_size;
        let host = copy.host.0 as usize * block_size..(copy.host.0 as usize + 1) * block_size;
        match copy.direction {
            CopyDirection::Out => self.host_slots[host].copy_from_slice(&self.slots[device]),
            CopyDirection::In => self.slots[device].copy_from_slice(&self.host_slots[host]),
        }
    }

    /// Runs the made-up model on a step: checks all there is to see in plan and batch, writes the
    /// step's rows, then reads every row's context. Answers the tokens that each sequence samples.
    pub fn forward(
        &mut self,
        plan: &[ScheduledSeq],
        batch: &Batch,
    ) -> Result<Vec<Vec<u32>>, String> {
        self.check_shape(plan, batch)?;
        for (seq_idx, scheduled) in plan.iter().enumerate() {
            self.check_part(scheduled, batch, seq_idx)?;
        }
        self.write_rows(plan, batch)?;
        let mut sampled = Vec::new();
        for (seq_idx, scheduled) in plan.iter().enumerate() {
            self.check_context(scheduled.seq_id, batch, seq_idx)?;
            if scheduled.samples {
                sampled.push(self.sample(scheduled));
            }
        }
        Ok(sampled)
    }

    /// The run of tokens that follows, as far as guesses come true.
    fn sample(&self, scheduled: &ScheduledSeq) -> Vec<u32> {
        let seq = &self.seqs[&scheduled.seq_id];
        let mut token_ids = seq.token_ids.clone();
        for num_accepted in 0..=seq.drafts.len() {
            token_ids.push(next_token(&token_ids));
            if token_ids.last() != seq.drafts.get(num_accepted) {
                break;
            }
        }
        token_ids.split_off(seq.token_ids.len())
    }

    /// The step counts: its rows are computed and its tokens appended, as many as were taken.
    /// Sequences that have ended meanwhile are left out.
    pub fn commit(&mut self, plan: &[ScheduledSeq], taken: &BTreeMap<SeqId, Vec<u32>>) {
        for scheduled in plan {
            if let Some(seq) = self.seqs.get_mut(&scheduled.seq_id) {
                let run = taken.get(&scheduled.seq_id).map_or(&[][..], Vec::as_slice);
                let num_accepted = run.len().saturating_sub(1);
                let num_known = scheduled.num_scheduled_tokens - scheduled.num_draft_tokens;
                seq.num_computed += num_known + num_accepted;
                seq.token_ids.extend_from_slice(run);
                seq.drafts.clear();
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
        let ScheduledSeq { seq_id, num_computed_tokens: start, num_draft_tokens, .. } = *scheduled;
        let block_size = self.config.block_size;
        let Some(seq) = self.seqs.get(&seq_id) else {
            return Err(format!("{seq_id:?} does not live"));
        };
        let end = start + scheduled.num_scheduled_tokens;
        ensure!(end > start + num_draft_tokens, "{seq_id:?} has no rows of its own");
        ensure!(
            start == seq.num_computed,
            "{seq_id:?} starts at {start}, but {} tokens are computed",
            seq.num_computed
        );
        let all: Vec<u32> = seq.token_ids.iter().chain(&seq.drafts).copied().collect();
        let is_last = end - num_draft_tokens == seq.token_ids.len();
        ensure!(seq.drafts.len() == num_draft_tokens, "{seq_id:?} has {:?}", seq.drafts);
        ensure!(num_draft_tokens == 0 || is_last, "{seq_id:?} guesses before its end");
        ensure!(end <= all.len(), "{seq_id:?} has rows past its end");
        ensure!(all.len() < self.config.max_model_len, "{seq_id:?} goes over max_model_len");
        ensure!(scheduled.samples == is_last, "{seq_id:?} samples: {}", scheduled.samples);
        ensure!(batch.seq_lens[seq_idx] as usize == end, "{seq_id:?} has a wrong seq_len");
        ensure!(end.div_ceil(block_size) <= batch.max_num_blocks, "{seq_id:?}'s table is short");
        let table = batch.block_table(seq_idx);
        for (row, position) in batch.rows(seq_idx).zip(start..end) {
            let slot = table[position / block_size] as usize * block_size + position % block_size;
            ensure!(batch.positions[row] as usize == position, "row {row} has a wrong position");
            ensure!(batch.token_ids[row] == all[position], "row {row} has a wrong token");
            ensure!(batch.slot_mapping[row] == slot as i64, "row {row} has a wrong slot");
            ensure!(slot < self.slots.len(), "there is no slot {slot}");
        }
        Ok(())
    }

    /// Writes the rows. Whose blocks they may write to, `queues` checks.
    fn write_rows(&mut self, plan: &[ScheduledSeq], batch: &Batch) -> Result<(), String> {
        let mut written = BTreeSet::new();
        for (seq_idx, scheduled) in plan.iter().enumerate() {
            let kv = self.seqs[&scheduled.seq_id].kv();
            for row in batch.rows(seq_idx) {
                let slot = batch.slot_mapping[row] as usize;
                ensure!(written.insert(slot), "two rows write slot {slot}");
                self.slots[slot] = Some(kv[batch.positions[row] as usize]);
            }
        }
        Ok(())
    }

    /// What the sequence's rows attend, read through its block table.
    fn check_context(&self, seq_id: SeqId, batch: &Batch, seq_idx: usize) -> Result<(), String> {
        let SchedulerConfig { block_size, .. } = self.config;
        let kv = self.seqs[&seq_id].kv();
        for (position, expected) in kv[..batch.seq_lens[seq_idx] as usize].iter().enumerate() {
            let block = batch.block_table(seq_idx)[position / block_size] as usize;
            let found = self.slots.get(block * block_size + position % block_size).copied();
            ensure!(
                found == Some(Some(*expected)),
                "{seq_id:?} needs {expected:?} in block {block}; there is {found:?}"
            );
        }
        Ok(())
    }
}
