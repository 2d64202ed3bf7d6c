//! Chunks as objects of a bucket.
//!
//! An object is the same record as a file. It is written with "only if nothing is there" (`If-None-Match: *`), so that
//! of several writers the first wins, and no reader ever sees a half one. As with files nothing is believed: not that
//! it is listed, not its length, not its entity tag.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::{ClientOptions, Error, ObjectStore, RetryConfig};

use kv_store::clock::Clock;
use kv_store::config::S3Settings;
use kv_store::counters::{Counters, TierStats};
use kv_store::eviction::{Admission, Index, PolicyFactory, lru};
use kv_store::keys::{ChunkKey, TenantTag};
use kv_store::outcome::{Corruption, Found, Lookup, Miss, Put, Reject, TierKind};
use kv_store::record::{
    self, ALIGNMENT, Codecs, Origin, ReadOutcome, Reader, Unverified, Verification, WriterId,
    header_bytes,
};
use kv_store::tier::{Chunk, Expected, Tier, Usage};

use crate::bucket::Bucket;
use crate::client;
use crate::error::ObjectError;
use crate::pieces::Pieces;

/// A request that gets no answer for so long has failed: computing is then the faster way.
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_RETRIES: usize = 2;
/// Each is a request, and other tiers wait for their turn.
const MEETINGS_AT_ONCE: usize = 64;

/// How a bucket is used.
#[derive(Clone)]
pub struct ObjectConfig {
    /// The bucket, or whatever else has its interface.
    pub store: Arc<dyn ObjectStore>,
    /// What it is called in errors.
    pub bucket: String,
    /// What all names begin with; may be empty.
    pub prefix: String,
    /// Most bytes, by what this process knows of the bucket.
    pub cap_bytes: u64,
    /// What leaves when they are reached.
    pub policy: PolicyFactory,
    /// How records are encoded.
    pub codecs: Codecs,
    /// Milliseconds after which the bucket is listed again: others write to it too.
    pub list_every_ms: u64,
}

impl ObjectConfig {
    /// LRU without a cap, uncompressed, listed each minute.
    pub fn new(store: Arc<dyn ObjectStore>, bucket: &str, prefix: &str) -> Self {
        ObjectConfig {
            store,
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            cap_bytes: u64::MAX,
            policy: lru(),
            codecs: Codecs::default(),
            list_every_ms: 60_000,
        }
    }

    /// An S3 bucket; what `settings` leave open is the environment's (`AWS_ENDPOINT_URL`, `AWS_REGION`,
    /// `AWS_ACCESS_KEY_ID`, …). An endpoint `http://` is taken at its word.
    ///
    /// # Errors
    /// [`ObjectError::Client`] with what both lack.
    pub fn s3(bucket: &str, prefix: &str, settings: &S3Settings) -> Result<Self, ObjectError> {
        let builder = client::with_settings(AmazonS3Builder::from_env(), bucket, settings);
        Self::s3_with(builder, bucket, prefix)
    }

    /// An S3 bucket by a client's own settings.
    ///
    /// # Errors
    /// [`ObjectError::Client`] with what they lack.
    pub fn s3_with(
        builder: AmazonS3Builder,
        bucket: &str,
        prefix: &str,
    ) -> Result<Self, ObjectError> {
        // Fails if someone has chosen one before: then that one is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let retry = RetryConfig {
            max_retries: MAX_RETRIES,
            retry_timeout: TIMEOUT,
            ..RetryConfig::default()
        };
        let client = ClientOptions::new().with_timeout(TIMEOUT).with_allow_http(true);
        let builder = builder.with_client_options(client).with_retry(retry);
        let store = builder.with_bucket_name(bucket).build();
        let store =
            store.map_err(|source| ObjectError::Client { bucket: bucket.to_owned(), source })?;
        Ok(ObjectConfig::new(Arc::new(store), bucket, prefix))
    }
}

