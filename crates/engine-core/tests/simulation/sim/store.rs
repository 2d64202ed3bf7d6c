//! What every KV slot holds, on the device and on the host: the truth against which hits, copies and
//! rows are checked.

use engine_core::batch::Batch;
use engine_core::block_pool::BlockPool;
use engine_core::scheduler::{BlockCopy, CopyDirection, ScheduledSeq};

use super::rng::spread;
use super::truth::{Kv, TrueSeq, kv_after};
use super::violation::{Verdict, ensure};

/// Slots of unwritten, unread or lent blocks are 0, which no row accepts.
#[derive(Debug)]
pub struct Store {
    block_size: usize,
    device: Vec<Kv>,
    host: Vec<Kv>,
    /// The step in which each slot was last written.
    written_in: Vec<u32>,
    num_steps: u32,
    /// What the model's KV has to do with its tokens; after a reset, something else.
    key: Kv,
}

impl Store {
    pub fn new(num_blocks: usize, num_host_blocks: usize, block_size: usize) -> Self {
        Store {
            block_size,
            device: vec![0; num_blocks * block_size],
            host: vec![0; num_host_blocks * block_size],
            written_in: vec![0; num_blocks * block_size],
            num_steps: 0,
            key: 0,
        }
    }

    fn block(&self, block: u32) -> &[Kv] {
        let start = block as usize * self.block_size;
        &self.device[start..start + self.block_size]
    }

    fn is_kv(&self, slots: &[Kv], kv: &[Kv]) -> bool {
        slots.iter().zip(kv).all(|(slot, kv)| *slot == kv ^ self.key)
    }

    /// Whether the first slots of `block` hold `kv`.
    pub fn holds(&self, block: u32, kv: &[Kv]) -> bool {
        self.is_kv(self.block(block), kv)
    }

    /// The KV of the last token of `block`, if all its slots hold some.
    pub fn last(&self, block: u32) -> Option<Kv> {
        let slots = self.block(block);
        slots.last().filter(|_| !slots.contains(&0)).map(|slot| slot ^ self.key)
    }

    /// From now on the model computes other KV, so that any from before is wrong.
    pub fn change_model(&mut self) {
        self.key = spread(self.key);
    }

    /// What the block held is lost.
    pub fn wipe(&mut self, block: u32) {
        let start = block as usize * self.block_size;
        self.device[start..start + self.block_size].fill(0);
    }

    /// Somebody has written so many tokens to these blocks: first `kv`, and then nonsense.
    pub fn load(&mut self, table: &[u32], num_tokens: usize, kv: &[Kv]) {
        for place in 0..num_tokens {
            let block = table[place / self.block_size] as usize;
            let slot = block * self.block_size + place % self.block_size;
            self.device[slot] = kv.get(place).map_or(0, |kv| kv ^ self.key);
        }
    }

    pub fn copy(&mut self, copy: &BlockCopy) {
        let device = copy.device.0 as usize * self.block_size;
        let host = copy.host.0 as usize * self.block_size;
        let (device, host) = (device..device + self.block_size, host..host + self.block_size);
        match copy.direction {
            CopyDirection::Out => self.host[host].copy_from_slice(&self.device[device]),
            CopyDirection::In => self.device[device].copy_from_slice(&self.host[host]),
        }
    }

    /// Whether the host blocks of a sequence hold its KV.
    pub fn check_host(&self, seq: &TrueSeq) -> Verdict {
        for (idx, (chunk, &host)) in
            seq.kv[..seq.num_swapped].chunks(self.block_size).zip(&seq.host).enumerate()
        {
            let start = host as usize * self.block_size;
            let is_same = self.is_kv(&self.host[start..], chunk);
            ensure!("swap", is_same, "{:?}'s block {idx} is not what the host has", seq.seq_id());
        }
        Ok(())
    }

    /// The rows of a sequence that has ended since the step was scheduled: they must not hurt
    /// anyone.
    pub fn write_orphans(&mut self, rows: &[i64], pool: &BlockPool) -> Verdict {
        for &slot in rows {
            let block = engine_core::block_pool::BlockId((slot as usize / self.block_size) as u32);
            let is_lent = pool.ref_count(block) > 0;
            ensure!("8", !is_lent, "a row of an ended sequence writes to {block:?}, which is lent");
            self.device[slot as usize] = 0;
        }
        Ok(())
    }

    /// Writes the rows of one part of a step: each slot once, and only to blocks that are this
    /// sequence's alone and that nobody can find.
    pub fn write(
        &mut self,
        seq: &TrueSeq,
        part: &ScheduledSeq,
        rows: std::ops::Range<usize>,
        batch: &Batch,
        pool: &BlockPool,
    ) -> Verdict {
        let seq_id = seq.seq_id();
        let mut before = part.num_computed_tokens.checked_sub(1).map(|last| seq.kv[last]);
        for (row, position) in rows.zip(part.positions()) {
            let slot = batch.slot_mapping[row] as usize;
            if slot.is_multiple_of(self.block_size)
                || row == 0
                || position == part.num_computed_tokens
            {
                let block = engine_core::block_pool::BlockId((slot / self.block_size) as u32);
                let num_refs = pool.ref_count(block);
                ensure!("8", num_refs == 1, "{seq_id:?} writes {block:?}, held {num_refs} times");
                let is_published =
                    pool.prefix_cache().is_some_and(|cache| cache.hash_of(block).is_some());
                ensure!("8", !is_published, "{seq_id:?} writes {block:?}, which is published");
            }
            let is_new = self.written_in[slot] != self.num_steps;
            ensure!("8", is_new, "two rows of a step write slot {slot}");
            self.written_in[slot] = self.num_steps;
            let kv = match seq.kv.get(position) {
                Some(&kv) => kv,
                None => kv_after(before.unwrap_or(0), batch.token_ids[row]),
            };
            self.device[slot] = kv ^ self.key;
            before = Some(kv);
        }
        Ok(())
    }

    /// A new step begins.
    pub fn begin_step(&mut self) {
        self.num_steps += 1;
    }

    /// Reads all that the rows of one part attend, through the batch's block table.
    pub fn read(
        &self,
        seq: &TrueSeq,
        part: &ScheduledSeq,
        seq_idx: usize,
        batch: &Batch,
    ) -> Verdict {
        let num_true = part.positions().end.min(seq.num_tokens());
        let table = batch.block_table(seq_idx);
        for (idx, chunk) in seq.kv[..num_true].chunks(self.block_size).enumerate() {
            ensure!(
                "11",
                self.holds(table[idx], chunk),
                "{:?} reads block {} at index {idx}, which does not hold its tokens",
                seq.seq_id(),
                table[idx]
            );
        }
        Ok(())
    }

    /// The KV that the row wrote.
    pub fn row(&self, slot: i64) -> Kv {
        self.device[slot as usize] ^ self.key
    }
}
