//! What is kept: chunks as those of SmolLM2-135M in bf16.

use std::sync::Arc;

use kv_store::chunk::ChunkShape;
use kv_store::identity::{Identity, IdentityParts};
use kv_store::keys::{ChunkKey, TenantTag};
use kv_store::outcome::ChunkMeta;
use kv_store::tier::{Chunk, Expected};

/// 23,040 bytes a token.
pub const SHAPE: ChunkShape =
    ChunkShape { num_layers: 30, num_kv_heads: 3, head_dim: 64, element_bytes: 2 };

/// Chunks of one size, no two alike.
pub struct Chunks {
    num_tokens: usize,
    /// Of each.
    bytes: Vec<Vec<u8>>,
}

impl Chunks {
    /// As many chunks of `num_tokens` as `working_set_bytes` hold, at least one.
    pub fn new(num_tokens: usize, working_set_bytes: usize) -> Chunks {
        let chunk_bytes = SHAPE.chunk_bytes(num_tokens);
        let mut state = 1u32;
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let num_chunks = (working_set_bytes / chunk_bytes).max(1);
        let bytes = (0..num_chunks).map(|_| (0..chunk_bytes).map(|_| byte()).collect()).collect();
        Chunks { num_tokens, bytes }
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn num_tokens(&self) -> usize {
        self.num_tokens
    }

    pub fn chunk_bytes(&self) -> usize {
        SHAPE.chunk_bytes(self.num_tokens)
    }

    pub fn total_bytes(&self) -> usize {
        self.len() * self.chunk_bytes()
    }

    /// A chunk's bytes, as the engine's pages hold them.
    pub fn bytes(&self, i: usize) -> &[u8] {
        &self.bytes[i]
    }

    /// The same, as `kv-store` takes them: digests are made here.
    pub fn sealed(&self, i: usize) -> Arc<Chunk> {
        let meta = ChunkMeta {
            first_token: 0,
            num_tokens: self.num_tokens as u32,
            tenant: TenantTag::SHARED,
            created_ms: 1,
            expires_ms: None,
        };
        let chunk = Chunk::seal(&SHAPE, key(i), meta, self.bytes(i).to_vec());
        Arc::new(chunk.expect("as many bytes as the shape says"))
    }
}

pub fn key(i: usize) -> ChunkKey {
    ChunkKey(*blake3::hash(&i.to_le_bytes()).as_bytes())
}

/// What a tier of `kv-store` expects of its chunks.
pub fn expected() -> Arc<Expected> {
    let identity = Identity::new(&IdentityParts::of_no_model(1));
    Arc::new(Expected { identity: identity.expect("every part is there"), shape: SHAPE })
}
