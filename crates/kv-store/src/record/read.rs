//! Reading a record: everything is compared and digested before any byte counts.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::codec::{Codec, Codecs};
use super::header::{ALIGNMENT, Header, LayerEntry, TRAILER_BYTES, header_bytes, trailer};
use crate::digest::{Digest, Digester};
use crate::keys::ChunkKey;
use crate::outcome::{ChunkMeta, Corruption, Miss};
use crate::tier::{Expected, tokens_of};

/// Bytes that can be read from any place.
pub trait ReadAt {
    /// Reads up to `out.len()` bytes from `offset` on; fewer at the end, or whenever the storage pleases.
    ///
    /// # Errors
    /// The storage's.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;

    /// The same, and shows each part to `seen` as soon as it is in `out`, in their order: it is in the processor's cache
    /// then, and the next ones may be on their way.
    ///
    /// # Errors
    /// The storage's.
    fn read_through(
        &self,
        offset: u64,
        out: &mut [u8],
        seen: &mut dyn FnMut(&[u8]),
    ) -> io::Result<usize> {
        let longest = out.len().min(PART_BYTES);
        let num_bytes = self.read_at(offset, &mut out[..longest])?;
        seen(&out[..num_bytes]);
        Ok(num_bytes)
    }

    /// How long it is, by what the storage says now.
    ///
    /// # Errors
    /// The storage's.
    fn num_bytes(&self) -> io::Result<u64>;
}

impl ReadAt for &[u8] {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(<[u8]>::len(self));
        let from = &self[start..];
        let num_bytes = from.len().min(out.len());
        out[..num_bytes].copy_from_slice(&from[..num_bytes]);
        Ok(num_bytes)
    }

    fn num_bytes(&self) -> io::Result<u64> {
        Ok(<[u8]>::len(self) as u64)
    }
}

/// What reading a record came to.
#[derive(Clone, Debug)]
pub enum ReadOutcome {
    /// The bytes are there and verified.
    Exact(ChunkMeta, Arc<[Digest]>),
    /// No bytes, though the record may be good.
    Miss(Miss),
    /// It is not the record that it should be.
    Corrupt(Corruption),
}

/// Why a record is not taken for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unverified {
    /// It may be good: the storage failed, or its time is over.
    Miss(Miss),
    /// It is wrong.
    Corrupt(Corruption),
}

impl From<Miss> for Unverified {
    fn from(miss: Miss) -> Self {
        Unverified::Miss(miss)
    }
}

impl From<Corruption> for Unverified {
    fn from(corruption: Corruption) -> Self {
        Unverified::Corrupt(corruption)
    }
}

/// Bytes that a processor still has in its cache when they are looked at after they were read.
const PART_BYTES: usize = 256 << 10;

/// Whether what is read is compared with its digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    /// It is.
    #[default]
    On,
    /// It is not: to measure what that costs, and for nothing else. No configuration has this.
    Off,
}

/// Reads the records of one store.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// What every record must say.
    pub expected: &'a Expected,
    /// The codecs that it may be encoded with.
    pub codecs: &'a Codecs,
    /// What time it is, milliseconds since 1970.
    pub unix_ms: u64,
    /// Whether bytes are compared with their digests.
    pub verification: Verification,
}

impl Reader<'_> {
    /// Reads a range of layers of the record of `key` into `out`, which is as long as these layers are, and
    /// verifies them there.
    pub fn layers(
        &self,
        source: &dyn ReadAt,
        key: &ChunkKey,
        layers: Range<usize>,
        out: &mut [u8],
    ) -> ReadOutcome {
        match self.try_layers(source, key, layers, out) {
            Ok(header) => {
                let digests = header.layers.iter().map(|layer| layer.raw).collect();
                ReadOutcome::Exact(header.meta, digests)
            }
            Err(Unverified::Miss(miss)) => ReadOutcome::Miss(miss),
            Err(Unverified::Corrupt(corruption)) => ReadOutcome::Corrupt(corruption),
        }
    }

    /// Verifies the whole record of `key`, as a reader of all its layers would.
    ///
    /// # Errors
    /// Why it is not good.
    pub fn verify(&self, source: &dyn ReadAt, key: &ChunkKey) -> Result<Header, Unverified> {
        let (header, _) = self.header(source, key)?;
        let shape = &self.expected.shape;
        let mut out = vec![0; shape.chunk_bytes(header.meta.num_tokens as usize)];
        self.try_layers(source, key, 0..shape.num_layers as usize, &mut out)
    }

    fn header(&self, source: &dyn ReadAt, key: &ChunkKey) -> Result<(Header, Vec<u8>), Unverified> {
        let mut head = vec![0; header_bytes(self.expected.shape.num_layers)];
        read_exact(source, 0, &mut head)?;
        let header = Header::decode(&head)?;
        header.check(self.expected, key)?;
        Ok((header, head))
    }

    fn try_layers(
        &self,
        source: &dyn ReadAt,
        key: &ChunkKey,
        layers: Range<usize>,
        out: &mut [u8],
    ) -> Result<Header, Unverified> {
        let shape = &self.expected.shape;
        let num_tokens = tokens_of(shape, &layers, out.len()).map_err(Unverified::Miss)?;
        let (header, head) = self.header(source, key)?;
        if header.meta.is_expired(self.unix_ms) {
            return Err(Unverified::Miss(Miss::Expired));
        }
        if header.meta.num_tokens as usize != num_tokens {
            return Err(Unverified::Miss(Miss::Request));
        }
        let verification = self.verification;
        Payload { source, header: &header, codecs: self.codecs, verification }
            .read(&head, layers, out)?;
        Ok(header)
    }
}

