//! foyer's caches: a `Cache` for memory, the storage of a `HybridCache` for files.

use std::path::Path;

use bytes::Bytes;
use foyer::{
    BlockEngineConfig, Cache, CacheBuilder, DeviceBuilder as _, Error, FsDeviceBuilder,
    HybridCache, HybridCacheBuilder, IoEngineConfig, Load, PsyncIoEngineConfig, RecoverMode,
    UringIoEngineConfig,
};
use tokio::runtime::{Builder, Runtime};

use crate::chunks::Chunks;
use crate::contender::Contender;

/// A block of its files: the largest entry must fit.
const BLOCK_BYTES: usize = 64 << 20;
/// What waits to be written; beyond this, entries are dropped.
const BUFFER_BYTES: usize = 512 << 20;
/// Of the memory before the files, which is not what is measured.
const MEMORY_BYTES: usize = 1;

/// The cache in memory. It compares nothing.
pub struct InMemory<'a> {
    cache: Cache<u64, Bytes>,
    chunks: &'a Chunks,
}

impl<'a> InMemory<'a> {
    pub fn new(chunks: &'a Chunks) -> Self {
        let cache =
            CacheBuilder::new(1 << 40).with_weighter(|_: &u64, value: &Bytes| value.len()).build();
        InMemory { cache, chunks }
    }
}

impl Contender for InMemory<'_> {
    fn put(&self, i: usize) {
        self.cache.insert(i as u64, Bytes::copy_from_slice(self.chunks.bytes(i)));
    }

    fn get(&self, i: usize, out: &mut [u8]) {
        out.copy_from_slice(self.cache.get(&(i as u64)).expect("it was put").value());
    }

    fn remove(&self, i: usize) {
        self.cache.remove(&(i as u64));
    }
}

/// The cache on disk. It compares what it reads with an xxh64, and has no way not to.
pub struct OnDisk<'a> {
    cache: HybridCache<u64, Bytes>,
    runtime: Runtime,
    chunks: &'a Chunks,
}

impl<'a> OnDisk<'a> {
    /// Direct reads by io_uring, others by system calls.
    ///
    /// # Errors
    /// foyer's, such as for a kernel without io_uring.
    pub fn new(chunks: &'a Chunks, folder: &Path, is_direct: bool) -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.expect("threads can be started");
        let cache = runtime.block_on(open(chunks, folder, is_direct))?;
        Ok(OnDisk { cache, runtime, chunks })
    }
}

async fn open(
    chunks: &Chunks,
    folder: &Path,
    is_direct: bool,
) -> Result<HybridCache<u64, Bytes>, Error> {
    let io: Box<dyn IoEngineConfig> = match is_direct {
        true => Box::new(UringIoEngineConfig::new()),
        false => Box::new(PsyncIoEngineConfig::new()),
    };
    // Room for what was removed and is not reclaimed yet.
    let capacity = 4 * chunks.total_bytes() + 8 * BLOCK_BYTES;
    let device =
        FsDeviceBuilder::new(folder).with_capacity(capacity).with_direct(is_direct).build()?;
    let engine = BlockEngineConfig::new(device)
        .with_block_size(BLOCK_BYTES)
        .with_buffer_pool_size(BUFFER_BYTES)
        .with_submit_queue_size_threshold(BUFFER_BYTES);
    HybridCacheBuilder::new()
        .memory(MEMORY_BYTES)
        .with_weighter(|_: &u64, value: &Bytes| value.len())
        .storage()
        .with_io_engine_config(io)
        .with_engine_config(engine)
        .with_recover_mode(RecoverMode::None)
        .build()
        .await
}

impl Contender for OnDisk<'_> {
    fn put(&self, i: usize) {
        let value = Bytes::copy_from_slice(self.chunks.bytes(i));
        let entry = self.cache.storage_writer(i as u64).force().insert(value);
        drop(entry.expect("what is forced is admitted"));
        self.runtime.block_on(self.cache.storage().wait());
    }

    fn get(&self, i: usize, out: &mut [u8]) {
        match self.runtime.block_on(self.cache.storage().load(&(i as u64))) {
            Ok(Load::Entry { value, .. }) => out.copy_from_slice(&value),
            other => panic!("chunk {i} was put: {other:?}"),
        }
    }

    fn remove(&self, i: usize) {
        self.cache.remove(&(i as u64));
    }
}
