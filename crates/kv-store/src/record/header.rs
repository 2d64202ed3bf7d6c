//! What a record says of itself. All numbers are little endian.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 8 | magic |
//! | 8 | 4 | version |
//! | 12 | 4 | bytes of this header, a multiple of 4096 |
//! | 16 | 16 | digest of this header, with zeros here |
//! | 32 | 32 | key |
//! | 64 | 32 | identity |
//! | 96 | 16 | tenant tag |
//! | 112 | 16 | layers, KV heads, head_dim, bytes of an element |
//! | 128 | 32 | name of the KV dtype, zeros behind it |
//! | 160 | 8 | where its tokens begin |
//! | 168 | 8 | its tokens |
//! | 176 | 32 | name of the codec, zeros behind it |
//! | 208 | 16 | raw bytes, encoded bytes |
//! | 224 | 32 | digest over the layers' raw digests, over their encoded ones |
//! | 256 | 16 | created, expires: milliseconds since 1970, all ones for never |
//! | 272 | 24 | writer, its sequence number |
//! | 296 | 8 | 1 if it was made durable before it was published, else 0 |
//! | 304 | 16 | zeros |
//! | 320 | 40 each | per layer: encoded bytes, digest of these, digest of the raw bytes |

use crate::chunk::{ChunkShape, MAX_CHUNK_BYTES};
use crate::digest::Digest;
use crate::identity::MAX_DTYPE_BYTES;
use crate::keys::{ChunkKey, TenantTag};
use crate::outcome::{ChunkMeta, Corruption};
use crate::tier::Expected;

/// Version of the record format. A reader refuses others: what it does not know it must not guess.
pub const VERSION: u32 = 1;
/// The payload starts and the record ends at a multiple of this, so that it can be read past the page cache.
pub const ALIGNMENT: usize = 4096;
/// Bytes of the trailer, the last of a record.
pub const TRAILER_BYTES: usize = 64;
/// Longest name of a codec.
pub const MAX_CODEC_BYTES: usize = 32;

const MAGIC: [u8; 8] = *b"kvasirKV";
const TRAILER_MAGIC: [u8; 8] = *b"VKrisavk";
const FIXED_BYTES: usize = 320;
const LAYER_BYTES: usize = 40;
const DIGEST_AT: usize = 16;
const NEVER: u64 = u64::MAX;

/// Who wrote a record: unique to each opened store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterId(pub u128);

/// What a header says of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerEntry {
    /// Stored bytes.
    pub num_bytes: u64,
    /// Digest of the stored bytes.
    pub encoded: Digest,
    /// Digest of the bytes that were produced.
    pub raw: Digest,
}

/// What a record says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The chunk's name.
    pub key: ChunkKey,
    /// Digest of the identity.
    pub identity: [u8; 32],
    /// The chunk's shape.
    pub shape: ChunkShape,
    /// Name of the KV dtype.
    pub dtype: String,
    /// Name of the codec.
    pub codec: String,
    /// Tokens, tenant, times.
    pub meta: ChunkMeta,
    /// Who wrote it.
    pub writer: WriterId,
    /// The writer's own count.
    pub sequence: u64,
    /// Whether its bytes were made durable before it was published. To sync the file later proves nothing: a
    /// system that failed to write it once may have dropped the bytes and forgotten that.
    pub is_durable: bool,
    /// Each layer.
    pub layers: Vec<LayerEntry>,
}

/// Bytes of a header with so many layers.
pub fn header_bytes(num_layers: u32) -> usize {
    (FIXED_BYTES + num_layers as usize * LAYER_BYTES).next_multiple_of(ALIGNMENT)
}

/// The trailer of a record with this header.
pub(super) fn trailer(header: &[u8]) -> [u8; TRAILER_BYTES] {
    let mut trailer = [0; TRAILER_BYTES];
    trailer[..8].copy_from_slice(&TRAILER_MAGIC);
    trailer[8..24].copy_from_slice(&header[DIGEST_AT..32]);
    trailer[24..56].copy_from_slice(&header[32..64]);
    trailer
}

fn digest_of(header: &[u8]) -> Digest {
    let zeros = [0; Digest::NUM_BYTES];
    let parts = [&header[..DIGEST_AT], &zeros, &header[DIGEST_AT + Digest::NUM_BYTES..]];
    Digest::of_slices(parts)
}

