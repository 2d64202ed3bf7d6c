//! Files of this machine, read past the page cache.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use transfer::{Fallbacks, OpenFile, Posix};

use super::{Disk, DiskFile, Listed, LocalDisk};
use crate::record::ReadAt;

/// [`LocalDisk`], whose reads go past the page cache, many at once: for a disk that is faster than memory is large.
/// What is read often lives in the tier of host memory, and not twice.
pub struct DirectDisk {
    directory: PathBuf,
    files: OnceLock<Posix>,
}

impl DirectDisk {
    /// For files below `directory`: with `io_uring` and `O_DIRECT`, or threads, or the page cache. What works there is
    /// tried when the first file is opened: the directory need not be there before.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        DirectDisk { directory: directory.into(), files: OnceLock::new() }
    }

    /// What does not work, and why.
    pub fn fallbacks(&self) -> Fallbacks {
        self.files().fallbacks()
    }

    fn files(&self) -> &Posix {
        self.files.get_or_init(|| {
            let files = Posix::direct(&self.directory);
            let Fallbacks { no_ring, no_direct } = files.fallbacks();
            let directory = self.directory.display();
            if let Some(why) = no_ring {
                tracing::warn!(%directory, why, "the KV store's files are read by threads, not by io_uring");
            }
            if let Some(why) = no_direct {
                tracing::warn!(%directory, why, "the KV store's files are read through the page cache");
            }
            files
        })
    }
}

impl Disk for DirectDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        LocalDisk.create_dir(path)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        LocalDisk.create_new(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let Ok(below) = path.strip_prefix(&self.directory) else {
            let (path, directory) = (path.display(), self.directory.display());
            let error = format!("{path} is not below {directory}, where this disk's files are");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        };
        Ok(Box::new(self.files().open(below)?))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        LocalDisk.link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        LocalDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        LocalDisk.remove(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        LocalDisk.list(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        LocalDisk.sync_dir(path)
    }

    fn unique(&self) -> io::Result<u128> {
        LocalDisk.unique()
    }
}

impl ReadAt for OpenFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        Ok(OpenFile::read_at(self, offset, out)?)
    }

    fn read_through(
        &self,
        offset: u64,
        out: &mut [u8],
        seen: &mut dyn FnMut(&[u8]),
    ) -> io::Result<usize> {
        Ok(OpenFile::read_through(self, offset, out, seen)?)
    }

    fn num_bytes(&self) -> io::Result<u64> {
        Ok(OpenFile::num_bytes(self)?)
    }
}

impl DiskFile for OpenFile {
    fn append(&mut self, _: &[u8]) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this file was opened for reading"))
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this file was opened for reading"))
    }
}
