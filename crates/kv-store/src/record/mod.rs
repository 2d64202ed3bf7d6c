//! A chunk as a file or an object: a header, the layers' encoded bytes from a 4 KiB border on, a trailer.
//!
//! A record says everything that a reader needs to refuse it: the full key, the identity, the shape, and for
//! each layer the digest of the stored bytes and of the bytes that were produced. A layer can be read and
//! verified alone. Nothing outside the record is trusted: not its name, its length or its age.

mod codec;
mod header;
mod read;

pub use codec::{Codec, Codecs, DecodeError, Plain};
pub use header::{
    ALIGNMENT, Header, LayerEntry, MAX_CODEC_BYTES, TRAILER_BYTES, VERSION, WriterId, header_bytes,
};
pub use read::{ReadAt, ReadOutcome, Reader, Unverified, Verification, header_alone, verify_alone};

use crate::digest::Digest;
use crate::tier::{Chunk, Expected};

/// Where a record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Who writes it.
    pub writer: WriterId,
    /// The writer's own count.
    pub sequence: u64,
    /// Whether its bytes will have been made durable before anyone else can find it.
    pub is_durable: bool,
}

/// The record of a chunk, its layers encoded with `codec`.
pub fn encode(chunk: &Chunk, expected: &Expected, codec: &dyn Codec, origin: Origin) -> Vec<u8> {
    let shape = &expected.shape;
    let head = header_bytes(shape.num_layers);
    let mut record = vec![0; head];
    record.reserve(chunk.bytes().len() + ALIGNMENT + TRAILER_BYTES);
    let layer_bytes = shape.layer_bytes(chunk.meta().num_tokens as usize);
    let mut layers = Vec::with_capacity(shape.num_layers as usize);
    for (raw, raw_digest) in chunk.bytes().chunks_exact(layer_bytes).zip(&**chunk.layer_digests()) {
        let start = record.len();
        codec.encode(raw, shape.element_bytes, &mut record);
        let encoded = &record[start..];
        // A codec that changes nothing need not be digested twice; if memory erred since, the reader sees it.
        let digest = if codec.is_plain() { *raw_digest } else { Digest::of(encoded) };
        let num_bytes = encoded.len() as u64;
        layers.push(LayerEntry { num_bytes, encoded: digest, raw: *raw_digest });
    }
    let header = Header {
        key: *chunk.key(),
        identity: expected.identity.digest(),
        shape: *shape,
        dtype: expected.identity.kv_dtype().to_owned(),
        codec: codec.name().to_owned(),
        meta: chunk.meta().clone(),
        writer: origin.writer,
        sequence: origin.sequence,
        is_durable: origin.is_durable,
        layers,
    };
    let header = header.encode();
    let trailer = header::trailer(&header);
    record[..head].copy_from_slice(&header);
    record.resize((record.len() + TRAILER_BYTES).next_multiple_of(ALIGNMENT) - TRAILER_BYTES, 0);
    record.extend_from_slice(&trailer);
    record
}
