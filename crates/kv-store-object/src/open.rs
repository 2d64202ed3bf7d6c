//! A store whose far tier may be a bucket.

use std::sync::Arc;

use kv_store::chunk::ChunkShape;
use kv_store::config::{ConfigError, KvConfig, Place};
use kv_store::eviction::Pins;
use kv_store::identity::Identity;
use kv_store::store::{Store, StoreError};
use kv_store::tier::{Expected, HostTier, Tier};

use crate::tier::{ObjectConfig, ObjectError, ObjectTier};

/// Why a configured store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The bucket.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opens what `config` describes, a bucket included; otherwise as [`KvConfig::store_config`] and [`Store::open`] do.
///
/// # Errors
/// [`OpenError`].
pub fn open(
    config: &KvConfig,
    max_model_len: usize,
    block_size: usize,
    pins: &Pins,
    identity: Identity,
    shape: ChunkShape,
) -> Result<Store, OpenError> {
    let storage = config.storage.as_ref().map(|storage| (&storage.place, storage.cap_bytes));
    let Some((Place::Bucket { bucket, prefix }, cap_bytes)) = storage else {
        let config = config.store_config(max_model_len, block_size, pins)?;
        return Ok(Store::open(config, identity, shape)?);
    };
    let object = ObjectConfig {
        cap_bytes: cap_bytes.unwrap_or(u64::MAX),
        policy: config.policy(pins),
        codecs: config.codecs(),
        ..ObjectConfig::s3(bucket, prefix)?
    };
    let mut near = config.clone();
    near.storage = None;
    let near = near.store_config(max_model_len, block_size, pins)?;
    let expected = Arc::new(Expected { identity, shape });
    let mut tiers: Vec<Arc<dyn Tier>> = Vec::new();
    if let Some(host) = &near.host {
        let clock = Arc::clone(&near.clock);
        tiers.push(Arc::new(HostTier::new(host, Arc::clone(&expected), clock)));
    }
    let clock = Arc::clone(&near.clock);
    tiers.push(Arc::new(ObjectTier::open(&object, Arc::clone(&expected), clock)?));
    Ok(Store::with_tiers(near, expected, tiers)?)
}
