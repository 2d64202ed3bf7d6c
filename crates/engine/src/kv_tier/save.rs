//! Storing: from kv_blocks of a sequence to chunks of the store, after they were computed.

use std::ops::Range;

use engine_core::device::{Device, OpError};
use engine_core::kv_run::KvRun;
use engine_core::request::{SeqId, TokenId};
use kv_store::keys::{self, ChunkKey, ChunkOf};
use kv_store::store::{NewChunk, Request};

use super::KvTier;

/// Chunks that are being stored at once, beyond which none is read from the device: each is in host memory.
const MAX_WRITES: usize = 32;

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
    /// Stores the full chunks that are computed, and the prompt's tail, as far as no tier has them.
    pub(crate) fn save<D: Device>(
        &mut self,
        device: &mut D,
        kv_cache: &D::KvCache,
        computed: &Computed<'_>,
    ) {
        if computed.num_computed_tokens >= computed.num_prompt_tokens {
            self.tell_plan(computed.seq_id);
        }
        let chunk_size = self.store.chunk_size();
        while let Some(state) = self.seqs.get(&computed.seq_id) {
            let tokens = state.num_saved_tokens..state.num_saved_tokens + chunk_size;
            if !self.save_prompt_tail(device, kv_cache, computed, &tokens) {
                return;
            }
            let Some(state) = self.seqs.get(&computed.seq_id) else { return };
            if tokens.end > computed.num_computed_tokens {
                return;
            }
            let key = state.parent.child(&computed.token_ids[tokens.clone()]);
            if !self.put(device, kv_cache, computed, ChunkOf { key, tokens: tokens.clone() }) {
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
    ) -> bool {
        let Some(state) = self.seqs.get(&computed.seq_id) else { return true };
        let end = computed.num_prompt_tokens;
        if state.is_prompt_saved || computed.num_computed_tokens < end || !chunk.contains(&end) {
            return true;
        }
        let rest = &computed.token_ids[chunk.start..end];
        let tail = keys::tail(&state.parent, chunk.start, rest, self.granularity).next();
        let is_saved = tail.is_none_or(|tail| self.put(device, kv_cache, computed, tail));
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
        self.save(device, kv_cache, computed);
        let Some(state) = self.seqs.get(&computed.seq_id) else { return };
        let first = state.num_saved_tokens;
        let rest = &computed.token_ids[first..computed.num_computed_tokens.max(first)];
        let is_tail = rest.len() < self.store.chunk_size();
        let tail = keys::tail(&state.parent, first, rest, self.granularity).next();
        let is_stored = match tail {
            Some(tail) if is_tail => self.put(device, kv_cache, computed, tail),
            Some(_) => false,
            None => true,
        };
        self.stats.num_skipped_stores += u64::from(!is_stored);
    }

    /// Has a chunk stored unless some tier has it; answers `false`, and does nothing, if too much is being
    /// stored.
    fn put<D: Device>(
        &mut self,
        device: &mut D,
        kv_cache: &D::KvCache,
        computed: &Computed<'_>,
        ChunkOf { key, tokens }: ChunkOf,
    ) -> bool {
        if self.has(&key) {
            return true;
        }
        if self.writes.len() >= MAX_WRITES {
            return false;
        }
        let Ok(bytes) = self.read(device, kv_cache, computed.block_table, &tokens) else {
            return false;
        };
        let tenant = self.seqs.get(&computed.seq_id).map(|state| state.salt.tenant_tag());
        let Some(tenant) = tenant else { return false };
        let chunk = NewChunk { key, tokens, tenant, ttl_ms: None };
        match self.store.submit(Request::Store { chunk, bytes }) {
            Ok(ticket) => self.writes.insert(ticket),
            Err(_) => false,
        }
    }

    fn has(&self, key: &ChunkKey) -> bool {
        self.store.tiers().iter().any(|tier| tier.may_have(key))
    }

    fn read<D: Device>(
        &self,
        device: &mut D,
        kv_cache: &D::KvCache,
        block_table: &[u32],
        tokens: &Range<usize>,
    ) -> Result<Vec<u8>, OpError> {
        let mut bytes = vec![0; self.shape.chunk_bytes(tokens.len())];
        for layer_idx in 0..self.shape.num_layers as usize {
            let (first_token, num_tokens) = (tokens.start, tokens.len());
            let run = KvRun { layer_idx, block_table, first_token, num_tokens };
            let layer = &mut bytes[self.shape.layer_range(layer_idx, num_tokens)];
            device.read_kv_run(kv_cache, &run, layer)?;
        }
        Ok(bytes)
    }
}
