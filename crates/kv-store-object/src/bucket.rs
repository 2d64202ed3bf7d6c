//! Objects of a bucket, asked for by threads that are not asynchronous.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use kv_store::keys::ChunkKey;
use kv_store::record;
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use tokio::runtime::Runtime;

use crate::error::ObjectError;
use crate::tier::ObjectConfig;

const NUM_RUNTIME_THREADS: usize = 2;
const HEAD_BYTES: u64 = 32 << 10;

/// The records below a prefix.
pub(crate) struct Bucket {
    store: Arc<dyn ObjectStore>,
    root: Path,
    records: Path,
    quarantine: Path,
    /// There until this is dropped.
    runtime: Option<Runtime>,
}

impl Bucket {
    pub(crate) fn new(config: &ObjectConfig) -> Result<Self, ObjectError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(NUM_RUNTIME_THREADS)
            .thread_name("kv-store-object")
            .enable_all()
            .build()
            .map_err(ObjectError::Runtime)?;
        let root = Path::from(config.prefix.as_str());
        Ok(Bucket {
            store: Arc::clone(&config.store),
            records: root.clone().join(format!("records-v{}", record::VERSION)),
            quarantine: root.clone().join("quarantine"),
            root,
            runtime: Some(runtime),
        })
    }

    fn path(&self, key: &ChunkKey) -> Path {
        let name = key.to_string();
        self.records.clone().join(&name[..2]).join(name)
    }

    /// Waits for what the runtime's own threads do: so the caller may be a thread of another runtime.
    fn wait<T: Send + 'static, F>(
        &self,
        work: impl FnOnce(Arc<dyn ObjectStore>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let stopped = || Error::NotSupported { source: "the tier is closed".into() };
        let (done, wait) = std::sync::mpsc::sync_channel(1);
        let runtime = self.runtime.as_ref().ok_or_else(stopped)?;
        let work = work(Arc::clone(&self.store));
        runtime.spawn(async move {
            // Whoever waited is gone only when the thread died.
            let _ = done.send(work.await);
        });
        wait.recv().map_err(|_| stopped())?
    }

    /// The whole object, or nothing of one that is longer than `longest`; `None` if there is none.
    pub(crate) fn fetch(&self, key: &ChunkKey, longest: u64) -> Result<Option<Bytes>, Error> {
        let path = self.path(key);
        unless_absent(self.wait(|store| async move {
            let object = store.get(&path).await?;
            if object.meta.size > longest {
                return Ok(Bytes::new());
            }
            object.bytes().await
        }))
    }

    /// What an object begins with: all of a header, were it of hundreds of layers. `None` if there is no object.
    pub(crate) fn fetch_head(&self, key: &ChunkKey) -> Result<Option<Bytes>, Error> {
        unless_absent(self.fetch_range(key, 0..HEAD_BYTES))
    }

    pub(crate) fn fetch_range(&self, key: &ChunkKey, range: Range<u64>) -> Result<Bytes, Error> {
        self.fetch_range_at(self.path(key), range)
    }

    /// An object's path by its name below the prefix; `None` if the name is none.
    pub(crate) fn path_of(&self, name: &str) -> Option<Path> {
        match self.root.as_ref() {
            "" => Path::parse(name).ok(),
            root => Path::parse(format!("{root}/{name}")).ok(),
        }
    }

    pub(crate) fn fetch_range_at(&self, path: Path, range: Range<u64>) -> Result<Bytes, Error> {
        self.wait(|store| async move { store.get_range(&path, range).await })
    }

    /// Writes an object, in the place of one that is there.
    pub(crate) fn put_at(&self, path: Path, bytes: Bytes) -> Result<(), Error> {
        self.wait(|store| async move { store.put(&path, bytes.into()).await.map(|_| ()) })
    }

    pub(crate) fn fetch_ranges(
        &self,
        key: &ChunkKey,
        ranges: Vec<Range<u64>>,
    ) -> Result<Vec<Bytes>, Error> {
        let path = self.path(key);
        self.wait(|store| async move { store.get_ranges(&path, &ranges).await })
    }

    /// Writes an object if there is none.
    pub(crate) fn create(&self, key: &ChunkKey, record: Bytes) -> Result<(), Error> {
        let path = self.path(key);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        self.wait(
            |store| async move { store.put_opts(&path, record.into(), options).await.map(|_| ()) },
        )
    }

    pub(crate) fn delete(&self, key: &ChunkKey) -> Result<(), Error> {
        let path = self.path(key);
        unless_absent(self.wait(|store| async move { store.delete(&path).await })).map(|_| ())
    }

    /// Takes an object where no reader looks; whether it was there.
    pub(crate) fn set_aside(&self, key: &ChunkKey) -> Result<bool, Error> {
        let (from, to) = (self.path(key), self.quarantine.clone().join(key.to_string()));
        let moved = unless_absent(self.wait(|store| async move {
            store.copy(&from, &to).await?;
            store.delete(&from).await
        }));
        moved.map(|moved| moved.is_some())
    }

    /// The records, by key, with their lengths.
    pub(crate) fn list(&self) -> Result<Vec<(ChunkKey, u64)>, Error> {
        let objects = self.list_below(self.records.clone())?.into_iter();
        let mut records: Vec<_> = objects
            .filter_map(|object| Some((ChunkKey::parse(object.location.filename()?)?, object.size)))
            .collect();
        records.sort_unstable();
        Ok(records)
    }

    pub(crate) fn list_quarantine(&self) -> Result<Vec<ObjectMeta>, Error> {
        self.list_below(self.quarantine.clone())
    }

    pub(crate) fn delete_at(&self, path: Path) -> Result<(), Error> {
        unless_absent(self.wait(|store| async move { store.delete(&path).await })).map(|_| ())
    }

    fn list_below(&self, prefix: Path) -> Result<Vec<ObjectMeta>, Error> {
        self.wait(|store| async move {
            let mut listing = store.list(Some(&prefix));
            let mut objects = Vec::new();
            while let Some(object) =
                std::future::poll_fn(|context| listing.as_mut().poll_next(context)).await
            {
                objects.push(object?);
            }
            Ok(objects)
        })
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // Waiting for the threads would panic in a thread of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn unless_absent<T>(done: Result<T, Error>) -> Result<Option<T>, Error> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
