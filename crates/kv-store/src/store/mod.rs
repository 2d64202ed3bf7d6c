//! Chunks over several tiers, looked up by prompt.
//!
//! Tiers are asked from the nearest to the farthest, and what a far one had goes to those before it. Every
//! read is verified by the tier that gives it.

mod config;
mod workers;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use engine_core::request::TokenId;

pub use config::{StoreConfig, StoreError};
pub use workers::{Completion, Done, Loaded, Request, SubmitError, Ticket};

use crate::counters::TierStats;
use crate::keys::{self, ChunkKey, ChunkOf, Salt, TenantTag};
use crate::outcome::{ChunkMeta, Lookup, Miss, Put, Reject, TierKind};
use crate::tier::{Chunk, Expected, Lent, Tier, Usage};
use workers::Workers;

/// A chunk that a prompt begins with, and the nearest tier that may have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Its name.
    pub key: ChunkKey,
    /// Which tokens of the prompt it has.
    pub tokens: Range<usize>,
    /// Where it should be.
    pub tier: TierKind,
}

/// The chunks that a prompt begins with, without a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// In the prompt's order.
    pub chunks: Vec<Hit>,
}

impl Hits {
    /// Tokens of the prompt that need not be computed if all chunks can be read.
    pub fn num_tokens(&self) -> usize {
        self.chunks.last().map_or(0, |hit| hit.tokens.end)
    }
}

/// What is to be stored besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewChunk {
    /// Its name.
    pub key: ChunkKey,
    /// Which tokens of the prompt it has.
    pub tokens: Range<usize>,
    /// Whose it is.
    pub tenant: TenantTag,
    /// Time to live, milliseconds; `None`: its tenant's, else the store's.
    pub ttl_ms: Option<u64>,
}

/// The outcome of a write in each tier, from the nearest on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Puts(pub Vec<(TierKind, Put)>);

impl Puts {
    /// What came of it in a tier.
    pub fn of(&self, kind: TierKind) -> Option<Put> {
        self.0.iter().find(|(tier, _)| *tier == kind).map(|(_, put)| *put)
    }

    /// Whether any tier has the chunk now.
    pub fn is_there(&self) -> bool {
        self.0.iter().any(|(_, put)| put.is_there())
    }
}

/// Chunks of KV over several tiers. Dropping it waits for what is being done, not for what is queued
/// ([`Store::flush`]).
pub struct Store {
    shared: Arc<Shared>,
    workers: Workers,
}

/// What the caller's threads and the workers use.
struct Shared {
    expected: Arc<Expected>,
    config: StoreConfig,
    tiers: Vec<Arc<dyn Tier>>,
}

impl Store {
    /// The tokens of full chunks.
    pub fn chunk_size(&self) -> usize {
        self.shared.config.chunk_size
    }

    /// Whose KV it has, of which shape.
    pub fn expected(&self) -> &Expected {
        &self.shared.expected
    }

    /// The codec that rounded its KV, which is then not what was computed; `None` where it is exact.
    pub fn lossy_codec(&self) -> Option<&str> {
        self.shared.expected.identity.lossy_codec()
    }

    /// The tiers, from the nearest on.
    pub fn tiers(&self) -> &[Arc<dyn Tier>] {
        &self.shared.tiers
    }

    /// The chunks that `tokens` begin with and that some tier may have: full ones first, then the longest tail.
    /// Asks no storage.
    pub fn lookup(&self, salt: &Salt, tokens: &[TokenId]) -> Hits {
        let shared = &self.shared;
        let identity = &shared.expected.identity;
        let mut hits = Hits::default();
        let mut parent = ChunkKey::root(identity, salt);
        let chunk_size = shared.config.chunk_size;
        for start in (0..).step_by(chunk_size) {
            let Some(chunk) = tokens.get(start..start + chunk_size) else { break };
            let key = parent.child(chunk);
            let Some(tier) = shared.nearest(&key) else { break };
            hits.chunks.push(Hit { key, tokens: start..start + chunk_size, tier });
            parent = key;
        }
        let start = hits.num_tokens();
        // A full chunk here is missing, or there are not enough tokens for one.
        let longest = tokens.len().min(start + chunk_size - 1);
        let mut tail =
            keys::tail(&parent, start, &tokens[start..longest], shared.config.tail_granularity);
        let found = tail.find_map(|ChunkOf { key, tokens }| {
            shared.nearest(&key).map(|tier| Hit { key, tokens, tier })
        });
        hits.chunks.extend(found);
        hits
    }

