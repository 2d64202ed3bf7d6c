//! A bucket's records, whosever they are.

use std::io;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use kv_store::inventory::{Inventory, Item, Remains};
use kv_store::keys::ChunkKey;
use kv_store::record::{self, Codecs, ReadAt};
use object_store::Error;

use crate::bucket::Bucket;
use crate::error::ObjectError;
use crate::tier::ObjectConfig;

/// The records of a bucket, below a prefix.
pub struct BucketInventory(Arc<Bucket>);

impl BucketInventory {
    /// Looks whether the bucket answers.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn open(config: &ObjectConfig) -> Result<Self, ObjectError> {
        let bucket = Bucket::new(config)?;
        bucket.list().map_err(|source| ObjectError::of_listing(&config.bucket, source))?;
        Ok(BucketInventory(Arc::new(bucket)))
    }
}

/// Headers and trailers are fetched alone; who reads more gets the whole object, once.
struct Object {
    bucket: Arc<Bucket>,
    item: Item,
    whole: OnceLock<Bytes>,
}

/// Reads up to this are requests of their own.
const SMALL_BYTES: usize = 64 << 10;

impl Object {
    fn small(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let end = self.item.bytes.min(offset.saturating_add(out.len() as u64));
        if offset >= end {
            return Ok(0);
        }
        let fetched = self.bucket.fetch_range(&self.item.key, offset..end);
        let piece = fetched.map_err(to_io)?;
        let num_bytes = piece.len().min(out.len());
        out[..num_bytes].copy_from_slice(&piece[..num_bytes]);
        Ok(num_bytes)
    }
}

impl ReadAt for Object {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        if let Some(whole) = self.whole.get() {
            return (&&**whole).read_at(offset, out);
        }
        if out.len() <= SMALL_BYTES {
            return self.small(offset, out);
        }
        // Longer than it was listed: another one since, or none.
        let fetched = self.bucket.fetch(&self.item.key, self.item.bytes).map_err(to_io)?;
        let whole = self.whole.get_or_init(|| fetched.unwrap_or_default());
        (&&**whole).read_at(offset, out)
    }

    fn num_bytes(&self) -> io::Result<u64> {
        Ok(self.whole.get().map_or(self.item.bytes, |whole| whole.len() as u64))
    }
}

impl Inventory for BucketInventory {
    fn list(&self) -> io::Result<Vec<Item>> {
        let records = self.0.list().map_err(to_io)?.into_iter();
        Ok(records.map(|(key, bytes)| Item { key, bytes }).collect())
    }

    fn open(&self, item: &Item) -> io::Result<Option<Box<dyn ReadAt>>> {
        let bucket = Arc::clone(&self.0);
        Ok(Some(Box::new(Object { bucket, item: *item, whole: OnceLock::new() })))
    }

    fn quarantine(&self, item: &Item, codecs: &Codecs) -> io::Result<bool> {
        // A bucket has no rename that could tell who was faster: it is looked at once more instead.
        let object = self.0.fetch(&item.key, u64::MAX).map_err(to_io)?;
        match object {
            Some(bytes) if record::verify_alone(&&*bytes, &item.key, codecs).is_err() => {
                self.0.set_aside(&item.key).map_err(to_io)
            }
            _ => Ok(false),
        }
    }

    fn remove(&self, item: &Item) -> io::Result<()> {
        self.0.delete(&item.key).map_err(to_io)
    }

    fn publish(&self, key: &ChunkKey, record: &[u8]) -> io::Result<bool> {
        match self.0.create(key, Bytes::copy_from_slice(record)) {
            Ok(()) => Ok(true),
            Err(Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(to_io(error)),
        }
    }

    fn quarantined(&self) -> io::Result<Remains> {
        let objects = self.0.list_quarantine().map_err(to_io)?;
        let bytes = objects.iter().map(|object| object.size).sum();
        Ok(Remains { num: objects.len() as u64, bytes })
    }

    fn empty_quarantine(&self) -> io::Result<Remains> {
        let mut removed = Remains::default();
        for object in self.0.list_quarantine().map_err(to_io)? {
            self.0.delete_at(object.location).map_err(to_io)?;
            removed.num += 1;
            removed.bytes += object.size;
        }
        Ok(removed)
    }
}

pub(crate) fn to_io(error: Error) -> io::Error {
    let kind = match error {
        Error::NotFound { .. } => io::ErrorKind::NotFound,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            io::ErrorKind::PermissionDenied
        }
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
