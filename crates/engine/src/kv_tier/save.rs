//! Storing: from kv_blocks of a sequence to chunks of the store, after they were computed.
//!
//! The engine's thread reads the device, for nobody else may. 256 tokens of SmolLM2 (5.9 MB) take it 7 ms on two cores, a
//! quarter of a decode step; so a chunk is read in parts, each after a step and small beside it. What a kv_block holds
//! of computed tokens never changes, and if its sequence loses it the same bits are computed again.

use std::ops::Range;
use std::time::{Duration, Instant};

use engine_core::device::{Device, OpError};
use engine_core::kv_run::KvRun;
use engine_core::request::{SeqId, TokenId};
use kv_store::keys::{self, ChunkKey, ChunkOf};
use kv_store::store::{NewChunk, Request};

use super::KvTier;

/// Chunks that are being stored at once, beyond which none is read from the device: each is in host memory.
const MAX_WRITES: usize = 32;

/// A part of a step that reading the device may take after it, but for one layer of each sequence.
const PART_OF_STEP: u32 = 32;

/// A chunk that is being read from the device.
pub(super) struct Reading {
    tokens: Range<usize>,
    /// Of its first layers.
    bytes: Vec<u8>,
    num_layers: usize,
}

/// Until when the device is read after a step that took so long.
pub(crate) fn read_until(step: Duration) -> Instant {
    Instant::now() + step / PART_OF_STEP
}

/// KV that a sequence has on the device.
pub(crate) struct Computed<'a> {
    pub(crate) seq_id: SeqId,
    pub(crate) token_ids: &'a [TokenId],
    pub(crate) block_table: &'a [u32],
    /// Leading tokens whose KV is there.
    pub(crate) num_computed_tokens: usize,
    pub(crate) num_prompt_tokens: usize,
}

impl KvTier {
    /// Stores the full chunks that are computed, and the prompt's tail, as far as no tier has them. What is not read
    /// by `until` is read on when it is called again.
    pub(crate) fn save<D: Device>(
        &mut self,
        device: &mut D,
        kv_cache: &D::KvCache,
        computed: &Computed<'_>,
        until: Option<Instant>,
    ) {
        if computed.num_computed_tokens >= computed.num_prompt_tokens {
            self.tell_plan(computed.seq_id);
        }
        let chunk_size = self.store.chunk_size();
        while let Some(state) = self.seqs.get(&computed.seq_id) {
            let tokens = state.num_saved_tokens..state.num_saved_tokens + chunk_size;
            if !self.save_prompt_tail(device, kv_cache, computed, &tokens, until) {
                return;
            }
            let Some(state) = self.seqs.get(&computed.seq_id) else { return };
            if tokens.end > computed.num_computed_tokens {
                return;
            }
            let key = state.parent.child(&computed.token_ids[tokens.clone()]);
            let chunk = ChunkOf { key, tokens: tokens.clone() };
            if !self.put(device, kv_cache, computed, chunk, until) {
                // In a later step, or when it ends.
                return;
            }
            if let Some(state) = self.seqs.get_mut(&computed.seq_id) {
                (state.parent, state.num_saved_tokens) = (key, tokens.end);
            }
        }
    }

    /// A prompt is computed: tells how good the plan for it was, once.
    fn tell_plan(&mut self, seq_id: SeqId) {
        let Some(state) = self.seqs.get_mut(&seq_id) else { return };
        if let (Some(begun), Some(plan)) = (state.load_begun.take(), &state.plan) {
            self.report.measured_plan(plan, begun.elapsed());
        }
    }

    /// Stores the prompt's tail if the prompt is computed and ends within `chunk`: the same prompt comes again, with
    /// another answer or none. Answers `false` if it has to be tried again.
    fn save_prompt_tail<D: Device>(
        &mut self,
        device: &mut D,
        kv_cache: &D::KvCache,
        computed: &Computed<'_>,
        chunk: &Range<usize>,
        until: Option<Instant>,
    ) -> bool {
        let Some(state) = self.seqs.get(&computed.seq_id) else { return true };
        let end = computed.num_prompt_tokens;
        if state.is_prompt_saved || computed.num_computed_tokens < end || !chunk.contains(&end) {
            return true;
        }
        let rest = &computed.token_ids[chunk.start..end];
        let tail = keys::tail(&state.parent, chunk.start, rest, self.granularity).next();
        let is_saved = tail.is_none_or(|tail| self.put(device, kv_cache, computed, tail, until));
        if let Some(state) = self.seqs.get_mut(&computed.seq_id) {
            state.is_prompt_saved = is_saved;
        }
        is_saved
    }

