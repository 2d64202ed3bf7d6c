//! Messages between peers: a header of 128 bytes, then its payload.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 8 | magic |
//! | 8 | 4 | version |
//! | 12 | 4 | kind |
//! | 16 | 8 | sequence number: a reply has its request's |
//! | 24 | 24 | memory, offset, bytes of the range |
//! | 48 | 24 | bytes of the payload, their XXH3-128 |
//! | 72 | 8 | refusal, 0 for none |
//! | 80 | 16 | zeros |
//! | 96 | 32 | BLAKE3 of all before, keyed with the session's key |
//!
//! The session's key is made of a token that both sides know and of a nonce of each: a stranger can neither speak nor
//! repeat what was said. The payload's digest finds faults; it is no defence against someone on the way who changes it
//! on purpose, for whom there is TLS.

use twox_hash::XxHash3_128;

use crate::error::Refusal;
use crate::memory::MemoryId;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 128;
/// Bytes of each side's first message: magic and nonce.
pub const HELLO_BYTES: usize = 32;
/// Most bytes of a payload: more goes in several messages.
pub const MAX_PAYLOAD_BYTES: u64 = 16 << 20;
/// Most bytes of a notification.
pub const MAX_NOTIFICATION_BYTES: u64 = 4096;

const MAGIC: [u8; 8] = *b"kvsrXFER";
const VERSION: u32 = 1;
const MAC_AT: usize = 96;
const CONTEXT: &str = "kvasir transfer 1 session key";

/// What of a message is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The other side ended the conversation.
    #[error("it ended the conversation, as who has another token does")]
    Closed,
    /// Not this protocol.
    #[error("not this protocol")]
    Magic,
    /// The header is not what its key says: another token, or changed on its way.
    #[error("a header that is not authentic: is the token the same on both sides?")]
    NotAuthentic,
    /// Another version.
    #[error("version {0}, where 1 is spoken")]
    Version(u32),
    /// No such kind, refusal, or bits where zeros must be.
    #[error("a header with fields that no version 1 has")]
    Fields,
    /// A payload longer than its kind may have.
    #[error("a payload of {0} bytes")]
    TooLong(u64),
    /// Not the answer to what was asked.
    #[error("an answer to something else")]
    Unexpected,
    /// The payload is not what its digest says.
    #[error("a payload that is not what its digest says")]
    Digest,
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Kind {
    /// Asks for a range.
    Read = 1,
    /// Brings a range.
    Write = 2,
    /// Brings a notification.
    Notify = 3,
    /// Answers a read, with the range.
    Data = 4,
    /// Answers the others: it is done.
    Done = 5,
    /// Answers anything: it is not done.
    Refused = 6,
}

const KINDS: [Kind; 6] =
    [Kind::Read, Kind::Write, Kind::Notify, Kind::Data, Kind::Done, Kind::Refused];
const REFUSALS: [Refusal; 4] =
    [Refusal::NoSuchMemory, Refusal::NotAllowed, Refusal::OutOfRange, Refusal::Full];

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What for.
    pub kind: Kind,
    /// Which request of the conversation.
    pub sequence: u64,
    /// Which memory.
    pub memory: MemoryId,
    /// Where the range begins.
    pub offset: u64,
    /// Its length.
    pub num_bytes: u64,
    /// Bytes that follow.
    pub payload_bytes: u64,
    /// Their digest.
    pub payload_digest: u128,
    /// Of [`Kind::Refused`] alone.
    pub refusal: Option<Refusal>,
}

/// XXH3-128 of a payload.
pub fn digest(payload: &[u8]) -> u128 {
    XxHash3_128::oneshot(payload)
}

/// What both sides of a conversation know.
#[derive(Clone)]
pub struct SessionKey([u8; 32]);

impl SessionKey {
    /// The key of the conversation that began with these messages.
    pub fn new(token: &[u8], client: &[u8; HELLO_BYTES], server: &[u8; HELLO_BYTES]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(client).update(server).update(token);
        SessionKey(*hasher.finalize().as_bytes())
    }

    /// Makes a header authentic.
    pub fn seal(&self, header: &mut [u8; HEADER_BYTES]) {
        let mac = blake3::keyed_hash(&self.0, &header[..MAC_AT]);
        header[MAC_AT..].copy_from_slice(mac.as_bytes());
    }

    fn is_sealed(&self, header: &[u8; HEADER_BYTES]) -> bool {
        let mac: [u8; 32] = take(header, MAC_AT);
        // In constant time, whatever is compared.
        blake3::keyed_hash(&self.0, &header[..MAC_AT]) == mac
    }
}

