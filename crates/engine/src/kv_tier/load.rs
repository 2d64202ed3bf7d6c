//! Loads: from chunks of the store to kv_blocks of a waiting sequence.
//!
//! A chunk in memory is read in pieces of some layers: while a thread of the store verifies one where it lies, the engine's
//! writes the one before it to the kv_blocks, out of the processor's cache. Chunks from farther away are read as a
//! whole, for they go into memory on the way. While others compute, only a bounded share of each step goes into
//! writing.
//!
//! Where that is faster, the first tokens of a prompt are computed while the last ones are loaded: where the two meet
//! is planned before. So the chunks are read from the first one on, although those at the end are the dearest to
//! compute: of a load that fails or is late, what comes before the failure is of use, and what comes after it never is.
//!
//! No layer computes before all layers are there. A step is one batch of all sequences ([`engine_core::batch`]), layer by
//! layer: one that waited within a layer for somebody's load would hold up everybody's tokens. What that could hide is
//! the smaller of the load and of the one step behind it: with 1,536 tokens of SmolLM2 in memory (35 MB, two cores) 31 of
//! 76 ms if it cost nothing, but on the host backend both want the same cores. From farther away the step is next to
//! nothing. On a device whose copies cost no cores it is to be looked at again.

use std::ops::Range;
use std::time::{Duration, Instant};

use engine_core::device::{Device, OpError};
use engine_core::kv_run::KvRun;
use engine_core::kv_tier::KvLoad;
use engine_core::request::SeqId;
use engine_core::scheduler::Scheduler;
use kv_store::chunk::{ChunkShape, Side};
use kv_store::keys::ChunkKey;
use kv_store::outcome::{Lookup, TierKind};
use kv_store::planner::Plan;
use kv_store::store::{Completion, Done, Hit, Request};

use super::{KvTier, LoadPolicy, block_ids};

/// Chunks that are prefetched at once: a load must not wait behind many of them.
const MAX_PREFETCHES: usize = 2;

/// Pieces that are read at once: each has a buffer on the host.
const MAX_READS: usize = 16;
/// Bytes of a piece in memory: it stays in a core's cache until it is written on.
const PIECE_BYTES: usize = 1 << 20;
/// What a step of others is delayed at most, besides one piece.
const MAX_DELAY: Duration = Duration::from_millis(2);
/// And how long is written where nobody computes, before it is looked who can.
const MAX_TURN: Duration = Duration::from_millis(20);

/// A load in progress.
pub(super) struct Load {
    /// The tokens that are wanted.
    tokens: Range<usize>,
    /// What has them, in order.
    chunks: Vec<ChunkLoad>,
    pub(super) begun: Instant,
    /// Since when nobody computes for the sequence meanwhile, as far as it was looked for what has come.
    awaited_since: Option<Instant>,
}

struct ChunkLoad {
    key: ChunkKey,
    tokens: Range<usize>,
    /// Where it should be.
    tier: TierKind,
    num_bytes: u64,
    /// Pieces that nobody reads yet.
    queued: Vec<Range<usize>>,
    /// Pieces that are being read.
    num_reading: usize,
    /// The farthest tier that a piece came from.
    found_in: Option<TierKind>,
    is_failed: bool,
}

impl ChunkLoad {
    /// Verified, and in the kv_blocks.
    fn is_loaded(&self) -> bool {
        self.queued.is_empty() && self.num_reading == 0 && !self.is_failed
    }
}

impl Load {
    /// Leading tokens that are there, and whether it will not become more.
    fn progress(&self) -> (usize, bool) {
        let mut end = self.tokens.start;
        for chunk in &self.chunks {
            match chunk.is_loaded() {
                true => end = chunk.tokens.end.min(self.tokens.end),
                false => return (end, chunk.is_failed),
            }
        }
        (end, true)
    }

    /// It was looked whether the sequence still computes.
    fn looked_at(&mut self, is_awaited: bool, now: Instant) {
        self.awaited_since = is_awaited.then(|| self.awaited_since.unwrap_or(now));
    }

    /// How long the sequence did nothing but wait: what was computed meanwhile had to be computed anyway.
    fn waited(&self, now: Instant) -> Duration {
        self.awaited_since.map_or(Duration::ZERO, |since| now.duration_since(since))
    }