    /// The sequence is about to end: stores what [`KvTier::save`] has not, its tail included.
    pub(crate) fn save_all<D: Device>(
        &mut self,
        device: &mut D,
        kv_cache: &D::KvCache,
        computed: &Computed<'_>,
    ) {
        self.save(device, kv_cache, computed, None);
        let Some(state) = self.seqs.get(&computed.seq_id) else { return };
        let first = state.num_saved_tokens;
        let rest = &computed.token_ids[first..computed.num_computed_tokens.max(first)];
        let is_tail = rest.len() < self.store.chunk_size();
        let tail = keys::tail(&state.parent, first, rest, self.granularity).next();
        let is_stored = match tail {
            Some(tail) if is_tail => self.put(device, kv_cache, computed, tail, None),
            Some(_) => false,
            None => true,
        };
        self.stats.num_skipped_stores += u64::from(!is_stored);
    }

    /// Has a chunk stored unless some tier has it; answers `false` if too much is being stored, or not all of it is
    /// read.
    fn put<D: Device>(
        &mut self,
        device: &mut D,
        kv_cache: &D::KvCache,
        computed: &Computed<'_>,
        ChunkOf { key, tokens }: ChunkOf,
        until: Option<Instant>,
    ) -> bool {
        let Some(state) = self.seqs.get_mut(&computed.seq_id) else { return false };
        let begun = state.reading.take().filter(|reading| reading.tokens == tokens);
        let tenant = state.salt.tenant_tag();
        if self.has(&key) {
            return true;
        }
        let num_begun = self.seqs.values().filter(|state| state.reading.is_some()).count();
        let has_room = self.writes.len() + num_begun < MAX_WRITES;
        let begin = || Reading { tokens: tokens.clone(), bytes: Vec::new(), num_layers: 0 };
        let Some(mut reading) = begun.or_else(|| has_room.then(begin)) else { return false };
        if self.read(device, kv_cache, computed.block_table, &mut reading, until).is_err() {
            return false;
        }
        if reading.num_layers < self.shape.num_layers as usize {
            if let Some(state) = self.seqs.get_mut(&computed.seq_id) {
                state.reading = Some(reading);
            }
            return false;
        }
        let bytes = reading.bytes;
        let chunk = NewChunk { key, tokens, tenant, ttl_ms: None };
        match self.store.submit(Request::Store { chunk, bytes }) {
            Ok(ticket) => self.writes.insert(ticket),
            Err(_) => false,
        }
    }

    fn has(&self, key: &ChunkKey) -> bool {
        self.store.tiers().iter().any(|tier| tier.may_have(key))
    }

    /// Reads on, at least one layer.
    fn read<D: Device>(
        &self,
        device: &mut D,
        kv_cache: &D::KvCache,
        block_table: &[u32],
        reading: &mut Reading,
        until: Option<Instant>,
    ) -> Result<(), OpError> {
        let (first_token, num_tokens) = (reading.tokens.start, reading.tokens.len());
        reading.bytes.reserve_exact(self.shape.chunk_bytes(num_tokens) - reading.bytes.len());
        while reading.num_layers < self.shape.num_layers as usize {
            let layer_idx = reading.num_layers;
            let run = KvRun { layer_idx, block_table, first_token, num_tokens };
            let range = self.shape.layer_range(layer_idx, num_tokens);
            reading.bytes.resize(range.end, 0);
            device.read_kv_run(kv_cache, &run, &mut reading.bytes[range])?;
            reading.num_layers += 1;
            if until.is_some_and(|until| Instant::now() >= until) {
                break;
            }
        }
        Ok(())
    }
}