/// A side's first message.
pub fn hello(nonce: [u8; 24]) -> [u8; HELLO_BYTES] {
    let mut hello = [0; HELLO_BYTES];
    hello[..8].copy_from_slice(&MAGIC);
    hello[8..].copy_from_slice(&nonce);
    hello
}

/// Whether this is a side's first message.
///
/// # Errors
/// [`WireError::Magic`].
pub fn check_hello(hello: &[u8; HELLO_BYTES]) -> Result<(), WireError> {
    if hello[..8] == MAGIC { Ok(()) } else { Err(WireError::Magic) }
}

fn take<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut taken = [0; N];
    taken.copy_from_slice(&bytes[at..at + N]);
    taken
}

impl Header {
    /// A header without a payload.
    pub fn bare(kind: Kind, sequence: u64) -> Self {
        Header {
            kind,
            sequence,
            memory: MemoryId(0),
            offset: 0,
            num_bytes: 0,
            payload_bytes: 0,
            payload_digest: digest(&[]),
            refusal: None,
        }
    }

    /// The same with a payload.
    #[must_use]
    pub fn with_payload(mut self, payload: &[u8]) -> Self {
        self.payload_bytes = payload.len() as u64;
        self.payload_digest = digest(payload);
        self
    }

    /// Its bytes.
    pub fn encode(&self, key: &SessionKey) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let refusal = self.refusal.and_then(|own| REFUSALS.iter().position(|known| *known == own));
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(self.kind as u32).to_le_bytes());
        let numbers =
            [self.sequence, self.memory.0, self.offset, self.num_bytes, self.payload_bytes];
        for (number, at) in numbers.into_iter().zip((16..).step_by(8)) {
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        bytes[56..72].copy_from_slice(&self.payload_digest.to_le_bytes());
        bytes[72..80].copy_from_slice(&refusal.map_or(0, |at| at as u64 + 1).to_le_bytes());
        key.seal(&mut bytes);
        bytes
    }

    /// Reads a header. Any bytes may be given.
    ///
    /// # Errors
    /// What of it is wrong.
    pub fn decode(bytes: &[u8; HEADER_BYTES], key: &SessionKey) -> Result<Self, WireError> {
        if bytes[..8] != MAGIC {
            return Err(WireError::Magic);
        }
        // Before anything that it says is believed.
        if !key.is_sealed(bytes) {
            return Err(WireError::NotAuthentic);
        }
        let u32_at = |at| u32::from_le_bytes(take(bytes, at));
        let u64_at = |at| u64::from_le_bytes(take(bytes, at));
        if u32_at(8) != VERSION {
            return Err(WireError::Version(u32_at(8)));
        }
        let kind = KINDS.into_iter().find(|kind| *kind as u32 == u32_at(12));
        let kind = kind.ok_or(WireError::Fields)?;
        let refusal = match u64_at(72) {
            0 => None,
            code => Some(*REFUSALS.get(code as usize - 1).ok_or(WireError::Fields)?),
        };
        if refusal.is_some() != (kind == Kind::Refused) || bytes[80..MAC_AT] != [0; 16] {
            return Err(WireError::Fields);
        }
        let header = Header {
            kind,
            sequence: u64_at(16),
            memory: MemoryId(u64_at(24)),
            offset: u64_at(32),
            num_bytes: u64_at(40),
            payload_bytes: u64_at(48),
            payload_digest: u128::from_le_bytes(take(bytes, 56)),
            refusal,
        };
        header.check_payload()?;
        Ok(header)
    }

    /// What each kind may bring, so that nobody has to take more.
    fn check_payload(&self) -> Result<(), WireError> {
        let most = match self.kind {
            Kind::Write | Kind::Data => MAX_PAYLOAD_BYTES,
            Kind::Notify => MAX_NOTIFICATION_BYTES,
            Kind::Read | Kind::Done | Kind::Refused => 0,
        };
        if self.payload_bytes > most {
            return Err(WireError::TooLong(self.payload_bytes));
        }
        let is_range = matches!(self.kind, Kind::Write | Kind::Data);
        if is_range && self.num_bytes != self.payload_bytes {
            return Err(WireError::Fields);
        }
        if self.kind == Kind::Read && self.num_bytes > MAX_PAYLOAD_BYTES {
            return Err(WireError::TooLong(self.num_bytes));
        }
        Ok(())
    }
}
