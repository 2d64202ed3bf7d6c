//! Chunks in host memory.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Chunk, Expected, Lent, Tier, Usage, tokens_of};
use crate::clock::Clock;
use crate::counters::{Counters, TierStats};
use crate::digest::{Digest, copy_and_digest};
use crate::eviction::{Admission, Entry, EvictionPolicy, PolicyFactory, lru};
use crate::keys::ChunkKey;
use crate::outcome::{Corruption, Found, Lookup, Miss, Put, Reject, TierKind};
use crate::record::Verification;

/// How host memory is used.
#[derive(Clone)]
pub struct HostConfig {
    /// Most bytes of chunks.
    pub cap_bytes: u64,
    /// What leaves when it is full.
    pub policy: PolicyFactory,
}

impl HostConfig {
    /// LRU under a cap.
    pub fn lru(cap_bytes: u64) -> Self {
        HostConfig { cap_bytes, policy: lru() }
    }
}

/// Chunks in host memory, under a byte cap. What is read is verified in the reader's buffer, and what is lent where it
/// lies, just before: memory errs too, and a bug that writes into the tier must not become an answer.
pub struct HostTier {
    expected: Arc<Expected>,
    clock: Arc<dyn Clock>,
    cap_bytes: u64,
    verification: Verification,
    inner: Mutex<Inner>,
    counters: Counters,
}

struct Inner {
    chunks: HashMap<ChunkKey, Arc<Chunk>>,
    policy: Box<dyn EvictionPolicy>,
    bytes: u64,
}

impl HostTier {
    /// An empty tier.
    pub fn new(config: &HostConfig, expected: Arc<Expected>, clock: Arc<dyn Clock>) -> Self {
        let inner = Inner { chunks: HashMap::new(), policy: (config.policy)(), bytes: 0 };
        HostTier {
            expected,
            clock,
            cap_bytes: config.cap_bytes,
            verification: Verification::On,
            inner: Mutex::new(inner),
            counters: Counters::default(),
        }
    }

