//! Where chunks live. A tier verifies what it gives, and may forget anything at any time.

mod decorated;
mod directory;
mod host;

use std::ops::{Deref, Range};
use std::sync::Arc;

pub use decorated::{
    FaultCounts, FaultRates, Faulty, Measurement, Metered, Pace, Throttled, Watcher,
};
pub use directory::{
    DirectoryConfig, DirectoryError, DirectoryInventory, DirectoryTier, Durability,
};
pub use host::{HostConfig, HostTier};

use crate::chunk::ChunkShape;
use crate::clock::Clock;
use crate::counters::TierStats;
use crate::digest::Digest;
use crate::identity::Identity;
use crate::keys::ChunkKey;
use crate::outcome::{ChunkMeta, Lookup, Miss, Put, TierKind};

/// What all chunks of a store have in common, and what every record must therefore say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Whose KV it is.
    pub identity: Identity,
    /// Its shape.
    pub shape: ChunkShape,
}

/// A chunk with the digests of its layers, which were made when it was sealed and go with it wherever it goes.
#[derive(Clone, Debug)]
pub struct Chunk {
    key: ChunkKey,
    meta: ChunkMeta,
    bytes: Vec<u8>,
    layer_digests: Arc<[Digest]>,
}

impl Chunk {
    /// Seals canonical bytes. `None` if they are not as many as the shape and `meta` say.
    pub fn seal(
        shape: &ChunkShape,
        key: ChunkKey,
        meta: ChunkMeta,
        bytes: Vec<u8>,
    ) -> Option<Self> {
        let num_tokens = u64::from(meta.num_tokens);
        let fits = shape.check(num_tokens).is_ok()
            && bytes.len() == shape.chunk_bytes(meta.num_tokens as usize);
        fits.then(|| {
            let layers = bytes.chunks_exact(shape.layer_bytes(meta.num_tokens as usize));
            let layer_digests = layers.map(Digest::of).collect();
            Chunk { key, meta, bytes, layer_digests }
        })
    }

    /// A chunk that another tier found, with the digests that it was produced with. If `bytes` are not the
    /// digests' bytes, the next read finds out.
    pub fn from_found(
        key: ChunkKey,
        meta: ChunkMeta,
        bytes: Vec<u8>,
        layer_digests: Arc<[Digest]>,
    ) -> Self {
        Chunk { key, meta, bytes, layer_digests }
    }

    /// Its name.
    pub fn key(&self) -> &ChunkKey {
        &self.key
    }

    /// What is known of it.
    pub fn meta(&self) -> &ChunkMeta {
        &self.meta
    }

    /// Canonical bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Digests of the layers.
    pub fn layer_digests(&self) -> &Arc<[Digest]> {
        &self.layer_digests
    }
}

/// Verified layers of a chunk, read where they lie in memory. The chunk stays there as long as this does, even if its tier
/// forgets it.
#[derive(Clone, Debug)]
pub struct Lent {
    chunk: Arc<Chunk>,
    bytes: Range<usize>,
}

impl Deref for Lent {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.chunk.bytes()[self.bytes.clone()]
    }
}

/// How full a tier is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Chunks that it knows of.
    pub num_chunks: u64,
    /// Their bytes, as they count against the cap.
    pub bytes: u64,
    /// The cap.
    pub cap_bytes: u64,
}

/// A place for chunks.
pub trait Tier: Send + Sync {
    /// What it is.
    fn kind(&self) -> TierKind;

    /// Whether a read is worth trying. Nothing is promised: only [`Tier::get`] decides.
    fn may_have(&self, key: &ChunkKey) -> bool;

    /// Reads a range of layers into `out` and verifies them there. `out` is as long as these layers are in the
    /// chunk, which so says how many tokens it must have.
    fn get(&self, key: &ChunkKey, layers: Range<usize>, out: &mut [u8]) -> Lookup;

    /// As [`Tier::get`], for a reader who needs no copy: a tier that has the chunk in memory verifies the layers there
    /// and lends them, and `out` only says how long they are.
    fn get_or_lend(
        &self,
        key: &ChunkKey,
        layers: Range<usize>,
        out: &mut [u8],
    ) -> (Lookup, Option<Lent>) {
        (self.get(key, layers, out), None)
    }

    /// Takes a chunk.
    fn put(&self, chunk: &Arc<Chunk>) -> Put;

    /// Forgets a chunk.
    fn remove(&self, key: &ChunkKey);

    /// What must be done from time to time: called every [`MAINTENANCE_MS`] milliseconds or so.
    fn maintain(&self) {}

    /// How full it is.
    fn usage(&self) -> Usage;

    /// What it has done.
    fn stats(&self) -> TierStats;
}

/// A tier that is opened with its store, once it is known whose KV that has.
pub trait OpenTier: Send + Sync {
    /// Opens it.
    ///
    /// # Errors
    /// The tier's own, which says what to change.
    fn open(
        &self,
        expected: Arc<Expected>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<dyn Tier>, Box<dyn std::error::Error + Send + Sync>>;
}

/// Milliseconds between two calls of [`Tier::maintain`].
pub const MAINTENANCE_MS: u64 = 250;

/// The tokens of a chunk whose `layers` are `num_bytes` long; or that no chunk has such layers.
pub(crate) fn tokens_of(
    shape: &ChunkShape,
    layers: &Range<usize>,
    num_bytes: usize,
) -> Result<usize, Miss> {
    let token_bytes = layers.len() * shape.layer_bytes(1);
    let fits = layers.end <= shape.num_layers as usize
        && token_bytes > 0
        && num_bytes > 0
        && num_bytes.is_multiple_of(token_bytes);
    if fits { Ok(num_bytes / token_bytes) } else { Err(Miss::Request) }
}
