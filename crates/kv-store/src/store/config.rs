//! Opening a store.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine_core::dtype::DType;

use super::workers::Workers;
use super::{Shared, Store};
use crate::chunk::{ChunkShape, ShapeError};
use crate::clock::{Clock, SystemClock};
use crate::codec::{FP8, LossyFp8};
use crate::identity::Identity;
use crate::keys::TenantTag;
use crate::tier::{
    DirectoryConfig, DirectoryError, DirectoryTier, Expected, HostConfig, HostTier, OpenTier, Tier,
};

/// How a store is made. Sizes are tokens.
#[derive(Clone)]
pub struct StoreConfig {
    /// Tokens of a full chunk.
    pub chunk_size: usize,
    /// A prompt's tail is stored in a multiple of so many tokens: the engine's kv_block.
    pub tail_granularity: usize,
    /// Threads that work on submitted requests.
    pub num_workers: usize,
    /// Most requests that wait for a worker.
    pub max_queued: usize,
    /// Whether what a far tier had is given to the nearer ones.
    pub promote: bool,
    /// Whether a store is done when the nearest tier has the chunk (write-back); the others get it behind its back.
    /// Otherwise it is done when every tier has it, as durable as that tier makes it (write-through).
    pub write_back: bool,
    /// Time to live of chunks that do not bring their own, milliseconds.
    pub ttl_ms: Option<u64>,
    /// The same for tenants that have one of their own.
    pub tenant_ttl_ms: BTreeMap<TenantTag, u64>,
    /// Rounds what is stored, for half the bytes where records are packed with [`Fp8`](crate::codec::Fp8); the identity
    /// must say so ([`FP8`]).
    pub lossy: Option<LossyFp8>,
    /// The tier of host memory, if any.
    pub host: Option<HostConfig>,
    /// The tier of a directory, if any.
    pub directory: Option<DirectoryConfig>,
    /// Tiers of other crates, opened with the store; farther than the others, from the nearest on.
    pub farther: Vec<Arc<dyn OpenTier>>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Default for StoreConfig {
    /// Chunks of 256 tokens, tails of 16, two workers, and no tier.
    fn default() -> Self {
        StoreConfig {
            chunk_size: 256,
            tail_granularity: 16,
            num_workers: 2,
            max_queued: 4096,
            promote: true,
            write_back: false,
            ttl_ms: None,
            tenant_ttl_ms: BTreeMap::new(),
            lossy: None,
            host: None,
            directory: None,
            farther: Vec::new(),
            clock: Arc::new(SystemClock::new()),
        }
    }
}

impl StoreConfig {
    /// What the identity of KV in this store must name: `None` where it is exact.
    pub fn lossy_codec(&self) -> Option<&'static str> {
        self.lossy.map(|_| FP8)
    }
}

/// A store that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A number that must not be zero.
    #[error("{option} is 0; it must be at least 1")]
    Zero {
        /// The option.
        option: &'static str,
    },
    /// Chunks of this shape cannot exist.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A tier of another crate cannot be used.
    #[error(transparent)]
    Tier(Box<dyn std::error::Error + Send + Sync>),
    /// Rounded KV under an identity of exact KV, or the other way round.
    #[error(
        "the store {}, and the identity's lossy codec is {identity:?} over {kv_dtype}; lossy stores need {FP8:?} over bf16, \
         exact ones another", if *.is_lossy { "rounds to FP8" } else { "is exact" }
    )]
    Lossy {
        /// Whether the store rounds.
        is_lossy: bool,
        /// What the identity says.
        identity: Option<String>,
        /// The identity's KV dtype.
        kv_dtype: String,
    },
    /// A thread could not be started.
    #[error("cannot start a worker thread of the KV store: {0}")]
    Thread(#[source] std::io::Error),
}

impl Store {
    /// Opens a store with the tiers of `config`.
    ///
    /// # Errors
    /// [`StoreError`], with what to change.
    pub fn open(
        config: StoreConfig,
        identity: Identity,
        shape: ChunkShape,
    ) -> Result<Self, StoreError> {
        let expected = Arc::new(Expected { identity, shape });
        let mut tiers: Vec<Arc<dyn Tier>> = Vec::new();
        if let Some(host) = &config.host {
            let clock = Arc::clone(&config.clock);
            tiers.push(Arc::new(HostTier::new(host, Arc::clone(&expected), clock)));
        }
        if let Some(directory) = &config.directory {
            let clock = Arc::clone(&config.clock);
            tiers.push(Arc::new(DirectoryTier::open(directory, Arc::clone(&expected), clock)?));
        }
        for tier in &config.farther {
            let clock = Arc::clone(&config.clock);
            tiers.push(tier.open(Arc::clone(&expected), clock).map_err(StoreError::Tier)?);
        }
        Store::with_tiers(config, expected, tiers)
    }

    /// Opens a store with tiers that were made elsewhere, from the nearest on; those of `config` are not made.
    ///
    /// # Errors
    /// [`StoreError`], with what to change.
    pub fn with_tiers(
        config: StoreConfig,
        expected: Arc<Expected>,
        tiers: Vec<Arc<dyn Tier>>,
    ) -> Result<Self, StoreError> {
        let numbers = [
            ("chunk_size", config.chunk_size),
            ("tail_granularity", config.tail_granularity),
            ("num_workers", config.num_workers),
            ("max_queued", config.max_queued),
        ];
        if let Some((option, _)) = numbers.iter().find(|(_, number)| *number == 0) {
            return Err(StoreError::Zero { option });
        }
        expected.shape.check(config.chunk_size as u64)?;
        let identity = &expected.identity;
        let says_so = identity.lossy_codec() == Some(FP8);
        let is_bf16 =
            identity.kv_dtype().parse() == Ok(DType::BF16) && expected.shape.element_bytes == 2;
        let is_lossy = config.lossy.is_some();
        if is_lossy != says_so || (is_lossy && !is_bf16) {
            let kv_dtype = identity.kv_dtype().to_owned();
            let identity = identity.lossy_codec().map(str::to_owned);
            return Err(StoreError::Lossy { is_lossy, identity, kv_dtype });
        }
        let shared = Arc::new(Shared { expected, config, tiers });
        let workers = Workers::start(&shared).map_err(StoreError::Thread)?;
        Ok(Store { shared, workers })
    }
}