/// Chunks in a bucket.
pub struct ObjectTier {
    expected: Arc<Expected>,
    clock: Arc<dyn Clock>,
    config: ObjectConfig,
    bucket: Bucket,
    verification: Verification,
    writer: WriterId,
    sequence: AtomicU64,
    index: Mutex<Index>,
    listed_ms: AtomicU64,
    counters: Counters,
}

impl ObjectTier {
    /// Lists the bucket, and takes what is there.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn open(
        config: &ObjectConfig,
        expected: Arc<Expected>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ObjectError> {
        let policy = (config.policy)();
        let tier = ObjectTier {
            expected,
            config: config.clone(),
            bucket: Bucket::new(config)?,
            verification: Verification::On,
            writer: WriterId(unique()),
            sequence: AtomicU64::new(0),
            index: Mutex::new(Index::new(policy)),
            listed_ms: AtomicU64::new(clock.monotonic_ms()),
            clock,
            counters: Counters::default(),
        };
        tier.list().map_err(|source| ObjectError::of_listing(&config.bucket, source))?;
        Ok(tier)
    }

    /// The same, comparing nothing with digests: to measure what that costs, and for nothing else.
    #[must_use]
    pub fn unverified(mut self) -> Self {
        self.verification = Verification::Off;
        self
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // A panic elsewhere leaves an account that the next listing corrects.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The whole object, which should have so many tokens; `None` if there is none.
    fn fetch(&self, key: &ChunkKey, num_tokens: usize) -> Result<Option<Bytes>, Error> {
        let shape = &self.expected.shape;
        // No codec makes a layer much longer than it is.
        let longest = 2 * shape.chunk_bytes(num_tokens) as u64
            + u64::from(shape.num_layers) * ALIGNMENT as u64
            + header_bytes(shape.num_layers) as u64
            + 2 * ALIGNMENT as u64;
        self.bucket.fetch(key, longest)
    }

    /// What is wrong is kept, where no reader looks, for whoever wants to know why.
    fn quarantine(&self, key: &ChunkKey) {
        // If it cannot be moved, the next reader tries again.
        if self.bucket.set_aside(key).is_ok_and(|was_there| was_there) {
            self.counters.quarantined.fetch_add(1, Relaxed);
            tracing::warn!(tier = "object", %key, "a damaged record is set aside; its KV is computed again");
        }
        self.index().remove(key);
    }

    fn reader(&self) -> Reader<'_> {
        let unix_ms = self.clock.unix_ms();
        let verification = self.verification;
        Reader { expected: &self.expected, codecs: &self.config.codecs, unix_ms, verification }
    }

    /// Some layers alone, where they are if the record is plain; `None` where that does not answer the question, and
    /// the whole object must be asked.
    fn read_pieces(&self, key: &ChunkKey, layers: &Range<usize>, out: &mut [u8]) -> Option<Lookup> {
        let shape = &self.expected.shape;
        let num_layers = shape.num_layers as usize;
        let is_part = !layers.is_empty() && layers.len() < num_layers && layers.end <= num_layers;
        let token_bytes = layers.len() * shape.layer_bytes(1);
        if !is_part
            || !self.config.codecs.write().is_plain()
            || !out.len().is_multiple_of(token_bytes)
        {
            return None;
        }
        let ranges = Pieces::of_plain(shape, layers, out.len() / token_bytes);
        let pieces = self.bucket.fetch_ranges(key, ranges.to_vec()).ok()?;
        let pieces = Pieces::new(&ranges, pieces)?;
        match self.reader().layers(&pieces, key, layers.clone(), out) {
            ReadOutcome::Exact(meta, layer_digests) => {
                self.index().touched(key);
                Some(Lookup::Hit(Found { tier: TierKind::Object, meta, layer_digests }))
            }
            ReadOutcome::Miss(_) | ReadOutcome::Corrupt(_) => None,
        }
    }

