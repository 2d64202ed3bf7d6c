//! What is moved.

use std::sync::Arc;

use kv_store::chunk::ChunkShape;
use kv_store::identity::{Identity, IdentityParts};
use kv_store::keys::{ChunkKey, Salt, chain};
use kv_store::outcome::ChunkMeta;
use kv_store::tier::{Chunk, Expected};

use engine_core::request::TokenId;

use crate::cli::error::CliError;

/// SmolLM2-135M's in bf16.
pub(super) const SHAPE: ChunkShape =
    ChunkShape { num_layers: 30, num_kv_heads: 3, head_dim: 64, element_bytes: 2 };
pub(super) const BYTES_PER_TOKEN: usize = 23_040;

/// Chunks that are more than the processor's caches hold.
pub(super) struct Chunks {
    pub(super) num_tokens: u32,
    keys: Vec<ChunkKey>,
    bytes: Vec<u8>,
    meta: ChunkMeta,
}

pub(super) fn identity() -> Result<Identity, CliError> {
    Identity::new(&IdentityParts::of_no_model(1))
        .map_err(|error| CliError::from_internal_error(&error))
}

pub(super) fn expected() -> Result<Arc<Expected>, CliError> {
    Ok(Arc::new(Expected { identity: identity()?, shape: SHAPE }))
}

impl Chunks {
    pub(super) fn new(num_tokens: u32, megabytes: u32) -> Chunks {
        let chunk_bytes = num_tokens as usize * BYTES_PER_TOKEN;
        let num_chunks = (megabytes as usize * 1_000_000 / chunk_bytes).max(1);
        let tokens: Vec<TokenId> = (0..num_chunks as u32).map(TokenId).collect();
        let keys = identity().map(|identity| chain(&identity, &Salt::shared(), &tokens, 1));
        // No zeros and no pattern: neither a file system nor a device may make less of it.
        let mut state = 1_u32;
        let bytes = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        Chunks {
            num_tokens,
            keys: keys.into_iter().flatten().map(|chunk| chunk.key).collect(),
            bytes: bytes.take(chunk_bytes).collect(),
            meta: ChunkMeta {
                first_token: 0,
                num_tokens,
                tenant: Salt::shared().tenant_tag(),
                created_ms: 1,
                expires_ms: None,
            },
        }
    }

    pub(super) fn keys(&self) -> &[ChunkKey] {
        &self.keys
    }

    /// The same of each: only where they lie differs.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn num_bytes(&self) -> usize {
        self.keys.len() * self.bytes.len()
    }

    /// A chunk of bytes that nobody has looked at yet.
    pub(super) fn seal(&self, key: &ChunkKey, bytes: Vec<u8>) -> Result<Arc<Chunk>, CliError> {
        Chunk::seal(&SHAPE, *key, self.meta.clone(), bytes)
            .map(Arc::new)
            .ok_or_else(|| CliError::internal("a chunk has another length than its shape says"))
    }
}
