//! Loads: from chunks of the store to kv_blocks of a waiting sequence.

use std::ops::Range;
use std::time::Instant;

use engine_core::device::{Device, OpError};
use engine_core::kv_run::KvRun;
use engine_core::kv_tier::KvLoad;
use engine_core::request::SeqId;
use engine_core::scheduler::Scheduler;
use kv_store::chunk::{ChunkShape, Side};
use kv_store::keys::ChunkKey;
use kv_store::outcome::{Lookup, TierKind};
use kv_store::store::{Completion, Done, Request};

use super::{KvTier, block_ids};

/// Chunks that are read at once: each has a buffer on the host.
const MAX_READS: usize = 16;

/// A load in progress.
pub(super) struct Load {
    /// The tokens that are wanted.
    tokens: Range<usize>,
    /// What has them, in order.
    chunks: Vec<ChunkLoad>,
    begun: Instant,
}

struct ChunkLoad {
    key: ChunkKey,
    tokens: Range<usize>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Queued,
    Reading,
    /// Verified, and in the kv_blocks.
    Loaded(TierKind),
    Failed,
}

impl Load {
    /// Leading tokens that are there, and whether it will not become more.
    fn progress(&self) -> (usize, bool) {
        let mut end = self.tokens.start;
        for chunk in &self.chunks {
            match chunk.state {
                State::Loaded(_) => end = chunk.tokens.end.min(self.tokens.end),
                State::Failed => return (end, true),
                State::Queued | State::Reading => return (end, false),
            }
        }
        (end, true)
    }
}

impl KvTier {
    /// Whether somebody waits for a load.
    pub(crate) fn has_loads(&self) -> bool {
        !self.loads.is_empty()
    }

    /// Offers the scheduler what the store has for those that wait; calls `on_offer` for each offer that is new.
    pub(crate) fn offer(
        &mut self,
        scheduler: &mut Scheduler,
        mut on_offer: impl FnMut(SeqId, usize),
    ) {
        let mut offers = Vec::new();
        for seq in scheduler.waiting().take(scheduler.config().max_num_seqs) {
            let Some(state) = self.seqs.get_mut(&seq.seq_id()) else { continue };
            if state.may_load && state.looked_up_in != Some(self.epoch) {
                state.hits = self.store.lookup(&state.salt, seq.token_ids());
                state.looked_up_in = Some(self.epoch);
            }
            let num_tokens = if state.may_load { state.hits.num_tokens() } else { 0 };
            if num_tokens != seq.num_offered_tokens() {
                offers.push((seq.seq_id(), num_tokens));
            }
        }
        for (seq_id, num_tokens) in offers {
            if scheduler.offer(seq_id, num_tokens) {
                on_offer(seq_id, num_tokens);
            }
        }
    }

    /// Takes the loads that a call of `schedule` began.
    pub(crate) fn begin_loads(&mut self, loads: &[KvLoad]) {
        for KvLoad { seq_id, tokens } in loads {
            let hits = self.seqs.get(seq_id).map(|state| state.hits.chunks.as_slice());
            let overlaps =
                |chunk: &Range<usize>| chunk.end > tokens.start && chunk.start < tokens.end;
            let chunks = hits.unwrap_or_default().iter().filter(|hit| overlaps(&hit.tokens));
            let queued = |hit: &kv_store::store::Hit| ChunkLoad {
                key: hit.key,
                tokens: hit.tokens.clone(),
                state: State::Queued,
            };
            let chunks = chunks.map(queued).collect();
            let load = Load { tokens: tokens.clone(), chunks, begun: Instant::now() };
            self.loads.insert(*seq_id, load);
        }
        self.read_more();
    }

    /// Gives queued chunks to the store's threads.
    fn read_more(&mut self) {
        for (&seq_id, load) in &mut self.loads {
            for (chunk_idx, chunk) in load.chunks.iter_mut().enumerate() {
                if chunk.state != State::Queued {
                    continue;
                }
                if self.reads.len() >= MAX_READS {
                    return;
                }
                let num_bytes = self.shape.chunk_bytes(chunk.tokens.len());
                let layers = 0..self.shape.num_layers as usize;
                let buffer = vec![0; num_bytes];
                let request = Request::Load { key: chunk.key, layers, buffer };
                // If its queue is full, later.
                let Ok(ticket) = self.store.submit(request) else { return };
                self.reads.insert(ticket, (seq_id, chunk_idx));
                chunk.state = State::Reading;
            }
        }
    }