    fn read(&self, key: &ChunkKey, layers: Range<usize>, out: &mut [u8]) -> Lookup {
        if let Some(hit) = self.read_pieces(key, &layers, out) {
            return hit;
        }
        // Only for the length of what is fetched: the reader checks them.
        let token_bytes = layers.len().max(1) * self.expected.shape.layer_bytes(1);
        let num_tokens = out.len() / token_bytes.max(1);
        let read_once = |out: &mut [u8]| match self.fetch(key, num_tokens) {
            Ok(None) => None,
            Ok(Some(bytes)) => Some(self.reader().layers(&&bytes[..], key, layers.clone(), out)),
            Err(_) => Some(ReadOutcome::Miss(Miss::Io)),
        };
        // Bytes that were wrong on their way here are not wrong where they are stored.
        let outcome = match read_once(out) {
            Some(ReadOutcome::Corrupt(_)) => read_once(out),
            outcome => outcome,
        };
        match outcome {
            None => {
                self.index().remove(key);
                Lookup::Miss(Miss::Absent)
            }
            Some(ReadOutcome::Exact(meta, layer_digests)) => {
                self.index().touched(key);
                Lookup::Hit(Found { tier: TierKind::Object, meta, layer_digests })
            }
            Some(ReadOutcome::Miss(miss)) => {
                if miss == Miss::Expired {
                    self.remove(key);
                }
                Lookup::Miss(miss)
            }
            Some(ReadOutcome::Corrupt(corruption)) => {
                // Of a codec that another version has, nothing is wrong.
                if corruption != Corruption::Codec {
                    self.quarantine(key);
                }
                Lookup::Corrupt(corruption)
            }
        }
    }

    fn write(&self, chunk: &Arc<Chunk>) -> Put {
        let shape = &self.expected.shape;
        if chunk.bytes().len() != shape.chunk_bytes(chunk.meta().num_tokens as usize)
            || chunk.layer_digests().len() != shape.num_layers as usize
        {
            return Put::Rejected(Reject::Request);
        }
        let sequence = self.sequence.fetch_add(1, Relaxed);
        let codec = self.config.codecs.write();
        // A bucket answers when it has the object for good.
        let origin = Origin { writer: self.writer, sequence, is_durable: true };
        let record = Bytes::from(record::encode(chunk, &self.expected, codec, origin));
        let (num_bytes, tenant) = (record.len() as u64, chunk.meta().tenant);
        if let Err(reject) = self.make_room(num_bytes, tenant) {
            return Put::Rejected(reject);
        }
        // Once more if what was there had to be put aside.
        for _ in 0..2 {
            match self.bucket.create(chunk.key(), record.clone()) {
                Ok(()) => {
                    self.index().insert(chunk.key(), num_bytes, Some(tenant));
                    return Put::Stored;
                }
                Err(Error::AlreadyExists { .. }) => {}
                // Several writers at once: a server may refuse all but one with a conflict.
                Err(_) => return self.after_failure(chunk),
            }
            match self.fetch(chunk.key(), chunk.meta().num_tokens as usize) {
                Err(_) => return Put::Failed,
                Ok(None) => {}
                Ok(Some(there)) => match self.reader().verify(&&there[..], chunk.key()) {
                    Ok(_) => {
                        self.index().insert(chunk.key(), there.len() as u64, Some(tenant));
                        return Put::AlreadyThere;
                    }
                    Err(Unverified::Miss(Miss::Expired)) => self.remove(chunk.key()),
                    Err(Unverified::Corrupt(corruption)) if corruption != Corruption::Codec => {
                        self.quarantine(chunk.key());
                    }
                    Err(_) => return Put::Failed,
                },
            }
        }
        Put::Failed
    }

    /// A write that failed may have been done, by this writer or by another.
    fn after_failure(&self, chunk: &Chunk) -> Put {
        let there = self.fetch(chunk.key(), chunk.meta().num_tokens as usize);
        match there {
            Ok(Some(there)) if self.reader().verify(&&there[..], chunk.key()).is_ok() => {
                let tenant = Some(chunk.meta().tenant);
                self.index().insert(chunk.key(), there.len() as u64, tenant);
                Put::AlreadyThere
            }
            _ => Put::Failed,
        }
    }

