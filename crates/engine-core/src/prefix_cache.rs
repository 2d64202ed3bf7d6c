//! Which kv_block holds the KV of which tokens.
//!
//! The KV of a kv_block depends on every token before it, so a block is known by a chained hash:
//! BLAKE3 over the hash of the block before it and its own tokens. The chain starts from a root that
//! says whose KV it is (tenant, adapter, KV format), so what must not be shared never meets.

use alloc::vec;
use alloc::vec::Vec;

use hashbrown::HashTable;

use crate::block_pool::BlockId;
use crate::request::TokenId;

/// Name of a full kv_block and of all before it in its sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BlockHash(pub [u8; 32]);

impl BlockHash {
    /// What to call the KV of an engine: the hash of all that its bits depend on besides tokens
    /// (model, numerics, KV dtype and scales), in any words.
    pub fn identity(words: &str) -> Self {
        BlockHash(blake3::hash(words.as_bytes()).into())
    }

    /// A root for one kind of KV: sequences with equal `kv_identity`, `cache_salt` and `adapter`
    /// may share blocks, others never do.
    pub fn root(kv_identity: &Self, cache_salt: Option<&str>, adapter: Option<&str>) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&kv_identity.0);
        for key in [cache_salt, adapter] {
            // The length keeps neighbours apart, and a key that is not given from an empty one.
            hasher.update(&key.map_or(u64::MAX, |key| key.len() as u64).to_le_bytes());
            hasher.update(key.unwrap_or_default().as_bytes());
        }
        BlockHash(hasher.finalize().into())
    }

    /// The block of `token_ids` that follows this one.
    pub fn child(&self, token_ids: &[TokenId]) -> Self {
        const NUM_TOKENS_AT_ONCE: usize = 16;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        for token_ids in token_ids.chunks(NUM_TOKENS_AT_ONCE) {
            let mut bytes = [0; 4 * NUM_TOKENS_AT_ONCE];
            for (bytes, token_id) in bytes.chunks_exact_mut(4).zip(token_ids) {
                bytes.copy_from_slice(&token_id.0.to_le_bytes());
            }
            hasher.update(&bytes[..4 * token_ids.len()]);
        }
        BlockHash(hasher.finalize().into())
    }

    /// What the table of blocks spreads by: any part of a BLAKE3 hash is as random as the whole.
    fn short(&self) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[..8]);
        u64::from_le_bytes(bytes)
    }
}

/// What there is under a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The block with these tokens.
    Hit(BlockId),
    /// Nothing.
    Miss,
    /// A block with other tokens: two chains have one hash.
    Mismatch,
}

/// The published blocks: one block per hash and one hash per block. Memory is taken once, when the
/// cache is made.
#[derive(Clone, Debug)]
pub struct PrefixCache {
    block_size: usize,
    blocks: HashTable<BlockId>,
    /// For each block, the hash under which it is published.
    hashes: Vec<Option<BlockHash>>,
    /// `[num_blocks, block_size]`: the tokens of each published block.
    token_ids: Vec<TokenId>,
}

impl PrefixCache {
    /// A cache without blocks, for blocks below `num_blocks`.
    pub fn new(num_blocks: u32, block_size: usize) -> Self {
        let num_blocks = num_blocks as usize;
        PrefixCache {
            block_size,
            // At most half full, the table cleans up in place and never grows.
            blocks: HashTable::with_capacity(2 * num_blocks),
            hashes: vec![None; num_blocks],
            token_ids: vec![TokenId(0); num_blocks * block_size],
        }
    }

    /// Published blocks.
    pub fn num_blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The hash under which `block` is published.
    pub fn hash_of(&self, block: BlockId) -> Option<BlockHash> {
        self.hashes[block.0 as usize]
    }

    /// The tokens of a block, those of its last publication.
    pub fn token_ids(&self, block: BlockId) -> &[TokenId] {
        let start = block.0 as usize * self.block_size;
        &self.token_ids[start..start + self.block_size]
    }

    /// The block under `hash`, whatever its tokens are.
    pub fn block(&self, hash: &BlockHash) -> Option<BlockId> {
        let is_it = |block: &BlockId| self.hashes[block.0 as usize].as_ref() == Some(hash);
        self.blocks.find(hash.short(), is_it).copied()
    }

    /// The block under `hash`, if it holds `token_ids`.
    pub fn lookup(&self, hash: &BlockHash, token_ids: &[TokenId]) -> Lookup {
        match self.block(hash) {
            Some(block) if self.token_ids(block) == token_ids => Lookup::Hit(block),
            Some(_) => Lookup::Mismatch,
            None => Lookup::Miss,
        }
    }

