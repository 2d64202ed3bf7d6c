//! A store whose far tier may be a bucket.

use std::error::Error;
use std::sync::Arc;

use kv_store::chunk::ChunkShape;
use kv_store::clock::Clock;
use kv_store::config::{ConfigError, KvConfig, Place};
use kv_store::eviction::Pins;
use kv_store::identity::Identity;
use kv_store::store::{Store, StoreConfig, StoreError};
use kv_store::tier::{Expected, OpenTier, Tier};

use crate::error::ObjectError;
use crate::tier::{ObjectConfig, ObjectTier};

/// Why a configuration describes no store.
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

/// Opens what `config` describes.
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
    let config = store_config(config, max_model_len, block_size, pins)?;
    Ok(Store::open(config, identity, shape)?)
}

/// What `Store::open` takes, as [`KvConfig::store_config`] makes it, with a bucket as the farthest tier where `config`
/// names one. Nothing is asked of the bucket before the store is opened.
///
/// # Errors
/// [`OpenError`].
pub fn store_config(
    config: &KvConfig,
    max_model_len: usize,
    block_size: usize,
    pins: &Pins,
) -> Result<StoreConfig, OpenError> {
    let storage = config.storage.as_ref().map(|storage| (&storage.place, storage.cap_bytes));
    let Some((Place::Bucket { bucket, prefix, settings }, cap_bytes)) = storage else {
        return Ok(config.store_config(max_model_len, block_size, pins)?);
    };
    let object = ObjectConfig {
        cap_bytes: cap_bytes.unwrap_or(u64::MAX),
        policy: config.policy(pins),
        codecs: config.codecs(),
        ..ObjectConfig::s3(bucket, prefix, settings)?
    };
    let mut near = config.clone();
    near.storage = None;
    let mut store = near.store_config(max_model_len, block_size, pins)?;
    store.farther.push(Arc::new(object));
    Ok(store)
}

impl OpenTier for ObjectConfig {
    fn open(
        &self,
        expected: Arc<Expected>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<dyn Tier>, Box<dyn Error + Send + Sync>> {
        Ok(Arc::new(ObjectTier::open(self, expected, clock)?))
    }
}
