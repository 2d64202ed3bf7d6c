//! What comes of asking: expected outcomes are values, and a failure is a miss with a reason.

use std::sync::Arc;

use crate::digest::Digest;
use crate::keys::TenantTag;

/// A kind of tier, from the fastest to the farthest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TierKind {
    /// Host memory.
    Host,
    /// A directory, of this machine or shared.
    Disk,
    /// An object store.
    Object,
}

impl TierKind {
    /// What it is called in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            TierKind::Host => "host",
            TierKind::Disk => "disk",
            TierKind::Object => "object",
        }
    }
}

/// What is known of a chunk besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkMeta {
    /// Where its tokens begin in their prompt.
    pub first_token: u64,
    /// Its tokens.
    pub num_tokens: u32,
    /// Whose it is.
    pub tenant: TenantTag,
    /// When it was made, milliseconds since 1970.
    pub created_ms: u64,
    /// From when on it is not to be used, milliseconds since 1970.
    pub expires_ms: Option<u64>,
}

impl ChunkMeta {
    /// Whether its time is over.
    pub fn is_expired(&self, unix_ms: u64) -> bool {
        self.expires_ms.is_some_and(|expires_ms| expires_ms <= unix_ms)
    }
}

/// A chunk whose bytes were found, and verified where they now are.
#[derive(Clone, Debug)]
pub struct Found {
    /// Which tier had it.
    pub tier: TierKind,
    /// What is known of it.
    pub meta: ChunkMeta,
    /// Digests of all its layers, made when it was produced.
    pub layer_digests: Arc<[Digest]>,
}

/// The outcome of a read.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// The exact bytes are in the caller's buffer.
    Hit(Found),
    /// No bytes, and why. The caller's buffer holds nothing of use.
    Miss(Miss),
    /// There was something under this key, and it was not that chunk: put aside and counted; for the caller
    /// a miss.
    Corrupt(Corruption),
}

impl Lookup {
    /// Whether the bytes are there.
    pub fn is_hit(&self) -> bool {
        matches!(self, Lookup::Hit(_))
    }
}

/// Why there are no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Miss {
    /// Nothing under this key.
    Absent,
    /// Its time is over.
    Expired,
    /// The storage failed or answered with less than there is; later it may answer.
    Io,
    /// The layers are not in the store's shape, or the buffer is not as long as they are in this chunk.
    Request,
}

/// What of a record was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Corruption {
    /// Not a record, or of a version that this code does not know.
    Format,
    /// The header is not what its digest says.
    Header,
    /// Another key: a record at a wrong place.
    Key,
    /// Another identity.
    Identity,
    /// Another shape, dtype or number of tokens, or lengths that do not fit them.
    Shape,
    /// A codec that this store does not have.
    Codec,
    /// The record ends early.
    Truncated,
    /// The end of the record is missing or of another record: it was not written to its end.
    Trailer,
    /// The stored bytes of a layer are not what the header says.
    Encoded {
        /// The layer.
        layer: u32,
    },
    /// The bytes of a layer are not those that were produced.
    Raw {
        /// The layer.
        layer: u32,
    },
}

/// The outcome of a write to one tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Put {
    /// Written, as durably as the tier promises.
    Stored,
    /// It was there, was verified, and is as durable as if written now.
    AlreadyThere,
    /// Not taken.
    Rejected(Reject),
    /// The storage failed; nothing is promised.
    Failed,
}

impl Put {
    /// Whether the tier has the chunk now.
    pub fn is_there(self) -> bool {
        matches!(self, Put::Stored | Put::AlreadyThere)
    }
}

/// Why a tier does not take a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reject {
    /// Larger than the tier's cap.
    TooLarge,
    /// No room, and nothing that may leave.
    Full,
    /// The policy refuses it: a tenant's quota, a lossy codec beyond its bound.
    Policy,
    /// The bytes are not as many as the shape and the tokens say.
    Request,
}
