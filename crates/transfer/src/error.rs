//! What can go wrong.

use std::io;
use std::time::Duration;

use crate::memory::MemoryId;
use crate::wire::WireError;

/// Why a peer does not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// It has no memory of that number, or shows it to nobody.
    NoSuchMemory,
    /// The memory may not be written, or not be read.
    NotAllowed,
    /// The range is not in the memory.
    OutOfRange,
    /// Too many notifications wait.
    Full,
}

/// A transfer that did not happen, or not to its end.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// No such backend.
    #[error("there is no backend {name:?}; those there are: {there}")]
    NoBackend {
        /// What was asked for.
        name: String,
        /// What there is.
        there: String,
    },
    /// Memory that is not registered here.
    #[error("{memory:?} is not registered with this agent; register it first")]
    NotRegistered {
        /// Its number.
        memory: MemoryId,
    },
    /// A range that is not in the memory.
    #[error("{num_bytes} bytes from {offset} are not in {memory:?}, which has {memory_bytes}")]
    OutOfRange {
        /// The memory.
        memory: MemoryId,
        /// Where the range begins.
        offset: u64,
        /// Its length.
        num_bytes: u64,
        /// The memory's length.
        memory_bytes: u64,
    },
    /// Two ends that do not go together.
    #[error("backend {backend} cannot reach {remote}: {reason}")]
    Remote {
        /// The backend.
        backend: String,
        /// What it should reach.
        remote: String,
        /// Why not.
        reason: String,
    },
    /// The system's.
    #[error("{what}: {message}")]
    Io {
        /// What was done.
        what: String,
        /// Its kind.
        kind: io::ErrorKind,
        /// What the system says.
        message: String,
    },
    /// The peer did not answer in time; the connection is given up.
    #[error("{peer} did not answer within {after:?}; it may be overloaded, or gone")]
    TimedOut {
        /// The peer.
        peer: String,
        /// The limit.
        after: Duration,
    },
    /// What the peer sent is no message, or not of this conversation; the connection is given up.
    #[error("{peer} sent what it should not: {error}")]
    Wire {
        /// The peer.
        peer: String,
        /// What of it.
        error: WireError,
    },
    /// The peer does not do it.
    #[error("{peer} refuses: {refusal:?}")]
    Refused {
        /// The peer.
        peer: String,
        /// Why.
        refusal: Refusal,
    },
    /// The thread that did it is gone.
    #[error("the thread that carried it out died; what it said stands on standard error")]
    Dropped,
}

impl TransferError {
    pub(crate) fn io(what: impl Into<String>, error: &io::Error) -> Self {
        TransferError::Io { what: what.into(), kind: error.kind(), message: error.to_string() }
    }

    /// What it is to who knows the system's errors: the system's own kind, where there was one.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            TransferError::Io { kind, .. } => *kind,
            TransferError::NoBackend { .. }
            | TransferError::NotRegistered { .. }
            | TransferError::OutOfRange { .. }
            | TransferError::Remote { .. } => io::ErrorKind::InvalidInput,
            TransferError::TimedOut { .. } => io::ErrorKind::TimedOut,
            TransferError::Wire { .. } => io::ErrorKind::InvalidData,
            TransferError::Refused { .. } => io::ErrorKind::PermissionDenied,
            TransferError::Dropped => io::ErrorKind::Other,
        }
    }
}

impl From<TransferError> for io::Error {
    fn from(error: TransferError) -> Self {
        io::Error::new(error.kind(), error)
    }
}