    /// The same, comparing nothing with digests: to measure what that costs, and for nothing else.
    #[must_use]
    pub fn unverified(mut self) -> Self {
        self.verification = Verification::Off;
        self
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves a map whose chunks are verified all the same.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds layers that are `num_bytes` long, and asks for each whether it is what was sealed, with the place where it
    /// begins among them and its digest.
    fn read(
        &self,
        key: &ChunkKey,
        layers: Range<usize>,
        num_bytes: usize,
        mut is_exact: impl FnMut(usize, &[u8], Digest) -> bool,
    ) -> Result<Arc<Chunk>, Lookup> {
        let shape = &self.expected.shape;
        let num_tokens = tokens_of(shape, &layers, num_bytes).map_err(Lookup::Miss)?;
        let chunk = self.inner().find(key).ok_or(Lookup::Miss(Miss::Absent))?;
        if chunk.meta().is_expired(self.clock.unix_ms()) {
            self.remove(key);
            return Err(Lookup::Miss(Miss::Expired));
        }
        if chunk.meta().num_tokens as usize != num_tokens {
            return Err(Lookup::Miss(Miss::Request));
        }
        let layer_bytes = shape.layer_bytes(num_tokens);
        let from = &chunk.bytes()[shape.layers_range(layers.clone(), num_tokens)];
        for (i, (layer, from)) in layers.zip(from.chunks_exact(layer_bytes)).enumerate() {
            if !is_exact(i * layer_bytes, from, chunk.layer_digests()[layer]) {
                self.remove(key);
                return Err(Lookup::Corrupt(Corruption::Raw { layer: layer as u32 }));
            }
        }
        Ok(chunk)
    }

    fn copy(&self, key: &ChunkKey, layers: Range<usize>, out: &mut [u8]) -> Lookup {
        let read = self.read(key, layers, out.len(), |start, from, digest| {
            let to = &mut out[start..][..from.len()];
            if self.verification == Verification::On {
                return copy_and_digest(from, to) == digest;
            }
            to.copy_from_slice(from);
            true
        });
        read.map_or_else(|lookup| lookup, |chunk| found(&chunk))
    }

    fn lend(
        &self,
        key: &ChunkKey,
        layers: Range<usize>,
        num_bytes: usize,
    ) -> (Lookup, Option<Lent>) {
        let read = self.read(key, layers.clone(), num_bytes, |_, from, digest| {
            self.verification == Verification::Off || Digest::of(from) == digest
        });
        match read {
            Ok(chunk) => {
                let lookup = found(&chunk);
                let num_tokens = chunk.meta().num_tokens as usize;
                let bytes = self.expected.shape.layers_range(layers, num_tokens);
                (lookup, Some(Lent { chunk, bytes }))
            }
            Err(lookup) => (lookup, None),
        }
    }

    fn write(&self, chunk: &Arc<Chunk>) -> Put {
        let bytes = chunk.bytes().len() as u64;
        let shape = &self.expected.shape;
        if chunk.bytes().len() != shape.chunk_bytes(chunk.meta().num_tokens as usize)
            || chunk.layer_digests().len() != shape.num_layers as usize
        {
            return Put::Rejected(Reject::Request);
        }
        if bytes > self.cap_bytes {
            return Put::Rejected(Reject::TooLarge);
        }
        let mut inner = self.inner();
        if inner.find(chunk.key()).is_some() {
            return Put::AlreadyThere;
        }
        let entry = Entry { bytes, tenant: Some(chunk.meta().tenant) };
        loop {
            let victim = match inner.policy.admit(&entry) {
                Admission::Yes => break,
                Admission::After(victim) => inner.take(&victim),
                Admission::Never => None,
            };
            match victim {
                Some(evicted) => self.counters.count_eviction(evicted.bytes().len() as u64),
                None => return Put::Rejected(Reject::Policy),
            }
        }
        while inner.bytes + bytes > self.cap_bytes {
            let victim = inner.policy.victim();
            match victim.and_then(|victim| inner.take(&victim)) {
                Some(evicted) => self.counters.count_eviction(evicted.bytes().len() as u64),
                // Nothing may leave, or the policy named what is not there.
                None => return Put::Rejected(Reject::Full),
            }
        }
        inner.bytes += bytes;
        inner.policy.inserted(chunk.key(), entry);
        inner.chunks.insert(*chunk.key(), Arc::clone(chunk));
        Put::Stored
    }
}

fn found(chunk: &Chunk) -> Lookup {
    Lookup::Hit(Found {
        tier: TierKind::Host,
        meta: chunk.meta().clone(),
        layer_digests: Arc::clone(chunk.layer_digests()),
    })
}

impl Inner {
    fn find(&mut self, key: &ChunkKey) -> Option<Arc<Chunk>> {
        let chunk = self.chunks.get(key)?;
        self.policy.touched(key);
        Some(Arc::clone(chunk))
    }

    fn take(&mut self, key: &ChunkKey) -> Option<Arc<Chunk>> {
        self.policy.removed(key);
        let chunk = self.chunks.remove(key)?;
        self.bytes -= chunk.bytes().len() as u64;
        Some(chunk)
    }
}

impl Tier for HostTier {
    fn kind(&self) -> TierKind {
        TierKind::Host
    }

    fn may_have(&self, key: &ChunkKey) -> bool {
        self.inner().chunks.contains_key(key)
    }

    fn get(&self, key: &ChunkKey, layers: Range<usize>, out: &mut [u8]) -> Lookup {
        self.counters.reading(out.len(), || self.copy(key, layers, out))
    }

    fn get_or_lend(
        &self,
        key: &ChunkKey,
        layers: Range<usize>,
        out: &mut [u8],
    ) -> (Lookup, Option<Lent>) {
        let mut lent = None;
        let lookup = self.counters.reading(out.len(), || {
            let lookup;
            (lookup, lent) = self.lend(key, layers, out.len());
            lookup
        });
        (lookup, lent)
    }

    fn put(&self, chunk: &Arc<Chunk>) -> Put {
        self.counters.writing(chunk.bytes().len(), || self.write(chunk))
    }

    fn remove(&self, key: &ChunkKey) {
        self.inner().take(key);
    }

    fn usage(&self) -> Usage {
        let inner = self.inner();
        let num_chunks = inner.chunks.len() as u64;
        Usage { num_chunks, bytes: inner.bytes, cap_bytes: self.cap_bytes }
    }

    fn stats(&self) -> TierStats {
        self.counters.stats()
    }
}
