//! A small world for stores.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use engine_core::request::TokenId;
use kv_store::chunk::ChunkShape;
use kv_store::clock::Clock;
use kv_store::identity::{Identity, IdentityParts};
use kv_store::keys::{ChunkKey, ChunkOf, TenantTag};
use kv_store::store::NewChunk;
use kv_store::tier::Expected;

pub const SHAPE: ChunkShape =
    ChunkShape { num_layers: 3, num_kv_heads: 2, head_dim: 4, element_bytes: 2 };

pub fn identity(weights: u8) -> Identity {
    Identity::new(&IdentityParts::of_no_model(weights)).unwrap()
}

pub fn expected() -> Arc<Expected> {
    Arc::new(Expected { identity: identity(1), shape: SHAPE })
}

pub fn prompt(num_tokens: u32) -> Vec<TokenId> {
    (0..num_tokens).map(|i| TokenId(i * 7 + 1)).collect()
}

/// Bytes that no other chunk has.
pub fn bytes_of(key: &ChunkKey, num_tokens: usize) -> Vec<u8> {
    let mut state = u64::from_le_bytes(key.0[..8].try_into().unwrap());
    let next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(SHAPE.chunk_bytes(num_tokens)).collect()
}

pub fn new_chunk(chunk: &ChunkOf) -> NewChunk {
    NewChunk {
        key: chunk.key,
        tokens: chunk.tokens.clone(),
        tenant: TenantTag::SHARED,
        ttl_ms: None,
    }
}

/// A clock that is turned by hand.
#[derive(Default)]
pub struct HandClock(pub AtomicU64);

impl HandClock {
    pub fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Relaxed);
    }
}

impl Clock for HandClock {
    fn unix_ms(&self) -> u64 {
        1_700_000_000_000 + self.0.load(Relaxed)
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