impl Header {
    /// Stored bytes of all layers.
    pub fn encoded_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.num_bytes).sum()
    }

    /// Where the stored bytes of a range of layers are in the record.
    pub fn payload_range(&self, layers: std::ops::Range<usize>) -> std::ops::Range<u64> {
        let bytes = |layers: &[LayerEntry]| layers.iter().map(|layer| layer.num_bytes).sum::<u64>();
        let start =
            header_bytes(self.shape.num_layers) as u64 + bytes(&self.layers[..layers.start]);
        start..start + bytes(&self.layers[layers])
    }

    /// Bytes of the whole record.
    pub fn record_bytes(&self) -> u64 {
        let payload_end = header_bytes(self.shape.num_layers) as u64 + self.encoded_bytes();
        (payload_end + TRAILER_BYTES as u64).next_multiple_of(ALIGNMENT as u64)
    }

    /// The header's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; header_bytes(self.shape.num_layers)];
        let mut at = Writer { bytes: &mut bytes, at: 0 };
        at.put(&MAGIC);
        at.put(&VERSION.to_le_bytes());
        at.put(&(header_bytes(self.shape.num_layers) as u32).to_le_bytes());
        at.put(&[0; Digest::NUM_BYTES]);
        at.put(&self.key.0);
        at.put(&self.identity);
        at.put(&self.meta.tenant.0);
        let shape = &self.shape;
        for number in [shape.num_layers, shape.num_kv_heads, shape.head_dim, shape.element_bytes] {
            at.put(&number.to_le_bytes());
        }
        at.name(&self.dtype, MAX_DTYPE_BYTES);
        at.put(&self.meta.first_token.to_le_bytes());
        at.put(&u64::from(self.meta.num_tokens).to_le_bytes());
        at.name(&self.codec, MAX_CODEC_BYTES);
        let raw_bytes = shape.chunk_bytes(self.meta.num_tokens as usize) as u64;
        at.put(&raw_bytes.to_le_bytes());
        at.put(&self.encoded_bytes().to_le_bytes());
        for digest in self.digests() {
            at.put(&digest.to_bytes());
        }
        at.put(&self.meta.created_ms.to_le_bytes());
        at.put(&self.meta.expires_ms.unwrap_or(NEVER).to_le_bytes());
        at.put(&self.writer.0.to_le_bytes());
        at.put(&self.sequence.to_le_bytes());
        at.put(&u64::from(self.is_durable).to_le_bytes());
        at.at = FIXED_BYTES;
        for layer in &self.layers {
            at.put(&layer.num_bytes.to_le_bytes());
            at.put(&layer.encoded.to_bytes());
            at.put(&layer.raw.to_bytes());
        }
        let digest = digest_of(&bytes);
        bytes[DIGEST_AT..DIGEST_AT + Digest::NUM_BYTES].copy_from_slice(&digest.to_bytes());
        bytes
    }

    /// Over the layers' raw digests, and over their encoded ones.
    fn digests(&self) -> [Digest; 2] {
        [
            Digest::of_parts(self.layers.iter().map(|layer| layer.raw)),
            Digest::of_parts(self.layers.iter().map(|layer| layer.encoded)),
        ]
    }

    /// The bytes of the header that begins with these, if it may be one: as long as a chunk's could be.
    pub(super) fn length(start: &[u8]) -> Option<usize> {
        let mut at = Parser { bytes: start.get(..DIGEST_AT)?, at: 0 };
        let is_ours = at.take() == MAGIC && at.u32() == VERSION;
        let num_bytes = at.u32() as usize;
        let fits = num_bytes >= ALIGNMENT && num_bytes.is_multiple_of(ALIGNMENT);
        (is_ours && fits).then_some(num_bytes)
    }

    /// Reads a header. Any bytes may be given; what is not exactly what [`Header::encode`] writes is refused.
    ///
    /// # Errors
    /// What of it is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        if bytes.len() < FIXED_BYTES {
            return Err(Corruption::Truncated);
        }
        let mut at = Parser { bytes, at: 0 };
        if at.take() != MAGIC || at.u32() != VERSION {
            return Err(Corruption::Format);
        }
        if at.u32() as usize != bytes.len() || !bytes.len().is_multiple_of(ALIGNMENT) {
            return Err(Corruption::Format);
        }
        if at.digest() != digest_of(bytes) {
            return Err(Corruption::Header);
        }
        let key = ChunkKey(at.take());
        let identity = at.take();
        let tenant = TenantTag(at.take());
        let shape = ChunkShape {
            num_layers: at.u32(),
            num_kv_heads: at.u32(),
            head_dim: at.u32(),
            element_bytes: at.u32(),
        };
        let dtype = at.name::<MAX_DTYPE_BYTES>()?;
        let first_token = at.u64();
        let num_tokens = u32::try_from(at.u64()).map_err(|_| Corruption::Shape)?;
        shape.check(u64::from(num_tokens)).map_err(|_| Corruption::Shape)?;
        if header_bytes(shape.num_layers) != bytes.len() {
            return Err(Corruption::Shape);
        }
        let codec = at.name::<MAX_CODEC_BYTES>()?;
        let lengths = [at.u64(), at.u64()];
        let digests = [at.digest(), at.digest()];
        let created_ms = at.u64();
        let expires_ms = Some(at.u64()).filter(|&expires_ms| expires_ms != NEVER);
        let writer = WriterId(u128::from_le_bytes(at.take()));
        let sequence = at.u64();
        let is_durable = match at.u64() {
            0 => false,
            1 => true,
            _ => return Err(Corruption::Format),
        };
        let padding: [u8; 16] = at.take();
        let meta = ChunkMeta { first_token, num_tokens, tenant, created_ms, expires_ms };
        let mut layers = Vec::with_capacity(shape.num_layers as usize);
        for _ in 0..shape.num_layers {
            layers.push(LayerEntry { num_bytes: at.u64(), encoded: at.digest(), raw: at.digest() });
        }
        if padding != [0; 16] || bytes[at.at..].iter().any(|&byte| byte != 0) {
            return Err(Corruption::Format);
        }
        let header = Header {
            key,
            identity,
            shape,
            dtype,
            codec,
            meta,
            writer,
            sequence,
            is_durable,
            layers,
        };
        header.check_lengths(lengths)?;
        if header.digests() != digests {
            return Err(Corruption::Header);
        }
        Ok(header)
    }

    /// Whether the lengths are those of the shape, and small enough to be added up.
    fn check_lengths(&self, [raw, encoded]: [u64; 2]) -> Result<(), Corruption> {
        let num_tokens = self.meta.num_tokens as usize;
        // No codec makes a layer much longer than it is.
        let longest = 2 * self.shape.layer_bytes(num_tokens) as u64 + ALIGNMENT as u64;
        let mut total = 0;
        for layer in &self.layers {
            if layer.num_bytes > longest {
                return Err(Corruption::Shape);
            }
            total += layer.num_bytes;
        }
        let fits = raw == self.shape.chunk_bytes(num_tokens) as u64
            && encoded == total
            && total <= 3 * MAX_CHUNK_BYTES;
        if fits { Ok(()) } else { Err(Corruption::Shape) }
    }

    /// Whether it is the record of `key` in a store that expects `expected`.
    ///
    /// # Errors
    /// What it is of instead.
    pub fn check(&self, expected: &Expected, key: &ChunkKey) -> Result<(), Corruption> {
        if self.key != *key {
            return Err(Corruption::Key);
        }
        if self.identity != expected.identity.digest() {
            return Err(Corruption::Identity);
        }
        if self.shape != expected.shape || self.dtype != expected.identity.kv_dtype() {
            return Err(Corruption::Shape);
        }
        Ok(())
    }
}

struct Writer<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn name(&mut self, name: &str, room: usize) {
        let end = self.at + room;
        // A longer name is cut, and the record that has it is then refused by its reader.
        self.put(&name.as_bytes()[..name.len().min(room)]);
        self.at = end;
    }
}

/// Reads from bytes that are known to be long enough.
struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        taken.copy_from_slice(&self.bytes[self.at..self.at + N]);
        self.at += N;
        taken
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn digest(&mut self) -> Digest {
        Digest(u128::from_le_bytes(self.take()))
    }

    fn name<const N: usize>(&mut self) -> Result<String, Corruption> {
        let bytes: [u8; N] = self.take();
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(N);
        let is_padded = bytes[end..].iter().all(|&byte| byte == 0);
        match std::str::from_utf8(&bytes[..end]) {
            Ok(name) if is_padded && !name.is_empty() => Ok(name.to_owned()),
            _ => Err(Corruption::Format),
        }
    }
}