    /// Takes what the store has done, and writes what it read to the kv_blocks; answers which loads are over
    /// with how many tokens.
    pub(crate) fn poll<D: Device>(
        &mut self,
        device: &mut D,
        kv_cache: &mut D::KvCache,
        scheduler: &Scheduler,
    ) -> Vec<(SeqId, usize)> {
        for completion in self.store.poll() {
            self.complete(completion, device, kv_cache, scheduler);
        }
        let mut ended = Vec::new();
        for (&seq_id, load) in &self.loads {
            let (end, is_over) = load.progress();
            let is_late = !is_over && load.begun.elapsed() > self.load_timeout;
            if is_over || is_late {
                self.stats.num_timeouts += u64::from(is_late);
                ended.push((seq_id, end));
            }
        }
        for &(seq_id, end) in &ended {
            self.end_load(seq_id, end);
        }
        self.read_more();
        ended
    }

    fn end_load(&mut self, seq_id: SeqId, end: usize) {
        let Some(load) = self.loads.remove(&seq_id) else { return };
        self.reads.retain(|_, (reader, _)| *reader != seq_id);
        let Some(state) = self.seqs.get_mut(&seq_id) else { return };
        // What failed once may fail again; the sequence has waited enough.
        state.may_load = end == load.tokens.end;
        for chunk in &load.chunks {
            if let State::Loaded(tier) = chunk.state
                && chunk.tokens.start < end
            {
                let first = chunk.tokens.start.max(load.tokens.start);
                let num_tokens = chunk.tokens.end.min(end) - first;
                state.loaded.add(tier, num_tokens);
                self.stats.loaded_tokens.add(tier, num_tokens);
            }
        }
    }

    fn complete<D: Device>(
        &mut self,
        Completion { ticket, done }: Completion,
        device: &mut D,
        kv_cache: &mut D::KvCache,
        scheduler: &Scheduler,
    ) {
        if self.writes.remove(&ticket) {
            let is_there = matches!(&done, Done::Stored(puts) if puts.is_there());
            self.stats.num_stored_chunks += u64::from(is_there);
            self.stats.num_failed_stores += u64::from(!is_there);
            self.epoch += u64::from(is_there);
            return;
        }
        // The load may have been given up.
        let Some((seq_id, chunk_idx)) = self.reads.remove(&ticket) else { return };
        let Some(load) = self.loads.get_mut(&seq_id) else { return };
        let state = match done {
            Done::Loaded { lookup: Lookup::Hit(found), buffer } => {
                let table = scheduler.sequence(seq_id).map(block_ids).unwrap_or_default();
                let chunk = &load.chunks[chunk_idx].tokens;
                let place = Place { table: &table, wanted: &load.tokens, chunk };
                match write(device, kv_cache, &self.shape, &place, &buffer) {
                    Ok(()) => {
                        self.stats.num_chunk_hits += 1;
                        State::Loaded(found.tier)
                    }
                    Err(_) => {
                        self.stats.num_chunk_misses += 1;
                        State::Failed
                    }
                }
            }
            Done::Loaded { lookup: Lookup::Corrupt(_), .. } => {
                self.stats.num_corrupt_chunks += 1;
                State::Failed
            }
            _ => {
                self.stats.num_chunk_misses += 1;
                State::Failed
            }
        };
        load.chunks[chunk_idx].state = state;
    }
}

/// Where the tokens of a chunk go.
struct Place<'a> {
    table: &'a [u32],
    wanted: &'a Range<usize>,
    chunk: &'a Range<usize>,
}

/// Writes those tokens of a chunk that are wanted; the others may lie in kv_blocks that are shared.
fn write<D: Device>(
    device: &mut D,
    kv_cache: &mut D::KvCache,
    shape: &ChunkShape,
    Place { table, wanted, chunk }: &Place<'_>,
    buffer: &[u8],
) -> Result<(), OpError> {
    let first_token = chunk.start.max(wanted.start);
    let num_tokens = chunk.end.min(wanted.end) - first_token;
    let row_bytes = shape.row_bytes();
    let rows = (first_token - chunk.start) * row_bytes
        ..(first_token - chunk.start + num_tokens) * row_bytes;
    let mut part = Vec::new();
    for layer_idx in 0..shape.num_layers as usize {
        let layer = &buffer[shape.layer_range(layer_idx, chunk.len())];
        let run = KvRun { layer_idx, block_table: table, first_token, num_tokens };
        if num_tokens == chunk.len() {
            device.write_kv_run(kv_cache, &run, layer)?;
            continue;
        }
        part.clear();
        for head in 0..shape.num_kv_heads as usize {
            for side in [Side::K, Side::V] {
                let all = &layer[shape.rows_range(head, side, chunk.len())];
                part.extend_from_slice(&all[rows.clone()]);
            }
        }
        device.write_kv_run(kv_cache, &run, &part)?;
    }
    Ok(())
}
