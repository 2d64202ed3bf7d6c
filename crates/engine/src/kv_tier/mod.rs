//! KV that outlives its request and its process: the engine's side of [`kv_store`].
//!
//! What waits is looked up, and offered to the scheduler; what the scheduler has loaded is read and verified
//! by the store's threads, and written to the sequence's kv_blocks by the engine's; what is computed is
//! stored. Nothing of it can change an answer: a chunk is named by all that its bits depend on, and what
//! fails, is not there any more or takes too long is computed.

mod identity;
mod load;
mod save;
mod stats;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use engine_core::device::KvCacheShape;
use engine_core::request::SeqId;
use engine_core::sequence::Sequence;
use kv_store::chunk::ChunkShape;
use kv_store::identity::Identity;
use kv_store::keys::{ChunkKey, Salt};
use kv_store::store::{Hits, Store, StoreConfig, Ticket};

use crate::error::LlmError;
pub(crate) use identity::identity;
use load::Load;
pub(crate) use save::Computed;
pub use stats::{KvTierStats, LoadedTokens};

/// A load that takes longer is given up.
pub(crate) const DEFAULT_LOAD_TIMEOUT: Duration = Duration::from_secs(10);

/// An engine's store.
pub(crate) struct KvTier {
    store: Store,
    shape: ChunkShape,
    /// Tails are multiples of a kv_block.
    granularity: usize,
    load_timeout: Duration,
    seqs: BTreeMap<SeqId, SeqState>,
    loads: BTreeMap<SeqId, Load>,
    /// Whose chunk is being read.
    reads: BTreeMap<Ticket, (SeqId, usize)>,
    writes: BTreeSet<Ticket>,
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
    hits: Hits,
    /// The epoch of `hits`.
    looked_up_in: Option<u64>,
    may_load: bool,
    loaded: LoadedTokens,
}

impl KvTier {
    /// Opens the store for a cache of `shape`.
    ///
    /// # Errors
    /// [`LlmError::KvStore`].
    pub(crate) fn open(
        config: StoreConfig,
        identity: Identity,
        shape: &KvCacheShape,
        load_timeout: Duration,
    ) -> Result<Self, LlmError> {
        let chunk_shape = ChunkShape {
            num_layers: shape.num_layers as u32,
            num_kv_heads: shape.num_kv_heads as u32,
            head_dim: shape.head_dim as u32,
            element_bytes: shape.dtype.size_bytes() as u32,
        };
        let config = StoreConfig { tail_granularity: shape.block_size, ..config };
        Ok(KvTier {
            store: Store::open(config, identity, chunk_shape)?,
            shape: chunk_shape,
            granularity: shape.block_size,
            load_timeout,
            seqs: BTreeMap::new(),
            loads: BTreeMap::new(),
            reads: BTreeMap::new(),
            writes: BTreeSet::new(),
            epoch: 0,
            stats: KvTierStats::default(),
        })
    }

    /// A sequence has come.
    pub(crate) fn add(&mut self, seq_id: SeqId, cache_salt: Option<String>) {
        let salt = Salt { cache_salt, ..Salt::default() };
        let state = SeqState {
            parent: ChunkKey::root(&self.store.expected().identity, &salt),
            salt,
            num_saved_tokens: 0,
            hits: Hits::default(),
            looked_up_in: None,
            may_load: true,
            loaded: LoadedTokens::default(),
        };
        self.seqs.insert(seq_id, state);
    }

    /// A sequence has ended. What is still read for it is dropped when it comes: nobody but the engine's own
    /// thread writes to kv_blocks.
    pub(crate) fn remove(&mut self, seq_id: SeqId) {
        self.seqs.remove(&seq_id);
        self.loads.remove(&seq_id);
        self.reads.retain(|_, (reader, _)| *reader != seq_id);
    }

    /// What was loaded for a live sequence.
    pub(crate) fn loaded(&self, seq_id: SeqId) -> LoadedTokens {
        self.seqs.get(&seq_id).map(|state| state.loaded).unwrap_or_default()
    }

    /// Waits until a read or a write is done, at most `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) {
        self.store.wait(timeout);
    }

    /// What was done.
    pub(crate) fn stats(&self) -> KvTierStats {
        self.stats
    }

    /// Waits until all that was given to the store is stored.
    pub(crate) fn flush(&self) {
        self.store.flush();
    }
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
