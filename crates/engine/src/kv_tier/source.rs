//! Where an engine's store comes from.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use kv_store::chunk::ChunkShape;
use kv_store::config::{KvConfig, Note, Overrides, Resolved, Source, ThisMachine};
use kv_store::eviction::Pins;
use kv_store::identity::Identity;
use kv_store::store::{Store, StoreConfig};

use super::DEFAULT_LOAD_TIMEOUT;
use crate::error::LlmError;

/// What a store is opened for.
pub struct KvStoreUse {
    /// The longest sequence.
    pub max_model_len: usize,
    /// Token slots of a kv_block.
    pub block_size: usize,
    /// Whose KV.
    pub identity: Identity,
    /// Of which shape.
    pub shape: ChunkShape,
}

/// Why a store was not opened.
pub type OpenKvStoreError = Box<dyn Error + Send + Sync>;

/// Opens what a configuration describes.
pub type OpenKvStore = fn(&KvConfig, KvStoreUse) -> Result<Store, OpenKvStoreError>;

/// Opens what a configuration describes, unless that is a bucket.
pub(crate) fn open_local(config: &KvConfig, used: KvStoreUse) -> Result<Store, OpenKvStoreError> {
    let KvStoreUse { max_model_len, block_size, identity, shape } = used;
    let tiers = config.store_config(max_model_len, block_size, &Pins::default())?;
    Ok(Store::open(tiers, identity, shape)?)
}

/// The store that was asked for.
#[derive(Clone)]
enum Asked {
    Tiers(Box<StoreConfig>),
    Config(Box<KvConfig>),
    /// As vLLM's `kv_connector` and `kv_transfer_config`.
    Transfer {
        connector: String,
        config: String,
    },
}

/// Whether KV that a store has is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadPolicy {
    /// Always.
    #[default]
    Always,
    /// As far as that is faster than computing it, by what tiers and computation were measured to take. If it is
    /// fastest so, the first tokens are computed while the others are loaded. What was never measured is loaded.
    Planned,
    /// Behind so many tokens, whatever that takes: those are computed meanwhile, and all others that the store has
    /// are loaded. Without chunked prefill, as [`LoadPolicy::Always`].
    Behind(usize),
}

/// What the builder was told of a store.
#[derive(Clone)]
pub(crate) struct KvStoreSetup {
    asked: Option<Asked>,
    pub(crate) open: OpenKvStore,
    pub(crate) load_timeout: Duration,
    pub(crate) load_policy: Option<LoadPolicy>,
}

/// An open store, and what its engine is to do with it.
pub(crate) struct OpenedKvStore {
    pub(crate) store: Store,
    pub(crate) settings: KvTierSettings,
    /// What to tell of it.
    pub(crate) notes: Vec<Note>,
}

/// How an engine uses its store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KvTierSettings {
    /// A load that takes longer is given up.
    pub(crate) load_timeout: Duration,
    pub(crate) load_policy: LoadPolicy,
    /// Chunks are brought to memory while their request waits.
    pub(crate) prefetch: bool,
    /// The port that metrics are served on.
    pub(crate) metrics_port: Option<u16>,
}

impl KvStoreSetup {
    pub(crate) fn tiers(&mut self, config: StoreConfig) {
        self.asked = Some(Asked::Tiers(Box::new(config)));
    }

    pub(crate) fn config(&mut self, config: KvConfig) {
        self.asked = Some(Asked::Config(Box::new(config)));
    }

    pub(crate) fn transfer(&mut self, connector: String, config: String) {
        self.asked = Some(Asked::Transfer { connector, config });
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// What rounds the KV of the store, if one was asked for and that is not exact.
    ///
    /// # Errors
    /// [`LlmError::KvConfig`].
    pub(crate) fn lossy_codec(&self) -> Result<Option<&'static str>, LlmError> {
        Ok(match &self.asked {
            None => None,
            Some(Asked::Tiers(config)) => config.lossy_codec(),
            Some(Asked::Config(config)) => config.lossy_codec(),
            Some(Asked::Transfer { connector, config }) => {
                read_transfer(connector, config)?.and_then(|read| read.config.lossy_codec())
            }
        })
    }

    /// Opens the store, if one was asked for.
    ///
    /// # Errors
    /// [`LlmError::KvStore`].
    pub(crate) fn open(&self, used: KvStoreUse) -> Result<Option<OpenedKvStore>, LlmError> {
        let settings = KvTierSettings {
            load_timeout: self.load_timeout,
            load_policy: self.load_policy.unwrap_or_default(),
            prefetch: false,
            metrics_port: None,
        };
        let Some(asked) = &self.asked else { return Ok(None) };
        let (config, notes) = match asked {
            Asked::Tiers(config) => {
                let config =
                    StoreConfig { tail_granularity: used.block_size, ..(**config).clone() };
                let store = Store::open(config, used.identity, used.shape)?;
                return Ok(Some(OpenedKvStore { store, settings, notes: Vec::new() }));
            }
            Asked::Config(config) => ((**config).clone(), Vec::new()),
            Asked::Transfer { connector, config } => {
                let Some(read) = read_transfer(connector, config)? else { return Ok(None) };
                (read.config, read.notes)
            }
        };
        let settings = KvTierSettings {
            load_policy: self.load_policy.unwrap_or(LoadPolicy::Planned),
            prefetch: config.prefetch,
            metrics_port: config.metrics_port,
            ..settings
        };
        let store = (self.open)(&config, used).map_err(LlmError::KvStore)?;
        Ok(Some(OpenedKvStore { store, settings, notes }))
    }
}

fn read_transfer(connector: &str, config: &str) -> Result<Option<Resolved>, LlmError> {
    let source = Source::KvTransfer { connector: Some(connector), config };
    Ok(KvConfig::read(source, &Overrides::default(), &ThisMachine)?)
}

impl Default for KvStoreSetup {
    fn default() -> Self {
        KvStoreSetup {
            asked: None,
            open: open_local,
            load_timeout: DEFAULT_LOAD_TIMEOUT,
            load_policy: None,
        }
    }
}

/// Some parts of tiers cannot be printed.
impl fmt::Debug for KvStoreSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.asked {
            None => f.write_str("no store"),
            Some(Asked::Config(config)) => config.fmt(f),
            Some(Asked::Transfer { config, .. }) => f.write_str(config),
            Some(Asked::Tiers(config)) => f
                .debug_struct("StoreConfig")
                .field("chunk_size", &config.chunk_size)
                .field("host_bytes", &config.host.as_ref().map(|host| host.cap_bytes))
                .field("directory", &config.directory.as_ref().map(|directory| &directory.path))
                .finish_non_exhaustive(),
        }
    }
}