    fn make_room(&self, num_bytes: u64, tenant: TenantTag) -> Result<(), Reject> {
        if num_bytes > self.config.cap_bytes {
            return Err(Reject::TooLarge);
        }
        loop {
            let victim = {
                let mut index = self.index();
                match index.admit(num_bytes, tenant) {
                    Admission::Never => return Err(Reject::Policy),
                    Admission::After(victim) => victim,
                    Admission::Yes if index.bytes() + num_bytes <= self.config.cap_bytes => {
                        return Ok(());
                    }
                    Admission::Yes => index.victim().ok_or(Reject::Full)?,
                }
            };
            if self.index().is_stranger(&victim) {
                // It may be someone's who is promised that it stays.
                self.meet(&victim).map_err(|_| Reject::Full)?;
                continue;
            }
            self.bucket.delete(&victim).map_err(|_| Reject::Full)?;
            if let Some(bytes) = self.index().remove(&victim) {
                self.counters.count_eviction(bytes);
            }
        }
    }

    /// Takes what others wrote and removed.
    fn list(&self) -> Result<(), Error> {
        let listing = self.index().begin_listing();
        let listed: BTreeMap<ChunkKey, u64> = self.bucket.list()?.into_iter().collect();
        self.index().take_listing(&listing, &listed);
        Ok(())
    }

    /// Asks some records whose they are of which the policy wants to know: those of before a restart, and of others.
    fn meet_strangers(&self) {
        for _ in 0..MEETINGS_AT_ONCE {
            let stranger = self.index().stranger();
            match stranger.map(|key| self.meet(&key)) {
                Some(Ok(())) => {}
                // There is none, or the bucket does not answer now.
                None | Some(Err(_)) => return,
            }
        }
    }

    fn meet(&self, key: &ChunkKey) -> Result<(), Error> {
        let Some(head) = self.bucket.fetch_head(key)? else {
            self.index().remove(key);
            return Ok(());
        };
        let header = record::header_alone(&&head[..], key).ok();
        self.index().met(key, header.map(|(header, _)| header.meta.tenant));
        Ok(())
    }
}

/// The system's randomness, through the seed that every hash map has.
fn unique() -> u128 {
    let half = || u128::from(RandomState::new().build_hasher().finish());
    half() << 64 | half()
}

impl Tier for ObjectTier {
    fn kind(&self) -> TierKind {
        TierKind::Object
    }

    fn may_have(&self, key: &ChunkKey) -> bool {
        self.index().contains(key)
    }

    fn get(&self, key: &ChunkKey, layers: Range<usize>, out: &mut [u8]) -> Lookup {
        self.counters.reading(out.len(), || self.read(key, layers, out))
    }

    fn put(&self, chunk: &Arc<Chunk>) -> Put {
        self.counters.writing(chunk.bytes().len(), || self.write(chunk))
    }

    fn remove(&self, key: &ChunkKey) {
        // What cannot be removed stays, and is as good as before.
        let _ = self.bucket.delete(key);
        self.index().remove(key);
    }

    fn maintain(&self) {
        let now = self.clock.monotonic_ms();
        if now.saturating_sub(self.listed_ms.load(Relaxed)) >= self.config.list_every_ms {
            self.listed_ms.store(now, Relaxed);
            // A bucket that does not answer is as it was.
            let _ = self.list();
        }
        self.meet_strangers();
    }

    fn usage(&self) -> Usage {
        let index = self.index();
        let num_chunks = index.num_chunks() as u64;
        Usage { num_chunks, bytes: index.bytes(), cap_bytes: self.config.cap_bytes }
    }

    fn stats(&self) -> TierStats {
        self.counters.stats()
    }
}
