//! What must hold of every record of a KV store that the reader accepts. The reader's own tests include this file.

use std::sync::Arc;

use kv_store::chunk::ChunkShape;
use kv_store::codec;
use kv_store::digest::Digest;
use kv_store::identity::{Identity, IdentityParts};
use kv_store::record::{
    Header, Plain, ReadOutcome, Reader, TRAILER_BYTES, Verification, header_bytes, verify_alone,
};
use kv_store::tier::Expected;

const SHAPE: ChunkShape =
    ChunkShape { num_layers: 3, num_kv_heads: 2, head_dim: 4, element_bytes: 2 };
const DIGEST: std::ops::Range<usize> = 16..32;

/// What the seeds are records of.
pub fn expected() -> Expected {
    let identity = Identity::new(&IdentityParts::of_no_model(1));
    Expected { identity: identity.expect("every part is there"), shape: SHAPE }
}

/// Any bytes as a record: as they are, and with digests that fit, so that what is behind them is reached too.
/// Whether they were accepted as they are.
pub fn store_record(bytes: &[u8]) -> bool {
    let mut signed = bytes.to_vec();
    let head = header_bytes(SHAPE.num_layers);
    if signed.len() >= head + TRAILER_BYTES {
        signed[DIGEST].fill(0);
        let digest = Digest::of(&signed[..head]).to_bytes();
        signed[DIGEST].copy_from_slice(&digest);
        let end = signed.len() - TRAILER_BYTES;
        signed[end + 8..end + 24].copy_from_slice(&digest);
    }
    read(&signed);
    read(bytes)
}

fn read(bytes: &[u8]) -> bool {
    let head = bytes.get(..header_bytes(SHAPE.num_layers)).unwrap_or(bytes);
    let Ok(header) = Header::decode(head) else { return false };
    assert_eq!(header.encode(), head, "a header that is accepted is what its encoder writes");
    assert!(header.payload_range(0..header.layers.len()).end <= header.record_bytes());
    let expected = expected();
    let codecs = codec::codecs(Arc::new(Plain));
    let alone = verify_alone(&bytes, &header.key, &codecs);
    let reader =
        Reader { expected: &expected, codecs: &codecs, unix_ms: 0, verification: Verification::On };
    let num_tokens = header.meta.num_tokens as usize;
    // A reader has a buffer of the length that it wants, whatever a record says of itself.
    let mut out = vec![0; SHAPE.chunk_bytes(num_tokens.min(64))];
    let outcome = reader.layers(&bytes, &header.key, 0..SHAPE.num_layers as usize, &mut out);
    let ReadOutcome::Exact(meta, digests) = outcome else { return false };
    assert_eq!(meta, header.meta);
    assert_eq!(alone.as_ref(), Ok(&header), "who does not know whose it is sees the same");
    let layers = out.chunks_exact(SHAPE.layer_bytes(num_tokens));
    for (layer, digest) in layers.zip(digests.iter()) {
        assert_eq!(Digest::of(layer), *digest);
    }
    true
}
