//! A directory's records.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::layout::Layout;
use crate::disk::{Disk, LocalDisk};
use crate::inventory::{Inventory, Item, Remains};
use crate::keys::ChunkKey;
use crate::record::{self, Codecs, ReadAt, WriterId};

/// The records of a directory that a directory tier uses or used. It is no member: it reserves nothing, and what it adds
/// beyond the cap, the members' evictor takes away.
pub struct DirectoryInventory {
    disk: Arc<dyn Disk>,
    layout: Layout,
    writer: WriterId,
    sequence: AtomicU64,
}

impl DirectoryInventory {
    /// Opens a directory that is a store already.
    ///
    /// # Errors
    /// The storage's; `NotFound` if there is no store.
    pub fn open(path: &Path) -> io::Result<Self> {
        let inventory = Self::new(path)?;
        inventory.disk.list(&inventory.layout.shard(&ChunkKey([0; 32])))?;
        Ok(inventory)
    }

    /// Opens a directory, or makes it a store.
    ///
    /// # Errors
    /// The storage's.
    pub fn create(path: &Path) -> io::Result<Self> {
        let inventory = Self::new(path)?;
        inventory.layout.create(&*inventory.disk).map_err(|(_, error)| error)?;
        Ok(inventory)
    }

    fn new(path: &Path) -> io::Result<Self> {
        let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
        let writer = WriterId(disk.unique()?);
        Ok(DirectoryInventory {
            disk,
            layout: Layout::new(path),
            writer,
            sequence: AtomicU64::new(0),
        })
    }

    /// The file that the record of `key` is, if it is there.
    pub fn path(&self, key: &ChunkKey) -> PathBuf {
        self.layout.record(key)
    }

    fn aside(&self, key: &ChunkKey) -> PathBuf {
        let sequence = self.sequence.fetch_add(1, Relaxed);
        // Of no identity: no store takes it for its own.
        self.layout.quarantine.join(format!("{key}-any-{:032x}-{sequence}", self.writer.0))
    }
}

fn unless_absent<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Inventory for DirectoryInventory {
    fn list(&self) -> io::Result<Vec<Item>> {
        let mut items = Vec::new();
        for shard in self.layout.shards() {
            let listed = self.disk.list(&shard)?.into_iter();
            items.extend(listed.filter_map(|file| {
                Some(Item { key: ChunkKey::parse(&file.name)?, bytes: file.physical_bytes })
            }));
        }
        items.sort_unstable();
        Ok(items)
    }

    fn open(&self, item: &Item) -> io::Result<Option<Box<dyn ReadAt>>> {
        let file = unless_absent(self.disk.open(&self.layout.record(&item.key)))?;
        Ok(file.map(|file| file as Box<dyn ReadAt>))
    }

    fn quarantine(&self, item: &Item, codecs: &Codecs) -> io::Result<bool> {
        let (record, aside) = (self.layout.record(&item.key), self.aside(&item.key));
        if unless_absent(self.disk.rename(&record, &aside))?.is_none() {
            return Ok(false);
        }
        let file = self.disk.open(&aside)?;
        if record::verify_alone(&*file, &item.key, codecs).is_err() {
            return Ok(true);
        }
        // Another process had put a good one there since. What is there now is as good.
        match self.disk.link(&aside, &record) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        self.disk.sync_dir(&self.layout.shard(&item.key))?;
        self.disk.remove(&aside)?;
        Ok(false)
    }

    fn remove(&self, item: &Item) -> io::Result<()> {
        unless_absent(self.disk.remove(&self.layout.record(&item.key))).map(|_| ())
    }

    fn publish(&self, key: &ChunkKey, record: &[u8]) -> io::Result<bool> {
        let staged = self.layout.staged(self.writer, self.sequence.fetch_add(1, Relaxed));
        let write = || {
            let mut file = self.disk.create_new(&staged)?;
            file.append(record)?;
            file.sync()?;
            drop(file);
            match self.disk.link(&staged, &self.layout.record(key)) {
                Ok(()) => self.disk.sync_dir(&self.layout.shard(key)).map(|()| true),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(error),
            }
        };
        let written = write();
        // What stays, a store that is opened here sweeps.
        let _ = self.disk.remove(&staged);
        written
    }

    fn quarantined(&self) -> io::Result<Remains> {
        let files = self.disk.list(&self.layout.quarantine)?;
        let bytes = files.iter().map(|file| file.physical_bytes).sum();
        Ok(Remains { num: files.len() as u64, bytes })
    }

    fn empty_quarantine(&self) -> io::Result<Remains> {
        let mut removed = Remains::default();
        for file in self.disk.list(&self.layout.quarantine)? {
            if unless_absent(self.disk.remove(&self.layout.quarantine.join(&file.name)))?.is_some()
            {
                removed.num += 1;
                removed.bytes += file.physical_bytes;
            }
        }
        Ok(removed)
    }
}
