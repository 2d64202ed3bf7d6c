//! What a way to elsewhere must do.

use std::fmt;
use std::path::PathBuf;

use crate::error::TransferError;
use crate::memory::MemoryId;

/// A range elsewhere; its length is that of the local one it is paired with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Remote {
    /// Of a file, by its path below the backend's directory.
    File {
        /// The path.
        path: PathBuf,
        /// Where the range begins.
        offset: u64,
    },
    /// Of an object, by its name below the backend's prefix.
    Object {
        /// The name.
        key: String,
        /// Where the range begins; 0 to write, since objects are written whole.
        offset: u64,
    },
    /// Of a peer's registered memory.
    Memory {
        /// Its number there.
        memory: MemoryId,
        /// Where the range begins.
        offset: u64,
    },
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remote::File { path, offset } => write!(f, "{} from {offset}", path.display()),
            Remote::Object { key, offset } => write!(f, "object {key} from {offset}"),
            Remote::Memory { memory, offset } => write!(f, "memory {} from {offset}", memory.0),
        }
    }
}

/// A way to elsewhere. Called by several threads.
pub trait Backend: Send + Sync {
    /// What requests call it.
    fn name(&self) -> &str;

    /// Fills `out`, all of it or an error.
    ///
    /// # Errors
    /// Why not.
    fn read(&self, remote: &Remote, out: &mut [u8]) -> Result<(), TransferError>;

    /// Writes `bytes`, all of them or an error.
    ///
    /// # Errors
    /// Why not.
    fn write(&self, remote: &Remote, bytes: &[u8]) -> Result<(), TransferError>;

    /// Tells the other side something.
    ///
    /// # Errors
    /// [`TransferError::Remote`] where there is nobody to tell.
    fn notify(&self, message: &[u8]) -> Result<(), TransferError> {
        let _ = message;
        Err(TransferError::Remote {
            backend: self.name().to_owned(),
            remote: "anyone".to_owned(),
            reason: "nobody listens behind it".to_owned(),
        })
    }
}