    /// Bytes that are still to come, by where they are.
    pub(super) fn missing(&self) -> impl Iterator<Item = (TierKind, u64)> {
        let missing = self.chunks.iter().filter(|chunk| !chunk.is_loaded());
        missing.map(|chunk| (chunk.tier, chunk.num_bytes))
    }
}

impl KvTier {
    /// Whether somebody waits for a load.
    pub(crate) fn has_loads(&self) -> bool {
        !self.loads.is_empty()
    }

    /// Offers the scheduler what the store has for those that wait, as far as loading it is worth while; calls
    /// `on_offer` for each offer that is new.
    pub(crate) fn offer(
        &mut self,
        scheduler: &mut Scheduler,
        mut on_offer: impl FnMut(SeqId, &Range<usize>),
    ) {
        let may_split = scheduler.config().enable_chunked_prefill;
        let mut offers = Vec::new();
        for seq in scheduler.waiting().take(scheduler.config().max_num_seqs) {
            let Some(state) = self.seqs.get_mut(&seq.seq_id()) else { continue };
            if state.may_load && state.looked_up_in != Some(self.epoch) {
                state.hits = self.store.lookup(&state.salt, seq.token_ids());
                state.looked_up_in = Some(self.epoch);
                state.plan = None;
            }
            let tokens = match state.may_load && !state.hits.chunks.is_empty() {
                true => self.planned(seq.seq_id(), seq.num_tokens(), may_split),
                false => 0..0,
            };
            if tokens != seq.offered_tokens() {
                offers.push((seq.seq_id(), tokens));
            }
        }
        for (seq_id, tokens) in offers {
            if scheduler.offer(seq_id, tokens.clone()) {
                on_offer(seq_id, &tokens);
            }
        }
    }

    /// The tokens that are to be loaded of what the store has for a sequence.
    fn planned(&mut self, seq_id: SeqId, num_tokens: usize, may_split: bool) -> Range<usize> {
        let Some(state) = self.seqs.get(&seq_id) else { return 0..0 };
        if let Some(plan) = &state.plan {
            return plan.load.clone();
        }
        let num_stored = state.hits.num_tokens();
        let from = |first: usize| {
            let first = if may_split { first.min(num_stored) } else { 0 };
            Plan { compute: 0..first, load: first..num_stored, predicted_s: None }
        };
        let plan = match self.settings.load_policy {
            LoadPolicy::Always => from(0),
            LoadPolicy::Behind(num_computed) => from(num_computed),
            LoadPolicy::Planned => {
                let queued = self.loads.values().flat_map(Load::missing);
                self.report.plan(num_tokens, &state.hits, &self.shape, queued, may_split)
            }
        };
        let tokens = plan.load.clone();
        if let Some(state) = self.seqs.get_mut(&seq_id) {
            self.stats.num_loads_not_worth += u64::from(tokens.len() < num_stored);
            state.plan = Some(plan);
        }
        tokens
    }

    /// Takes the loads that the last call of `schedule` began.
    pub(crate) fn begin_loads(&mut self, scheduler: &Scheduler) {
        for KvLoad { seq_id, tokens } in scheduler.loads() {
            let hits = self.seqs.get(seq_id).map(|state| state.hits.chunks.as_slice());
            let overlaps =
                |chunk: &Range<usize>| chunk.end > tokens.start && chunk.start < tokens.end;
            let chunks = hits.unwrap_or_default().iter().filter(|hit| overlaps(&hit.tokens));
            let chunks = chunks.map(|hit| self.queued(hit)).collect();
            let (tokens, begun) = (tokens.clone(), Instant::now());
            let awaited_since = is_awaited(scheduler, *seq_id).then_some(begun);
            let load = Load { tokens, chunks, begun, awaited_since };
            self.loads.insert(*seq_id, load);
        }
        self.read_more();
    }