/// Verifies a record by itself, whosever it is: that it is whole, and that its bytes are those that it says it has. One
/// layer is in memory at a time.
///
/// # Errors
/// Why it is not good; an unknown codec is [`Corruption::Codec`].
pub fn verify_alone(
    source: &dyn ReadAt,
    key: &ChunkKey,
    codecs: &Codecs,
) -> Result<Header, Unverified> {
    let (header, head) = header_alone(source, key)?;
    let layer_bytes = header.shape.layer_bytes(header.meta.num_tokens as usize);
    // Nothing is allocated for what is not there.
    if source.num_bytes().map_err(|_| Miss::Io)? < header.record_bytes() {
        return Err(Unverified::Corrupt(Corruption::Truncated));
    }
    let mut out = vec![0; layer_bytes];
    for layer in 0..header.layers.len() {
        let payload = Payload { source, header: &header, codecs, verification: Verification::On };
        payload.read(&head, layer..layer + 1, &mut out)?;
    }
    Ok(header)
}

/// What the record of `key` says of itself, whosever it is; and the same as bytes.
///
/// # Errors
/// Why it is none.
pub fn header_alone(source: &dyn ReadAt, key: &ChunkKey) -> Result<(Header, Vec<u8>), Unverified> {
    let mut head = vec![0; ALIGNMENT];
    read_exact(source, 0, &mut head)?;
    let num_bytes = Header::length(&head).ok_or(Corruption::Format)?;
    if source.num_bytes().map_err(|_| Miss::Io)? < num_bytes as u64 {
        return Err(Unverified::Corrupt(Corruption::Truncated));
    }
    head.resize(num_bytes.max(ALIGNMENT), 0);
    read_exact(source, ALIGNMENT as u64, &mut head[ALIGNMENT..])?;
    let header = Header::decode(&head)?;
    if header.key != *key {
        return Err(Unverified::Corrupt(Corruption::Key));
    }
    Ok((header, head))
}

/// The stored bytes of a record whose header is good.
struct Payload<'a> {
    source: &'a dyn ReadAt,
    header: &'a Header,
    codecs: &'a Codecs,
    verification: Verification,
}

impl Payload<'_> {
    fn read(&self, head: &[u8], layers: Range<usize>, out: &mut [u8]) -> Result<(), Unverified> {
        let header = self.header;
        let codec = self.codecs.find(&header.codec).ok_or(Corruption::Codec)?;
        // The end was written last: without it the writer did not finish, whatever the bytes before say.
        let mut end = [0; TRAILER_BYTES];
        read_exact(self.source, header.record_bytes() - TRAILER_BYTES as u64, &mut end)?;
        if end != trailer(head) {
            return Err(Unverified::Corrupt(Corruption::Trailer));
        }
        let at = header.payload_range(layers.clone());
        let layer_bytes = header.shape.layer_bytes(header.meta.num_tokens as usize);
        if codec.is_plain() {
            return self.plain(at.start, layers, layer_bytes, out);
        }
        let entries = layers.clone().zip(&header.layers[layers]);
        self.encoded(at, codec, entries.zip(out.chunks_exact_mut(layer_bytes)))
    }

    /// Layers that are stored as they are go straight into the reader's buffer, all in one read: storage that works on
    /// many requests at once is kept busy. Each part is digested when it is there, while the others come.
    fn plain(
        &self,
        at: u64,
        layers: Range<usize>,
        layer_bytes: usize,
        out: &mut [u8],
    ) -> Result<(), Unverified> {
        let entries = &self.header.layers[layers.clone()];
        if entries.iter().any(|entry| entry.num_bytes != layer_bytes as u64) {
            return Err(Unverified::Corrupt(Corruption::Shape));
        }
        if self.verification == Verification::Off {
            return read_exact(self.source, at, out);
        }
        let mut check = Check { layer: layers.start, entries, layer_bytes, ..Check::default() };
        fill(self.source, at, out, |offset, out| check.read(self.source, offset, out))?;
        check.outcome()
    }

    fn encoded<'a>(
        &self,
        at: Range<u64>,
        codec: &dyn Codec,
        parts: impl Iterator<Item = ((usize, &'a LayerEntry), &'a mut [u8])>,
    ) -> Result<(), Unverified> {
        let mut encoded = vec![0; (at.end - at.start) as usize];
        read_exact(self.source, at.start, &mut encoded)?;
        let mut rest = encoded.as_slice();
        for ((layer, entry), out) in parts {
            let (stored, others) = rest.split_at(entry.num_bytes as usize);
            rest = others;
            let is_verified = self.verification == Verification::On;
            let stored_digest = if is_verified { Digest::of(stored) } else { entry.encoded };
            if stored_digest != entry.encoded {
                return Err(Unverified::Corrupt(Corruption::Encoded { layer: layer as u32 }));
            }
            let decoded = codec.decode(stored, self.header.shape.element_bytes, out);
            decoded.map_err(|_| Corruption::Raw { layer: layer as u32 })?;
            if is_verified {
                verify(layer, entry, stored_digest, Digest::of(out))?;
            }
        }
        Ok(())
    }
}

