//! What a directory tier asks of a machine. The real one and a simulated one, which loses power, reorders and
//! fails, run the very same code above this trait.

mod direct;
mod local;

use std::io;
use std::path::Path;

pub use direct::DirectDisk;
pub use local::LocalDisk;

use crate::record::ReadAt;

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its last component. Names that are no UTF-8 are none of ours and are not listed.
    pub name: String,
    /// What it takes of the disk, bytes.
    pub physical_bytes: u64,
}

/// Directories and files. Every method may fail at any time with anything.
pub trait Disk: Send + Sync {
    /// Makes a directory, whose parent is there; `AlreadyExists` if there is one.
    ///
    /// # Errors
    /// The storage's.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes a file that must not be there.
    ///
    /// # Errors
    /// The storage's.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// The storage's.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file a second name, which must not be there: `AlreadyExists` if it is.
    ///
    /// # Errors
    /// The storage's.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file another name, and takes it from the file that had it.
    ///
    /// # Errors
    /// The storage's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes a name from a file.
    ///
    /// # Errors
    /// The storage's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The files of a directory.
    ///
    /// # Errors
    /// The storage's.
    fn list(&self, path: &Path) -> io::Result<Vec<Listed>>;

    /// Makes the names in a directory survive a loss of power.
    ///
    /// # Errors
    /// The storage's.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// A number that no other process of any machine has.
    ///
    /// # Errors
    /// The storage's.
    fn unique(&self) -> io::Result<u128>;
}

/// An open file.
pub trait DiskFile: ReadAt + Send {
    /// Writes at the end.
    ///
    /// # Errors
    /// The storage's.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes the file's bytes survive a loss of power.
    ///
    /// # Errors
    /// The storage's. After an error nothing is known of the bytes.
    fn sync(&self) -> io::Result<()>;
}
