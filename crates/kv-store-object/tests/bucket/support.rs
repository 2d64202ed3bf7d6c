//! Chunks of a small shape.

use std::sync::Arc;

use kv_store::chunk::ChunkShape;
use kv_store::clock::SystemClock;
use kv_store::identity::{Identity, IdentityParts};
use kv_store::keys::{ChunkKey, TenantTag};
use kv_store::outcome::{ChunkMeta, Lookup};
use kv_store::tier::{Chunk, Expected, Tier};
use kv_store_object::{ObjectConfig, ObjectTier};

pub const SHAPE: ChunkShape =
    ChunkShape { num_layers: 2, num_kv_heads: 1, head_dim: 8, element_bytes: 2 };
/// Of a chunk of 16 tokens.
pub const CHUNK_BYTES: usize = 2 * 2 * 16 * 8 * 2;

pub fn expected() -> Arc<Expected> {
    let identity = Identity::new(&IdentityParts::of_no_model(1));
    Arc::new(Expected { identity: identity.unwrap(), shape: SHAPE })
}

pub fn open(config: &ObjectConfig) -> ObjectTier {
    ObjectTier::open(config, expected(), Arc::new(SystemClock::new())).unwrap()
}

pub fn key(i: u8) -> ChunkKey {
    ChunkKey([i; 32])
}

pub fn bytes(i: u8) -> Vec<u8> {
    (0..CHUNK_BYTES).map(|at| (at % 251) as u8 ^ i).collect()
}

pub fn chunk(i: u8) -> Arc<Chunk> {
    let meta = ChunkMeta {
        first_token: 0,
        num_tokens: 16,
        tenant: TenantTag::SHARED,
        created_ms: 1,
        expires_ms: None,
    };
    Arc::new(Chunk::seal(&SHAPE, key(i), meta, bytes(i)).unwrap())
}

/// A read of the whole chunk; a hit has its bytes.
pub fn get(tier: &dyn Tier, i: u8) -> Lookup {
    let mut out = vec![0; CHUNK_BYTES];
    let lookup = tier.get(&key(i), 0..2, &mut out);
    assert!(!lookup.is_hit() || out == bytes(i), "chunk {i}: wrong bytes");
    lookup
}
