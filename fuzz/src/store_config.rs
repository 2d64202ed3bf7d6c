//! What must hold of every configuration of a KV store that the reader accepts. The reader's own tests include this
//! file.

use std::io;
use std::path::Path;

use kv_store::config::{KvConfig, Machine, Mounts, Overrides, Place, Source};

/// A machine of which everything is known.
struct Known;

impl Machine for Known {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn free_memory_bytes(&self) -> io::Result<u64> {
        Ok(1 << 30)
    }

    fn storage_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(1 << 40)
    }

    fn mounts(&self) -> Mounts {
        Mounts::parse("30 20 0:40 / /srv/vast rw - nfs4 vast:/ rw")
    }
}

/// Any bytes as a configuration, and as vLLM's argument. Whether they were accepted as the former.
pub fn store_config(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let argument = Source::KvTransfer { connector: Some("lmcache"), config: text };
    for source in [argument, Source::Text(text)] {
        match KvConfig::read(source, &Overrides::default(), &Known) {
            Ok(resolved) => assert_config(&resolved.expect("no text is read as silence").config),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    KvConfig::read(Source::Text(text), &Overrides::default(), &Known).is_ok()
}

fn assert_config(config: &KvConfig) {
    assert!(config.host_bytes.is_some() || config.storage.is_some());
    assert!((1..=65536).contains(&config.chunk_size.tokens(1 << 20)));
    assert!(config.host_bytes != Some(0) && config.ttl.is_none_or(|ttl| !ttl.is_zero()));
    if let Some(storage) = &config.storage {
        let is_capped = storage.cap_bytes.is_some_and(|bytes| bytes > 0);
        assert!(is_capped || matches!(storage.place, Place::Bucket { .. }));
    }
    for tenant in &config.tenants {
        assert!(tenant.quota_bytes.is_none_or(|quota| quota >= tenant.floor_bytes));
    }
}
