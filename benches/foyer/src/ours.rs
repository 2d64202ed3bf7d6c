//! `kv-store`'s tiers.

use std::path::Path;
use std::sync::Arc;

use kv_store::clock::SystemClock;
use kv_store::disk::{DirectDisk, Disk, LocalDisk};
use kv_store::eviction::lru;
use kv_store::tier::{DirectoryConfig, DirectoryTier, Durability, HostConfig, HostTier, Tier};

use crate::chunks::{Chunks, SHAPE, expected, key};
use crate::contender::Contender;

/// A tier, and what is put into it.
pub struct Ours<'a> {
    tier: Box<dyn Tier>,
    chunks: &'a Chunks,
}

impl<'a> Ours<'a> {
    pub fn in_memory(chunks: &'a Chunks, is_verified: bool) -> Self {
        let config = HostConfig { cap_bytes: 1 << 40, policy: lru() };
        let tier = HostTier::new(&config, expected(), Arc::new(SystemClock::new()));
        Ours { tier: Box::new(if is_verified { tier } else { tier.unverified() }), chunks }
    }

    pub fn on_disk(chunks: &'a Chunks, folder: &Path, is_direct: bool, is_verified: bool) -> Self {
        let disk: Arc<dyn Disk> = match is_direct {
            true => Arc::new(DirectDisk::new(folder)),
            false => Arc::new(LocalDisk),
        };
        let config = DirectoryConfig {
            disk,
            // foyer synchronises nothing either.
            durability: Durability::None,
            ..DirectoryConfig::new(folder, 1 << 40)
        };
        let tier = DirectoryTier::open(&config, expected(), Arc::new(SystemClock::new()))
            .expect("the folder can be written");
        Ours { tier: Box::new(if is_verified { tier } else { tier.unverified() }), chunks }
    }
}

impl Contender for Ours<'_> {
    fn put(&self, i: usize) {
        assert!(self.tier.put(&self.chunks.sealed(i)).is_there());
    }

    fn get(&self, i: usize, out: &mut [u8]) {
        let layers = 0..SHAPE.num_layers as usize;
        assert!(self.tier.get(&key(i), layers, out).is_hit());
    }

    fn remove(&self, i: usize) {
        self.tier.remove(&key(i));
    }
}
