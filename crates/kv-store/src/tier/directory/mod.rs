//! Chunks in a directory that any number of processes on any number of machines share.
//!
//! A record is written under a name that nobody else has, made durable as far as asked, and published by a link
//! that replaces nothing: the first writer wins, and the key says that the others had the same bytes. A reader
//! believes a record only after it compared and digested it; existence, length, age and listings prove
//! nothing. No file is ever changed after it was published, and no locks are used, which file servers lose.
//!
//! ```text
//! records-v1/K/KEY          published records, K the key's first digit
//! staging/WRITER-N          being written
//! quarantine/KEY-WRITER-N   taken away because a reader found it wrong
//! members/WRITER.BEAT.BYTES who is alive, and what it may still write
//! evictor/EPOCH             who makes room
//! ```
//!
//! A record that is to leave is unlinked at once: who reads it goes on, or, on a file server, gets an error that
//! is a miss.

mod evictor;
mod inventory;
mod layout;
mod members;
mod publish;
mod quarantine;
mod space;

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Chunk, Expected, Tier, Usage};
use crate::clock::Clock;
use crate::counters::{Counters, TierStats};
use crate::disk::{Disk, LocalDisk};
use crate::eviction::{Index, PolicyFactory, lru};
use crate::keys::ChunkKey;
use crate::outcome::{Found, Lookup, Miss, Put, TierKind};
use crate::record::{Codecs, ReadOutcome, Reader, Verification, WriterId};
pub use inventory::DirectoryInventory;
use layout::Layout;
use space::Space;

/// What survives a loss of power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// What the system happened to write: the fastest, for a cache of this boot.
    #[default]
    None,
    /// A record that is found is whole; a stored one may be gone.
    Data,
    /// A stored record is found.
    Strict,
}

/// How a directory is used.
#[derive(Clone)]
pub struct DirectoryConfig {
    /// The directory; it is made if its parent is there.
    pub path: PathBuf,
    /// Most bytes that all processes together keep in it.
    pub cap_bytes: u64,
    /// What survives a loss of power.
    pub durability: Durability,
    /// What leaves when it is full.
    pub policy: PolicyFactory,
    /// How records are encoded.
    pub codecs: Codecs,
    /// A process of which nothing was seen for so long is taken for dead, milliseconds. Each measures it with
    /// its own clock.
    pub lease_ms: u64,
    /// The machine.
    pub disk: Arc<dyn Disk>,
}

impl DirectoryConfig {
    /// LRU under a cap, on this machine's files, undurable, uncompressed.
    pub fn new(path: impl Into<PathBuf>, cap_bytes: u64) -> Self {
        DirectoryConfig {
            path: path.into(),
            cap_bytes,
            durability: Durability::default(),
            policy: lru(),
            codecs: Codecs::default(),
            lease_ms: 10_000,
            disk: Arc::new(LocalDisk),
        }
    }
}

