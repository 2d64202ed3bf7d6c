//! A KV store without an engine: `cargo run -p kv-store --example library`.
//!
//! Whatever computes KV needs three things: an identity that says what its KV depends on, chunks in canonical layout, and
//! the willingness to compute what is missed.
#![forbid(unsafe_code)]

use std::error::Error;
use std::path::Path;

use engine_core::request::TokenId;
use kv_store::chunk::ChunkShape;
use kv_store::identity::{Identity, IdentityParts};
use kv_store::keys::{Salt, TenantTag};
use kv_store::outcome::Lookup;
use kv_store::store::{NewChunk, Store, StoreConfig};
use kv_store::tier::{DirectoryConfig, Durability, HostConfig};

/// A small model: four layers, two KV heads of 16 bf16 elements.
const SHAPE: ChunkShape =
    ChunkShape { num_layers: 4, num_kv_heads: 2, head_dim: 16, element_bytes: 2 };

fn open(directory: &Path) -> Result<Store, Box<dyn Error>> {
    // Real digests are of the files' bytes, never of their names.
    let digest = |bytes: &[u8]| *blake3::hash(bytes).as_bytes();
    let identity = Identity::new(&IdentityParts {
        weights: digest(b"the weights' bytes"),
        tokenizer: digest(b"the tokenizer's"),
        config: digest(b"the configuration's, RoPE included"),
        kv_dtype: "bf16",
        kv_scales: digest(b"none"),
        numerics: "my-engine 1.0, f32 sums in order",
        lossy_codec: None,
    })?;
    let config = StoreConfig {
        chunk_size: 64,
        tail_granularity: 16,
        host: Some(HostConfig::lru(64 << 20)),
        directory: Some(DirectoryConfig {
            durability: Durability::Data,
            ..DirectoryConfig::new(directory.join("kv"), 1 << 30)
        }),
        ..StoreConfig::default()
    };
    Ok(Store::open(config, identity, SHAPE)?)
}

/// What costs so much that it is worth remembering: here, bytes that depend on every token so far.
fn compute(tokens: &[TokenId], num_tokens: usize) -> Vec<u8> {
    let seed = tokens.iter().fold(1u32, |sum, token| sum.wrapping_mul(31).wrapping_add(token.0));
    (0..SHAPE.chunk_bytes(num_tokens) as u32)
        .map(|i| (seed.wrapping_add(i * i) >> 3) as u8)
        .collect()
}

/// KV of a prompt; how many of its tokens came from the store.
fn prefill(store: &Store, prompt: &[TokenId]) -> Result<usize, Box<dyn Error>> {
    let salt = Salt::shared();
    let hits = store.lookup(&salt, prompt);
    let mut num_cached = 0;
    for hit in &hits.chunks {
        let mut bytes = vec![0; SHAPE.chunk_bytes(hit.tokens.len())];
        match store.get(&hit.key, 0..SHAPE.num_layers as usize, &mut bytes) {
            Lookup::Hit(_) => {
                if bytes != compute(&prompt[..hit.tokens.end], hit.tokens.len()) {
                    return Err("a hit must be exact".into());
                }
                num_cached = hit.tokens.end;
            }
            // Gone, or not to be trusted: from here on it is computed.
            miss => {
                println!("{:?}: {miss:?}", hit.tokens);
                break;
            }
        }
    }
    for chunk in store.chunks_of(&salt, prompt) {
        if chunk.tokens.start < num_cached {
            continue;
        }
        let bytes = compute(&prompt[..chunk.tokens.end], chunk.tokens.len());
        let tenant = TenantTag::SHARED;
        store.put(NewChunk { key: chunk.key, tokens: chunk.tokens, tenant, ttl_ms: None }, bytes);
    }
    Ok(num_cached)
}

/// The same prompt cold, warm, after a restart, and with another question at its end.
pub fn run(directory: &Path) -> Result<(), Box<dyn Error>> {
    let document: Vec<TokenId> = (0..200).map(|i| TokenId(i * 17 % 1000)).collect();
    let store = open(directory)?;
    let cold = prefill(&store, &document)?;
    let warm = prefill(&store, &document)?;
    drop(store);
    let store = open(directory)?;
    let restarted = prefill(&store, &document)?;
    let mut question = document[..190].to_vec();
    question.extend([TokenId(5); 20]);
    let asked = prefill(&store, &question)?;
    println!("cold {cold}, warm {warm}, restarted {restarted}, another question {asked}");
    for (tier, usage, stats) in store.stats() {
        println!("{}: {} chunks, {} hits", tier.name(), usage.num_chunks, stats.hits);
    }
    if [cold, warm, restarted, asked] != [0, 192, 192, 128] {
        return Err("the store did not find what it should".into());
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::temp_dir().join(format!("kv-store-example-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let result = run(&directory);
    std::fs::remove_dir_all(&directory)?;
    result
}