    /// The chunks that `tokens` should be stored as: full ones, then one tail of as many whole granules as
    /// are left.
    pub fn chunks_of(&self, salt: &Salt, tokens: &[TokenId]) -> Vec<ChunkOf> {
        let config = &self.shared.config;
        let identity = &self.shared.expected.identity;
        let mut chunks = keys::chain(identity, salt, tokens, config.chunk_size);
        let start = chunks.last().map_or(0, |chunk| chunk.tokens.end);
        let parent =
            chunks.last().map_or_else(|| ChunkKey::root(identity, salt), |chunk| chunk.key);
        chunks.extend(keys::tail(&parent, start, &tokens[start..], config.tail_granularity).next());
        chunks
    }

    /// Reads a range of layers of a chunk into `out`, which is as long as these layers are, from the nearest
    /// tier that gives them. `Hit` means that the bytes in `out` were verified there.
    pub fn get(&self, key: &ChunkKey, layers: Range<usize>, out: &mut [u8]) -> Lookup {
        self.shared.get(key, layers, out)
    }

    /// Writes a chunk's canonical bytes to every tier.
    pub fn put(&self, new: NewChunk, bytes: Vec<u8>) -> Puts {
        self.shared.put(new, bytes)
    }

    /// Queues a request for the workers. Loads go before stores.
    ///
    /// # Errors
    /// [`SubmitError`] with the request, when the queue is full.
    pub fn submit(&self, request: Request) -> Result<Ticket, SubmitError> {
        self.workers.submit(request)
    }

    /// What has been completed since the last call.
    pub fn poll(&self) -> Vec<Completion> {
        self.workers.poll()
    }

    /// Waits until there is something to [`Store::poll`], at most `timeout`; whether there is.
    pub fn wait(&self, timeout: Duration) -> bool {
        self.workers.wait(timeout)
    }

    /// Waits until every submitted request is completed.
    pub fn flush(&self) {
        self.workers.flush();
    }

    /// How full each tier is and what it has done, from the nearest on.
    pub fn stats(&self) -> Vec<(TierKind, Usage, TierStats)> {
        let tiers = self.shared.tiers.iter();
        tiers.map(|tier| (tier.kind(), tier.usage(), tier.stats())).collect()
    }
}

impl Shared {
    fn nearest(&self, key: &ChunkKey) -> Option<TierKind> {
        self.tiers.iter().find(|tier| tier.may_have(key)).map(|tier| tier.kind())
    }

    fn get(&self, key: &ChunkKey, layers: Range<usize>, out: &mut [u8]) -> Lookup {
        let read = |tier: &dyn Tier, out: &mut [u8]| (tier.get(key, layers.clone(), out), None);
        self.nearest_read(key, &layers, out, read).0
    }

    fn get_or_lend(
        &self,
        key: &ChunkKey,
        layers: Range<usize>,
        out: &mut [u8],
    ) -> (Lookup, Option<Lent>) {
        let read = |tier: &dyn Tier, out: &mut [u8]| tier.get_or_lend(key, layers.clone(), out);
        self.nearest_read(key, &layers, out, read)
    }

    /// Reads from one tier after the other until one gives the layers.
    fn nearest_read(
        &self,
        key: &ChunkKey,
        layers: &Range<usize>,
        out: &mut [u8],
        read: impl Fn(&dyn Tier, &mut [u8]) -> (Lookup, Option<Lent>),
    ) -> (Lookup, Option<Lent>) {
        let mut outcome = Lookup::Miss(Miss::Absent);
        for (i, tier) in self.tiers.iter().enumerate() {
            let (lookup, lent) = read(&**tier, out);
            match (&lookup, &outcome) {
                (Lookup::Hit(found), _) => {
                    let is_whole = layers.len() == self.expected.shape.num_layers as usize;
                    if is_whole && self.config.promote && i > 0 {
                        let digests = Arc::clone(&found.layer_digests);
                        let meta = found.meta.clone();
                        let bytes = lent.as_deref().unwrap_or(out).to_vec();
                        let chunk = Chunk::from_found(*key, meta, bytes, digests);
                        self.promote(&Arc::new(chunk), i);
                    }
                    return (lookup, lent);
                }
                // Of several tiers' reasons the worst is told.
                (Lookup::Corrupt(_), _) | (Lookup::Miss(_), Lookup::Miss(Miss::Absent)) => {
                    outcome = lookup;
                }
                (Lookup::Miss(_), _) => {}
            }
        }
        (outcome, None)
    }