    /// Makes `block` findable. Answers `false`, and changes nothing, if it is published already or
    /// another block is under this hash.
    pub fn publish(&mut self, block: BlockId, hash: BlockHash, token_ids: &[TokenId]) -> bool {
        if self.hash_of(block).is_some() || self.block(&hash).is_some() {
            return false;
        }
        let start = block.0 as usize * self.block_size;
        self.token_ids[start..start + self.block_size].copy_from_slice(token_ids);
        self.hashes[block.0 as usize] = Some(hash);
        let short_of =
            |block: &BlockId| self.hashes[block.0 as usize].map_or(0, |hash| hash.short());
        self.blocks.insert_unique(hash.short(), block, short_of);
        true
    }

    /// Forgets what `block` holds; answers whether it was published.
    pub fn withdraw(&mut self, block: BlockId) -> bool {
        let Some(hash) = self.hashes[block.0 as usize].take() else {
            return false;
        };
        if let Ok(entry) = self.blocks.find_entry(hash.short(), |other| *other == block) {
            entry.remove();
        }
        true
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.hashes.fill(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(ids: [u32; 4]) -> [TokenId; 4] {
        ids.map(TokenId)
    }

    #[test]
    fn a_hash_names_the_whole_chain_and_its_root() {
        let [bf16, fp8] = ["bf16", "fp8"].map(BlockHash::identity);
        let root = BlockHash::root(&bf16, None, None);
        let (a, b) = (tokens([1, 2, 3, 4]), tokens([5, 6, 7, 8]));
        let chain = root.child(&a).child(&b);
        assert_eq!(chain, BlockHash::root(&bf16, None, None).child(&a).child(&b));
        let others = [
            root.child(&b).child(&b),
            root.child(&b),
            root.child(&a),
            root.child(&b).child(&a),
            BlockHash::root(&fp8, None, None).child(&a).child(&b),
            BlockHash::root(&bf16, Some(""), None).child(&a).child(&b),
            BlockHash::root(&bf16, Some("x"), None).child(&a).child(&b),
            BlockHash::root(&bf16, None, Some("x")).child(&a).child(&b),
        ];
        for (i, other) in others.iter().enumerate() {
            assert_ne!(*other, chain, "{i}");
            assert!(others[..i].iter().all(|earlier| earlier != other), "{i}");
        }
    }

    /// The hash is that of the parent's 32 bytes and four little-endian bytes per token, however
    /// many tokens a block has.
    #[test]
    fn a_hash_is_blake3_of_parent_and_tokens() {
        let root = BlockHash::identity("");
        for num_tokens in [1, 15, 16, 17, 256] {
            let token_ids: Vec<TokenId> =
                (0..num_tokens).map(|i| TokenId(i * 0x0101_0101)).collect();
            let mut bytes = root.0.to_vec();
            bytes.extend(token_ids.iter().flat_map(|token_id| token_id.0.to_le_bytes()));
            assert_eq!(root.child(&token_ids).0, *blake3::hash(&bytes).as_bytes());
        }
    }

    #[test]
    fn one_block_per_hash_and_one_hash_per_block() {
        let mut cache = PrefixCache::new(3, 4);
        let (one, two) = (tokens([1, 2, 3, 4]), tokens([5, 6, 7, 8]));
        let [first, second] = [one, two].map(|t| BlockHash::identity("").child(&t));
        assert!(cache.publish(BlockId(2), first, &one));
        assert!(!cache.publish(BlockId(2), second, &two), "one block under two hashes");
        assert!(!cache.publish(BlockId(0), first, &one), "two blocks under one hash");
        assert!(cache.publish(BlockId(0), second, &two));
        assert_eq!(cache.lookup(&first, &one), Lookup::Hit(BlockId(2)));
        assert_eq!(cache.lookup(&second, &two), Lookup::Hit(BlockId(0)));
        assert_eq!(cache.lookup(&first, &two), Lookup::Mismatch);
        assert!(cache.withdraw(BlockId(2)) && !cache.withdraw(BlockId(2)));
        assert_eq!(cache.lookup(&first, &one), Lookup::Miss);
        assert_eq!((cache.num_blocks(), cache.hash_of(BlockId(2))), (1, None));
        cache.clear();
        assert_eq!(cache.lookup(&second, &two), Lookup::Miss);
        assert!(cache.publish(BlockId(0), first, &one));
    }

    #[test]
    fn the_table_never_grows() {
        let mut cache = PrefixCache::new(7, 4);
        let capacity = cache.blocks.capacity();
        let mut hash = BlockHash::identity("");
        for round in 0..2000 {
            let block = BlockId(round % 7);
            let token_ids = tokens([round, 0, 0, 0]);
            hash = hash.child(&token_ids);
            cache.withdraw(block);
            assert!(cache.publish(block, hash, &token_ids));
            assert_eq!(cache.lookup(&hash, &token_ids), Lookup::Hit(block));
        }
        assert_eq!((cache.num_blocks(), cache.blocks.capacity()), (7, capacity));
    }
}