/// A directory that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The storage refused.
    #[error("cannot use {} as a KV store: {source}; it must be a directory that this user may write", path.display())]
    Io {
        /// What could not be used.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Chunks in a shared directory.
pub struct DirectoryTier {
    expected: Arc<Expected>,
    clock: Arc<dyn Clock>,
    disk: Arc<dyn Disk>,
    codecs: Codecs,
    layout: Layout,
    durability: Durability,
    verification: Verification,
    cap_bytes: u64,
    lease_ms: u64,
    writer: WriterId,
    sequence: AtomicU64,
    /// Sequence numbers of the staging files that are being written.
    in_flight: Mutex<BTreeSet<u64>>,
    index: Mutex<Index>,
    space: Mutex<Space>,
    counters: Counters,
}

/// A panic elsewhere leaves accounts that the next scan corrects, and records that are verified all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DirectoryTier {
    /// Opens a directory, and finds what is in it.
    ///
    /// # Errors
    /// [`DirectoryError`] with the path and the system's reason.
    pub fn open(
        config: &DirectoryConfig,
        expected: Arc<Expected>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DirectoryError> {
        let disk = Arc::clone(&config.disk);
        let layout = Layout::new(&config.path);
        let io_error = |path: PathBuf| move |source| DirectoryError::Io { path, source };
        layout.create(&*disk).map_err(|(path, source)| DirectoryError::Io { path, source })?;
        let writer = WriterId(disk.unique().map_err(io_error(config.path.clone()))?);
        let tier = DirectoryTier {
            expected,
            clock,
            disk,
            codecs: config.codecs.clone(),
            layout,
            durability: config.durability,
            verification: Verification::On,
            cap_bytes: config.cap_bytes,
            lease_ms: config.lease_ms,
            writer,
            sequence: AtomicU64::new(0),
            in_flight: Mutex::default(),
            index: Mutex::new(Index::new((config.policy)())),
            space: Mutex::default(),
            counters: Counters::default(),
        };
        tier.join().map_err(io_error(config.path.clone()))?;
        tier.recover_quarantine();
        tier.scan().map_err(io_error(config.path.clone()))?;
        tier.meet_strangers();
        Ok(tier)
    }

    /// The same, comparing nothing with digests: to measure what that costs, and for nothing else.
    #[must_use]
    pub fn unverified(mut self) -> Self {
        self.verification = Verification::Off;
        self
    }

    fn reader(&self) -> Reader<'_> {
        Reader {
            expected: &self.expected,
            codecs: &self.codecs,
            unix_ms: self.clock.unix_ms(),
            verification: self.verification,
        }
    }

    fn next_sequence(&self) -> u64 {
        self.sequence.fetch_add(1, Relaxed)
    }

    fn read(&self, key: &ChunkKey, layers: Range<usize>, out: &mut [u8]) -> Lookup {
        let first = self.read_once(key, layers.clone(), out);
        // Bytes that were wrong on their way here are not wrong where they are stored.
        let outcome = match first {
            Some(ReadOutcome::Corrupt(_)) => self.read_once(key, layers, out),
            outcome => outcome,
        };
        match outcome {
            None => {
                lock(&self.index).remove(key);
                Lookup::Miss(Miss::Absent)
            }
            Some(ReadOutcome::Exact(meta, layer_digests)) => {
                lock(&self.index).touched(key);
                Lookup::Hit(Found { tier: TierKind::Disk, meta, layer_digests })
            }
            Some(ReadOutcome::Miss(miss)) => {
                if miss == Miss::Expired {
                    self.set_aside(key);
                }
                Lookup::Miss(miss)
            }
            Some(ReadOutcome::Corrupt(corruption)) => {
                if quarantine::is_wrong(corruption) {
                    self.set_aside(key);
                }
                Lookup::Corrupt(corruption)
            }
        }
    }

    /// `None` if there is no such file.
    fn read_once(
        &self,
        key: &ChunkKey,
        layers: Range<usize>,
        out: &mut [u8],
    ) -> Option<ReadOutcome> {
        match self.disk.open(&self.layout.record(key)) {
            Ok(file) => Some(self.reader().layers(&*file, key, layers, out)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(_) => Some(ReadOutcome::Miss(Miss::Io)),
        }
    }
}

impl Tier for DirectoryTier {
    fn kind(&self) -> TierKind {
        TierKind::Disk
    }

    fn may_have(&self, key: &ChunkKey) -> bool {
        lock(&self.index).contains(key)
    }

    fn get(&self, key: &ChunkKey, layers: Range<usize>, out: &mut [u8]) -> Lookup {
        self.counters.reading(out.len(), || self.read(key, layers, out))
    }

    fn put(&self, chunk: &Arc<Chunk>) -> Put {
        self.counters.writing(chunk.bytes().len(), || self.write(chunk))
    }

    fn remove(&self, key: &ChunkKey) {
        // What cannot be removed stays, and is as good as before.
        let _ = self.disk.remove(&self.layout.record(key));
        lock(&self.index).remove(key);
    }

    fn maintain(&self) {
        self.beat();
        self.rescan();
    }

    fn usage(&self) -> Usage {
        let index = lock(&self.index);
        let num_chunks = index.num_chunks() as u64;
        Usage { num_chunks, bytes: index.bytes(), cap_bytes: self.cap_bytes }
    }

    fn stats(&self) -> TierStats {
        self.counters.stats()
    }
}

impl Drop for DirectoryTier {
    /// Leaves, so that the others need not wait for a lease to end.
    fn drop(&mut self) {
        self.leave();
    }
}