    /// A chunk that is to be read, in pieces.
    fn queued(&self, hit: &Hit) -> ChunkLoad {
        let (num_layers, num_tokens) = (self.shape.num_layers as usize, hit.tokens.len());
        let layers = match hit.tier {
            TierKind::Host => (PIECE_BYTES / self.shape.layer_bytes(num_tokens)).max(1),
            _ => num_layers,
        };
        let pieces = (0..num_layers).step_by(layers);
        // From the last one on, as they are taken.
        let mut queued: Vec<Range<usize>> =
            pieces.map(|first| first..(first + layers).min(num_layers)).collect();
        queued.reverse();
        ChunkLoad {
            key: hit.key,
            tokens: hit.tokens.clone(),
            tier: hit.tier,
            num_bytes: self.shape.chunk_bytes(num_tokens) as u64,
            queued,
            num_reading: 0,
            found_in: None,
            is_failed: false,
        }
    }

    /// Brings what those that still wait will load to the nearest tier, as far as it is elsewhere.
    pub(crate) fn prefetch(&mut self, scheduler: &Scheduler) {
        let has_near = self.store.tiers().first().is_some_and(|t| t.kind() == TierKind::Host);
        if !self.settings.prefetch || !has_near {
            return;
        }
        for seq in scheduler.waiting().take(scheduler.config().max_num_seqs) {
            let Some(state) = self.seqs.get_mut(&seq.seq_id()) else { continue };
            let wanted = state.plan.as_ref().map_or(0..0, |plan| plan.load.clone());
            let far = state.hits.chunks.iter_mut().filter(|hit| hit.tier != TierKind::Host);
            let is_wanted =
                |tokens: &Range<usize>| tokens.start < wanted.end && tokens.end > wanted.start;
            for hit in far.filter(|hit| is_wanted(&hit.tokens)) {
                if self.prefetches.len() >= MAX_PREFETCHES {
                    return;
                }
                let (key, num_tokens) = (hit.key, hit.tokens.len());
                let request = Request::Prefetch { key, num_tokens };
                let Ok(ticket) = self.store.submit(request) else { return };
                self.prefetches.insert(ticket);
                // Where it will be. If it comes to nothing, the load asks the other tiers.
                hit.tier = TierKind::Host;
            }
        }
    }

    /// Gives queued pieces to the store's threads.
    fn read_more(&mut self) {
        for (&seq_id, load) in &mut self.loads {
            for (chunk_idx, chunk) in load.chunks.iter_mut().enumerate() {
                while let Some(layers) = chunk.queued.last().cloned() {
                    if self.reads.len() >= MAX_READS {
                        return;
                    }
                    let bytes = self.shape.layers_range(layers.clone(), chunk.tokens.len());
                    let buffer = buffer_of(self.buffers.pop().unwrap_or_default(), bytes.len());
                    let request = Request::Load { key: chunk.key, layers: layers.clone(), buffer };
                    // If its queue is full, later.
                    let Ok(ticket) = self.store.submit(request) else { return };
                    self.reads.insert(ticket, Piece { seq_id, chunk_idx, layers });
                    chunk.queued.pop();
                    chunk.num_reading += 1;
                }
            }
        }
    }

    /// Takes what the store has done, and writes what it read to the kv_blocks, for as long as those that run, and load
    /// nothing themselves, can wait; answers which loads are over with how many tokens.
    pub(crate) fn poll<D: Device>(
        &mut self,
        device: &mut D,
        kv_cache: &mut D::KvCache,
        scheduler: &Scheduler,
    ) -> Vec<(SeqId, usize)> {
        let has_others = scheduler.running().iter().any(|seq| !seq.is_loading());
        let patience = if has_others { MAX_DELAY } else { MAX_TURN };
        let until = Instant::now() + patience;
        loop {
            self.arrived.extend(self.store.poll());
            if self.arrived.is_empty() {
                break;
            }
            while let Some(completion) = self.arrived.pop_front() {
                self.complete(completion, device, kv_cache, scheduler);
                self.read_more();
                if Instant::now() >= until {
                    return self.ended(scheduler);
                }
            }
        }
        self.ended(scheduler)
    }

    /// Ends the loads that are over or late.
    fn ended(&mut self, scheduler: &Scheduler) -> Vec<(SeqId, usize)> {
        let mut ended = Vec::new();
        for (&seq_id, load) in &self.loads {
            let (end, is_over) = load.progress();
            let is_late = !is_over && load.begun.elapsed() > self.settings.load_timeout;
            if is_over || is_late {
                if is_late {
                    self.stats.num_timeouts += 1;
                    tell_late(load, self.settings.load_timeout, end);
                }
                ended.push((seq_id, end));
            }
        }
        for &(seq_id, end) in &ended {
            self.end_load(seq_id, end);
        }
        let now = Instant::now();
        for (&seq_id, load) in &mut self.loads {
            load.looked_at(is_awaited(scheduler, seq_id), now);
        }
        self.read_more();
        ended
    }

