//! What became of KV outside the device.

use kv_store::counters::TierStats;
use kv_store::outcome::TierKind;
use kv_store::tier::Usage;

/// Tokens whose KV was loaded instead of computed, by the tier that had it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadedTokens {
    /// Host memory.
    pub host: usize,
    /// A directory.
    pub disk: usize,
    /// An object store.
    pub object: usize,
}

impl LoadedTokens {
    /// From all tiers.
    pub fn total(&self) -> usize {
        self.host + self.disk + self.object
    }

    /// Adds tokens from a tier.
    pub(crate) fn add(&mut self, tier: TierKind, num_tokens: usize) {
        match tier {
            TierKind::Host => self.host += num_tokens,
            TierKind::Disk => self.disk += num_tokens,
            _ => self.object += num_tokens,
        }
    }

    /// Adds those of another sequence.
    pub(crate) fn merge(&mut self, other: &LoadedTokens) {
        self.host += other.host;
        self.disk += other.disk;
        self.object += other.object;
    }
}

/// A tier of the KV store, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierReport {
    /// What it is.
    pub kind: TierKind,
    /// How full it is.
    pub usage: Usage,
    /// What it has done.
    pub stats: TierStats,
}

/// What an engine did with its KV store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KvTierStats {
    /// Tokens whose KV was loaded, by tier.
    pub loaded_tokens: LoadedTokens,
    /// Chunks that were loaded.
    pub num_chunk_hits: u64,
    /// Chunks that were offered, and could not be had any more.
    pub num_chunk_misses: u64,
    /// Chunks that were found to be something else; they were computed.
    pub num_corrupt_chunks: u64,
    /// Loads given up because they took too long.
    pub num_timeouts: u64,
    /// Prompts of which the store had more than it was worth while to load.
    pub num_loads_not_worth: u64,
    /// Chunks that were brought to memory while their request waited.
    pub num_prefetched_chunks: u64,
    /// Chunks that were stored.
    pub num_stored_chunks: u64,
    /// Chunks that no tier took.
    pub num_failed_stores: u64,
    /// Chunks that were not stored because too many were being stored already.
    pub num_skipped_stores: u64,
}