    /// Brings a chunk to the nearest tier.
    fn prefetch(&self, key: &ChunkKey, num_tokens: usize) -> Lookup {
        let shape = &self.expected.shape;
        if shape.check(num_tokens as u64).is_err() {
            return Lookup::Miss(Miss::Request);
        }
        let mut buffer = vec![0; shape.chunk_bytes(num_tokens)];
        self.get(key, 0..shape.num_layers as usize, &mut buffer)
    }

    /// Gives a chunk to the tiers before number `i`.
    fn promote(&self, chunk: &Arc<Chunk>, i: usize) {
        for tier in &self.tiers[..i] {
            // A tier that does not take it has counted that.
            tier.put(chunk);
        }
    }

    fn put(&self, new: NewChunk, bytes: Vec<u8>) -> Puts {
        match self.seal(new, bytes) {
            Ok(chunk) => Puts(put_in(&self.tiers, &chunk)),
            Err(refused) => refused,
        }
    }

    /// Writes to the nearest tier, and gives the chunk if the others are to get it later: not if there are no others,
    /// or if the nearest has not taken it.
    fn put_near(&self, new: NewChunk, bytes: Vec<u8>) -> (Puts, Option<Arc<Chunk>>) {
        let chunk = match self.seal(new, bytes) {
            Ok(chunk) => chunk,
            Err(refused) => return (refused, None),
        };
        let (near, far) = self.tiers.split_at(self.tiers.len().min(1));
        let mut puts = Puts(put_in(near, &chunk));
        if puts.is_there() && !far.is_empty() {
            return (puts, Some(chunk));
        }
        puts.0.extend(put_in(far, &chunk));
        (puts, None)
    }

    /// What [`Shared::put_near`] left.
    fn put_far(&self, chunk: &Arc<Chunk>) {
        // Each tier has counted what came of it.
        put_in(self.tiers.get(1..).unwrap_or_default(), chunk);
    }

    /// No tier takes it.
    fn refuse(&self, reject: Reject) -> Puts {
        Puts(self.tiers.iter().map(|tier| (tier.kind(), Put::Rejected(reject))).collect())
    }

    fn seal(&self, new: NewChunk, mut bytes: Vec<u8>) -> Result<Arc<Chunk>, Puts> {
        if let Some(lossy) = self.config.lossy {
            // Bytes of another length are no chunk, and are refused for that below.
            let layer_bytes = bytes.len() / self.expected.shape.num_layers as usize;
            if lossy.round(layer_bytes, &mut bytes).is_err() {
                return Err(self.refuse(Reject::Policy));
            }
        }
        let created_ms = self.config.clock.unix_ms();
        let of_tenant = self.config.tenant_ttl_ms.get(&new.tenant).copied();
        let ttl_ms = new.ttl_ms.or(of_tenant).or(self.config.ttl_ms);
        let meta = ChunkMeta {
            first_token: new.tokens.start as u64,
            num_tokens: u32::try_from(new.tokens.len()).unwrap_or(u32::MAX),
            tenant: new.tenant,
            created_ms,
            expires_ms: ttl_ms.map(|ttl_ms| created_ms.saturating_add(ttl_ms)),
        };
        let chunk = Chunk::seal(&self.expected.shape, new.key, meta, bytes);
        chunk.map(Arc::new).ok_or_else(|| self.refuse(Reject::Request))
    }
}

fn put_in(tiers: &[Arc<dyn Tier>], chunk: &Arc<Chunk>) -> Vec<(TierKind, Put)> {
    let put_in = |tier: &Arc<dyn Tier>| {
        let put = tier.put(chunk);
        if put == Put::Failed {
            let (tier, key) = (tier.kind().name(), chunk.key());
            tracing::warn!(tier, %key, "a tier of the KV store failed: a chunk is not kept there");
        }
        (tier.kind(), put)
    };
    tiers.iter().map(put_in).collect()
}