    fn end_load(&mut self, seq_id: SeqId, end: usize) {
        let Some(load) = self.loads.remove(&seq_id) else { return };
        self.reads.retain(|_, piece| piece.seq_id != seq_id);
        self.measure(&load);
        let Some(state) = self.seqs.get_mut(&seq_id) else { return };
        state.saved += self.report.saved(load.tokens.start..end, load.waited(Instant::now()));
        state.load_begun = Some(load.begun);
        // What failed once may fail again; the sequence has waited enough.
        state.may_load = end == load.tokens.end;
        for chunk in &load.chunks {
            if let Some(tier) = chunk.found_in.filter(|_| chunk.is_loaded())
                && chunk.tokens.start < end
            {
                let first = chunk.tokens.start.max(load.tokens.start);
                let num_tokens = chunk.tokens.end.min(end) - first;
                state.loaded.add(tier, num_tokens);
                self.stats.loaded_tokens.add(tier, num_tokens);
                self.stats.num_chunk_hits += 1;
            }
        }
    }

    /// What a load that one tier gave says of that tier.
    fn measure(&mut self, load: &Load) {
        let Some(tier) = load.chunks.first().and_then(|chunk| chunk.found_in) else { return };
        if load.chunks.iter().all(|chunk| chunk.is_loaded() && chunk.found_in == Some(tier)) {
            let num_bytes = load.chunks.iter().map(|chunk| chunk.num_bytes).sum();
            let time = load.begun.elapsed();
            match load.awaited_since.is_some() {
                true => self.report.measured_load(tier, num_bytes, time),
                false => self.report.measured_load_at_most(tier, num_bytes, time),
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
        if self.prefetches.remove(&ticket) {
            let is_hit = matches!(&done, Done::Prefetched(lookup) if lookup.is_hit());
            self.stats.num_prefetched_chunks += u64::from(is_hit);
            return;
        }
        let piece = self.reads.remove(&ticket);
        let Done::Loaded { lookup, loaded } = done else {
            // Whoever read it panicked.
            if let Some(Piece { seq_id, chunk_idx, .. }) = piece
                && let Some(load) = self.loads.get_mut(&seq_id)
            {
                load.chunks[chunk_idx].num_reading -= 1;
                load.chunks[chunk_idx].is_failed = true;
                self.stats.num_chunk_misses += 1;
            }
            return;
        };
        // The load may have been given up.
        if let Some(Piece { seq_id, chunk_idx, layers }) = piece
            && let Some(load) = self.loads.get_mut(&seq_id)
        {
            let table = scheduler.sequence(seq_id).map(block_ids).unwrap_or_default();
            let chunk = &mut load.chunks[chunk_idx];
            chunk.num_reading -= 1;
            let is_written = match &lookup {
                Lookup::Hit(found) => {
                    chunk.found_in = chunk.found_in.max(Some(found.tier));
                    let place = Place { table: &table, wanted: &load.tokens, chunk: &chunk.tokens };
                    write(device, kv_cache, &self.shape, &place, layers, loaded.bytes()).is_ok()
                }
                _ => false,
            };
            if !is_written && !chunk.is_failed {
                tracing::debug!(key = %chunk.key, ?lookup, "a chunk cannot be loaded; it is computed");
                let is_corrupt = matches!(lookup, Lookup::Corrupt(_));
                self.stats.num_corrupt_chunks += u64::from(is_corrupt);
                self.stats.num_chunk_misses += u64::from(!is_corrupt);
                chunk.is_failed = true;
                chunk.queued.clear();
            }
        }
        if self.buffers.len() < MAX_READS {
            self.buffers.push(loaded.into_buffer());
        }
    }
}

/// A buffer of so many bytes, the old one where that is large enough. A new one has no pages until it is written to: a
/// tier that lends leaves it alone.
fn buffer_of(mut old: Vec<u8>, num_bytes: usize) -> Vec<u8> {
    if old.capacity() < num_bytes {
        return vec![0; num_bytes];
    }
    old.resize(num_bytes, 0);
    old
}

/// A load took too long: so many tokens have come of it.
fn tell_late(load: &Load, timeout: Duration, num_loaded_tokens: usize) {
    let tier = load.chunks.first().map(|chunk| chunk.tier.name());
    let (seconds, num_tokens) = (timeout.as_secs_f64(), load.tokens.end);
    tracing::warn!(
        tier,
        seconds,
        num_tokens,
        num_loaded_tokens,
        "the KV store is slow: a load was given up, and what is missing is computed"
    );
}

/// Whether a sequence that loads has nothing to compute meanwhile.
fn is_awaited(scheduler: &Scheduler, seq_id: SeqId) -> bool {
    scheduler.loading().iter().any(|seq| seq.seq_id() == seq_id)
}

/// What is being read.
pub(super) struct Piece {
    pub(super) seq_id: SeqId,
    chunk_idx: usize,
    layers: Range<usize>,
}

/// Where the tokens of a chunk go.
struct Place<'a> {
    table: &'a [u32],
    wanted: &'a Range<usize>,
    chunk: &'a Range<usize>,
}

/// Writes those tokens of some layers of a chunk that are wanted; the others may lie in kv_blocks that are shared.
fn write<D: Device>(
    device: &mut D,
    kv_cache: &mut D::KvCache,
    shape: &ChunkShape,
    Place { table, wanted, chunk }: &Place<'_>,
    layers: Range<usize>,
    bytes: &[u8],
) -> Result<(), OpError> {
    let first_token = chunk.start.max(wanted.start);
    let num_tokens = chunk.end.min(wanted.end) - first_token;
    let row_bytes = shape.row_bytes();
    let rows = (first_token - chunk.start) * row_bytes
        ..(first_token - chunk.start + num_tokens) * row_bytes;
    let mut part = Vec::new();
    for (layer_idx, layer) in layers.zip(bytes.chunks_exact(shape.layer_bytes(chunk.len()))) {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kv_store::eviction::lru;
    use kv_store::identity::{Identity, IdentityParts};
    use kv_store::store::{Store, StoreConfig};
    use kv_store::tier::HostConfig;

    use super::super::report::Report;
    use super::*;

    /// A report that was told that 64 tokens take 4 seconds.
    fn report() -> Report {
        let host = HostConfig { cap_bytes: 1, policy: lru() };
        let config = StoreConfig { host: Some(host), ..StoreConfig::default() };
        let identity = Identity::new(&IdentityParts::of_no_model(1)).unwrap();
        let shape = ChunkShape { num_layers: 1, num_kv_heads: 1, head_dim: 2, element_bytes: 2 };
        let store = Arc::new(Store::open(config, identity, shape).unwrap());
        let mut report = Report::start(&store, None).unwrap();
        for first in [0, 64] {
            report.measured_prefill(first..first + 64, Duration::from_secs(4));
        }
        report
    }

    #[test]
    fn a_load_costs_what_its_prompt_waits_for() {
        let (report, begun) = (report(), Instant::now());
        let after = |seconds| begun + Duration::from_secs(seconds);
        let saved = |looks: &[(u64, bool)], tokens: Range<usize>, end_s| {
            let awaited_since = looks[0].1.then_some(begun);
            let mut load = Load { tokens, chunks: Vec::new(), begun, awaited_since };
            for &(seconds, is_awaited) in looks {
                load.looked_at(is_awaited, after(seconds));
            }
            report.saved(load.tokens.clone(), load.waited(after(end_s))).as_millis()
        };
        assert_eq!(saved(&[(0, true)], 0..128, 3), 5000, "nothing is computed meanwhile");
        // The first 64 tokens are computed for 3 seconds, and then the prompt waits for one.
        let looks = [(0, false), (2, false), (3, true), (4, true)];
        assert_eq!(saved(&looks, 64..128, 4), 3000);
        assert_eq!(saved(&looks[..2], 64..128, 4), 4000, "the load is there first");
        assert_eq!(saved(&[(0, true)], 0..64, 9), 0, "computing were faster");
    }
}