fn verify(
    layer: usize,
    entry: &LayerEntry,
    encoded: Digest,
    raw: Digest,
) -> Result<(), Unverified> {
    let layer = layer as u32;
    if encoded != entry.encoded {
        return Err(Unverified::Corrupt(Corruption::Encoded { layer }));
    }
    if raw != entry.raw {
        return Err(Unverified::Corrupt(Corruption::Raw { layer }));
    }
    Ok(())
}

/// Digests layers that come in parts.
#[derive(Default)]
struct Check<'a> {
    /// The layer that comes, and what is said of it and of those after it.
    layer: usize,
    entries: &'a [LayerEntry],
    layer_bytes: usize,
    /// What came of it.
    digester: Digester,
    num_bytes: usize,
    wrong: Option<Unverified>,
}

impl Check<'_> {
    fn read(&mut self, source: &dyn ReadAt, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut is_begun = false;
        let read = source.read_through(offset, out, &mut |part| {
            is_begun |= !part.is_empty();
            self.see(part);
        });
        // What was seen must not be seen again.
        read.map_err(|error| if is_begun { io::Error::other(error) } else { error })
    }

    fn see(&mut self, mut part: &[u8]) {
        while let (Some((entry, later)), false) = (self.entries.split_first(), part.is_empty()) {
            let (now, rest) = part.split_at(part.len().min(self.layer_bytes - self.num_bytes));
            self.digester.write(now);
            self.num_bytes += now.len();
            part = rest;
            if self.num_bytes == self.layer_bytes {
                let digest = std::mem::take(&mut self.digester).finish();
                self.wrong = self.wrong.or(verify(self.layer, entry, digest, digest).err());
                (self.layer, self.entries, self.num_bytes) = (self.layer + 1, later, 0);
            }
        }
    }

    /// What was not seen is not verified.
    fn outcome(self) -> Result<(), Unverified> {
        match self.wrong {
            Some(wrong) => Err(wrong),
            None if self.entries.is_empty() => Ok(()),
            None => Err(Unverified::Miss(Miss::Io)),
        }
    }
}

/// Fills `out`. Storage that answers with less than it says it has is failing; what says that it is shorter is
/// a record that ends early.
fn read_exact(source: &dyn ReadAt, offset: u64, out: &mut [u8]) -> Result<(), Unverified> {
    fill(source, offset, out, |offset, out| source.read_at(offset, out))
}

fn fill(
    source: &dyn ReadAt,
    offset: u64,
    out: &mut [u8],
    mut read: impl FnMut(u64, &mut [u8]) -> io::Result<usize>,
) -> Result<(), Unverified> {
    let mut done = 0;
    while done < out.len() {
        match read(offset + done as u64, &mut out[done..]) {
            Ok(0) => {
                let end = offset + out.len() as u64;
                let is_shorter = source.num_bytes().is_ok_and(|len| len < end);
                return Err(if is_shorter {
                    Unverified::Corrupt(Corruption::Truncated)
                } else {
                    Unverified::Miss(Miss::Io)
                });
            }
            Ok(num_bytes) => done += num_bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(Unverified::Miss(Miss::Io)),
        }
    }
    Ok(())
}
