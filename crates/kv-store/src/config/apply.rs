//! From a configuration to a store.

use std::sync::Arc;
use std::time::Duration;

use super::{Compression, ConfigError, Eviction, KvConfig, Place, TenantConfig};
use crate::codec::{BytePlane, FP8, Fp8, Lz4, Zstd, codecs};
use crate::disk::{DirectDisk, LocalDisk};
use crate::eviction::{Pins, PolicyFactory, TenantRule, governed, lfu, lru, s3_fifo};
use crate::keys::{Salt, TenantTag};
use crate::record::{Codecs, Plain};
use crate::store::StoreConfig;
use crate::tier::{DirectoryConfig, HostConfig};

impl KvConfig {
    /// What [`Store::open`](crate::store::Store::open) takes, for an engine whose sequences have up to `max_model_len`
    /// tokens in kv_blocks of `block_size`. What `pins` holds never leaves a tier.
    ///
    /// # Errors
    /// [`ConfigError::NoObjectTier`] for a bucket.
    pub fn store_config(
        &self,
        max_model_len: usize,
        block_size: usize,
        pins: &Pins,
    ) -> Result<StoreConfig, ConfigError> {
        let policy = self.policy(pins);
        let directory = match self.storage.as_ref().map(|storage| (&storage.place, storage)) {
            None => None,
            Some((Place::Bucket { bucket, .. }, _)) => {
                return Err(ConfigError::NoObjectTier { bucket: bucket.clone() });
            }
            Some((Place::Directory { path, .. }, storage)) => Some(DirectoryConfig {
                durability: self.durability,
                policy: Arc::clone(&policy),
                codecs: self.codecs(),
                disk: match storage.is_direct {
                    true => Arc::new(DirectDisk::new(path)),
                    false => Arc::new(LocalDisk),
                },
                ..DirectoryConfig::new(path, storage.cap_bytes.unwrap_or(u64::MAX))
            }),
        };
        let defaults = StoreConfig::default();
        Ok(StoreConfig {
            chunk_size: self.chunk_size.tokens(max_model_len),
            tail_granularity: block_size,
            num_workers: self.num_io_threads.map_or(defaults.num_workers, |n| n.get().into()),
            write_back: self.async_write,
            ttl_ms: self.ttl.map(milliseconds),
            tenant_ttl_ms: self.tenants.iter().filter_map(own_ttl_ms).collect(),
            lossy: self.lossy,
            host: self.host_bytes.map(|cap_bytes| HostConfig { cap_bytes, policy }),
            directory,
            ..defaults
        })
    }

    /// What the identity of KV in this store must name ([`IdentityParts`](crate::identity::IdentityParts)): `None` where
    /// it is exact.
    pub fn lossy_codec(&self) -> Option<&'static str> {
        self.lossy.map(|_| FP8)
    }

    /// Time to live of a tenant's chunks, milliseconds: its own, else everyone's.
    pub fn ttl_ms(&self, tenant: &str) -> Option<u64> {
        let own = self.tenants.iter().find(|known| known.name == tenant);
        own.and_then(|tenant| tenant.ttl).or(self.ttl).map(milliseconds)
    }

    /// What leaves its tiers, under the tenants' rules.
    pub fn policy(&self, pins: &Pins) -> PolicyFactory {
        let base = match self.eviction {
            Eviction::Lru => lru(),
            Eviction::Lfu => lfu(),
            Eviction::S3Fifo => s3_fifo(),
        };
        let rules = self.tenants.iter().map(|tenant| TenantRule {
            tenant: Salt::tenant(&tenant.name).tenant_tag(),
            quota_bytes: tenant.quota_bytes,
            floor_bytes: tenant.floor_bytes,
        });
        governed(base, pins.clone(), rules.collect())
    }

    /// How records are encoded, and all that can be read.
    pub fn codecs(&self) -> Codecs {
        if self.lossy.is_some() {
            return codecs(Arc::new(Fp8));
        }
        match self.compression {
            Compression::None => codecs(Arc::new(Plain)),
            Compression::Lz4 => codecs(Arc::new(Lz4)),
            Compression::Zstd { level } => codecs(Arc::new(Zstd { level })),
            Compression::BytePlane { level } => codecs(Arc::new(BytePlane { level })),
        }
    }
}

fn own_ttl_ms(tenant: &TenantConfig) -> Option<(TenantTag, u64)> {
    Some((Salt::tenant(&tenant.name).tenant_tag(), milliseconds(tenant.ttl?)))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
