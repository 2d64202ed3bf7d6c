//! KV that outlives its request and its process: the engine's side of [`kv_store`].
//!
//! What waits is looked up, and offered to the scheduler; what the scheduler has loaded is read and verified
//! by the store's threads, and written to the sequence's kv_blocks by the engine's; what is computed is
//! stored. Nothing of it can change an answer: a chunk is named by all that its bits depend on, and what
//! fails, is not there any more or takes too long is computed.

mod identity;
mod load;
mod report;
mod save;
mod source;
mod stats;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine_core::device::KvCacheShape;
use engine_core::request::SeqId;
use engine_core::sequence::Sequence;
use kv_store::chunk::ChunkShape;
use kv_store::identity::Identity;
use kv_store::keys::{ChunkKey, Salt};
use kv_store::planner::Plan;
use kv_store::store::{Completion, Hits, Store, Ticket};

use crate::error::LlmError;
pub(crate) use identity::identity;
use load::{Load, Piece};
use report::Report;
use save::Reading;
pub(crate) use save::{Computed, read_until};
pub(crate) use source::KvStoreSetup;
pub use source::{KvStoreUse, LoadPolicy, OpenKvStore, OpenKvStoreError};
use source::{KvTierSettings, OpenedKvStore};
pub use stats::{KvTierStats, LoadedTokens, TierReport};

/// A load that takes longer is given up.
pub(crate) const DEFAULT_LOAD_TIMEOUT: Duration = Duration::from_secs(10);

/// An engine's store.
pub(crate) struct KvTier {
    /// Served before it is closed.
    report: Report,
    store: Arc<Store>,
    shape: ChunkShape,
    /// Tails are multiples of a kv_block.
    granularity: usize,
    settings: KvTierSettings,
    seqs: BTreeMap<SeqId, SeqState>,
    loads: BTreeMap<SeqId, Load>,
    reads: BTreeMap<Ticket, Piece>,
    writes: BTreeSet<Ticket>,
    prefetches: BTreeSet<Ticket>,
    /// What the store has done and nobody has looked at.
    arrived: VecDeque<Completion>,
    /// Of pieces that were written, for the next ones.
    buffers: Vec<Vec<u8>>,
    /// Changes when the store has more than before.
    epoch: u64,
    stats: KvTierStats,
}

/// A live sequence.
struct SeqState {
    salt: Salt,
    /// The last full chunk that is stored, or was there.
    parent: ChunkKey,
    num_saved_tokens: usize,
    /// The prompt's tail is stored, or was there.
    is_prompt_saved: bool,
    /// What is to be stored next.
    reading: Option<Reading>,
    hits: Hits,
    /// The epoch of `hits`.
    looked_up_in: Option<u64>,
    may_load: bool,
    /// What is done with `hits`.
    plan: Option<Plan>,
    /// When the last load began, until the prompt is computed.
    load_begun: Option<Instant>,
    loaded: LoadedTokens,
    /// What computing it would have taken, less what loading it took.
    saved: Duration,
}

impl KvTier {
    /// Uses an open store for kv_blocks of `block_size` tokens.
    ///
    /// # Errors
    /// [`LlmError::KvMetrics`].
    pub(crate) fn new(opened: OpenedKvStore, block_size: usize) -> Result<Self, LlmError> {
        let OpenedKvStore { store, settings, .. } = opened;
        let store = Arc::new(store);
        for (tier, usage, _) in store.stats() {
            let (tier, bytes, cap_bytes) = (tier.name(), usage.bytes, usage.cap_bytes);
            tracing::info!(tier, bytes, cap_bytes, "a tier of the KV store is open");
        }
        Ok(KvTier {
            report: Report::start(&store, settings.metrics_port)?,
            shape: store.expected().shape,
            store,
            granularity: block_size,
            settings,
            seqs: BTreeMap::new(),
            loads: BTreeMap::new(),
            reads: BTreeMap::new(),
            writes: BTreeSet::new(),
            prefetches: BTreeSet::new(),
            arrived: VecDeque::new(),
            buffers: Vec::new(),
            epoch: 0,
            stats: KvTierStats::default(),
        })
    }

    /// A sequence has come.
    pub(crate) fn add(&mut self, seq_id: SeqId, cache_salt: Option<String>) {
        // What shares nothing with others is a tenant: the configuration may have rules for it.
        let salt = cache_salt.map_or_else(Salt::shared, Salt::tenant);
        let state = SeqState {
            parent: ChunkKey::root(&self.store.expected().identity, &salt),
            salt,
            num_saved_tokens: 0,
            is_prompt_saved: false,
            reading: None,
            hits: Hits::default(),
            looked_up_in: None,
            may_load: true,
            plan: None,
            load_begun: None,
            loaded: LoadedTokens::default(),
            saved: Duration::ZERO,
        };
        self.seqs.insert(seq_id, state);
    }

    /// A sequence has ended. What is still read for it is dropped when it comes: nobody but the engine's own
    /// thread writes to kv_blocks.
    pub(crate) fn remove(&mut self, seq_id: SeqId, num_prompt_tokens: usize) {
        if let Some(state) = self.seqs.remove(&seq_id) {
            let row_bytes = self.shape.chunk_bytes(1) as u64;
            self.report.count(num_prompt_tokens, row_bytes, &state);
        }
        self.loads.remove(&seq_id);
        self.reads.retain(|_, piece| piece.seq_id != seq_id);
    }

    /// Whether what is loaded was rounded.
    pub(crate) fn is_lossy(&self) -> bool {
        self.store.expected().identity.lossy_codec().is_some()
    }

    /// What was loaded for a live sequence.
    pub(crate) fn loaded(&self, seq_id: SeqId) -> LoadedTokens {
        self.seqs.get(&seq_id).map(|state| state.loaded).unwrap_or_default()
    }

    /// A step computed nothing but these tokens of one prompt.
    pub(crate) fn measured_prefill(&mut self, tokens: Range<usize>, time: Duration) {
        self.report.measured_prefill(tokens, time);
    }

    /// Waits until a read or a write is done, at most `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) {
        if self.arrived.is_empty() {
            self.store.wait(timeout);
        }
    }

    /// What was done.
    pub(crate) fn stats(&self) -> KvTierStats {
        self.stats
    }

    /// What the store's tiers did, for all that use them.
    pub(crate) fn store_stats(&self) -> Vec<TierReport> {
        let reports = self.store.stats().into_iter();
        reports.map(|(kind, usage, stats)| TierReport { kind, usage, stats }).collect()
    }

    /// Waits until all that was given to the store is stored.
    pub(crate) fn flush(&self) {
        self.store.flush();
    }
}

/// What an engine with a cache of `shape` opens a store for.
pub(crate) fn used(max_model_len: usize, shape: &KvCacheShape, identity: Identity) -> KvStoreUse {
    let chunk_shape = ChunkShape {
        num_layers: shape.num_layers as u32,
        num_kv_heads: shape.num_kv_heads as u32,
        head_dim: shape.head_dim as u32,
        element_bytes: shape.dtype.size_bytes() as u32,
    };
    KvStoreUse { max_model_len, block_size: shape.block_size, identity, shape: chunk_shape }
}

impl Drop for KvTier {
    fn drop(&mut self) {
        self.store.flush();
    }
}

/// The kv_blocks of a sequence as devices name them.
pub(crate) fn block_ids(seq: &Sequence) -> Vec<u32> {
    seq.block_table().iter().map(|block| block.0).collect()
}
