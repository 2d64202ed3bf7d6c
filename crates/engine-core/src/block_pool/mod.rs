//! The kv_blocks: who holds them, which are free, and in what order the free ones are lent.
//!
//! vLLM's rules. A kv_block can be in several block tables; it is free when it is in none. A free
//! block that is published keeps its KV until it is lent again, so the free blocks are a queue: what
//! nobody can find goes to its front, what is published to its back, and lending takes the front.
//! Tables are given back from their end, so a sequence's later blocks, useless without the earlier
//! ones, are lost first.

mod free_list;
mod host;

use alloc::vec;
use alloc::vec::Vec;

pub use host::{HostBlockId, HostPool};

use crate::prefix_cache::{BlockHash, Lookup, PrefixCache};
use crate::request::TokenId;
use free_list::FreeList;

/// One kv_block: `block_size` token slots in every layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u32);

/// Lends kv_blocks to block tables. Every operation is O(1) per kv_block and allocates nothing but
/// what a table grows by.
#[derive(Clone, Debug)]
pub struct BlockPool {
    free_list: FreeList,
    /// For each block, the tables it is in.
    ref_counts: Vec<u32>,
    /// `None`: nothing is ever published.
    prefix_cache: Option<PrefixCache>,
    peak_used: usize,
    num_published: u64,
    num_evicted: u64,
}

impl BlockPool {
    /// A pool of `num_blocks` free blocks of `block_size` tokens, lent from block 0 up at first.
    pub fn new(num_blocks: u32, block_size: usize, enable_prefix_caching: bool) -> Self {
        let mut free_list = FreeList::new(num_blocks);
        (0..num_blocks).for_each(|block| free_list.push_back(BlockId(block)));
        BlockPool {
            free_list,
            ref_counts: vec![0; num_blocks as usize],
            prefix_cache: enable_prefix_caching.then(|| PrefixCache::new(num_blocks, block_size)),
            peak_used: 0,
            num_published: 0,
            num_evicted: 0,
        }
    }

    /// Blocks in all.
    pub fn num_blocks(&self) -> usize {
        self.ref_counts.len()
    }

    /// Blocks that no table holds.
    pub fn num_free(&self) -> usize {
        self.free_list.len()
    }

    /// Blocks that tables hold.
    pub fn num_used(&self) -> usize {
        self.num_blocks() - self.num_free()
    }

    /// The most blocks that were ever held at once.
    pub fn peak_used(&self) -> usize {
        self.peak_used
    }

    /// Blocks that were ever published.
    pub fn num_published(&self) -> u64 {
        self.num_published
    }

    /// Published blocks that were lent again, and so lost their KV.
    pub fn num_evicted(&self) -> u64 {
        self.num_evicted
    }

    /// The free blocks, next to be lent first.
    pub fn free_blocks(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.free_list.iter()
    }

    /// The free blocks, next to be lent last.
    pub fn free_blocks_back(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.free_list.iter_back()
    }

    /// Tables that hold `block`.
    pub fn ref_count(&self, block: BlockId) -> u32 {
        self.ref_counts[block.0 as usize]
    }

    /// The published blocks; `None` if there can be none.
    pub fn prefix_cache(&self) -> Option<&PrefixCache> {
        self.prefix_cache.as_ref()
    }

    /// The published block with this hash and these tokens.
    pub(crate) fn lookup(&self, hash: &BlockHash, token_ids: &[TokenId]) -> Lookup {
        let lookup = |cache: &PrefixCache| cache.lookup(hash, token_ids);
        self.prefix_cache.as_ref().map_or(Lookup::Miss, lookup)
    }

    /// Whether the KV of `block` can be found.
    pub(crate) fn is_published(&self, block: BlockId) -> bool {
        self.prefix_cache.as_ref().is_some_and(|cache| cache.hash_of(block).is_some())
    }

    /// Whether a table can get `hits`, published blocks, and `num_new` blocks more.
    pub(crate) fn can_lend(&self, hits: &[BlockId], num_new: usize) -> bool {
        let num_free_hits = hits.iter().filter(|&&block| self.ref_count(block) == 0).count();
        num_free_hits + num_new <= self.num_free()
    }

    /// Appends `hits`, published blocks, and then `num_new` blocks to `block_table`, or changes
    /// nothing and answers `false` when too few are free. The hits are taken first, so that none of
    /// them is lent as a new block.
    #[must_use]
    pub fn allocate(
        &mut self,
        hits: &[BlockId],
        num_new: usize,
        block_table: &mut Vec<BlockId>,
    ) -> bool {
        if !self.can_lend(hits, num_new) {
            return false;
        }
        for &block in hits {
            let ref_count = &mut self.ref_counts[block.0 as usize];
            if *ref_count == 0 {
                self.free_list.remove(block);
            }
            *ref_count += 1;
            block_table.push(block);
        }
        for _ in 0..num_new {
            let Some(block) = self.free_list.pop_front() else {
                break;
            };
            self.evict(block);
            self.ref_counts[block.0 as usize] = 1;
            block_table.push(block);
        }
        self.peak_used = self.peak_used.max(self.num_used());
        true
    }

    fn evict(&mut self, block: BlockId) {
        if let Some(cache) = &mut self.prefix_cache {
            self.num_evicted += u64::from(cache.withdraw(block));
        }
    }

    /// Takes back all of `block_table` but its first `num_kept` blocks, its last block first.
    ///
    /// # Panics
    /// When a block of the table is not lent: two tables would come to share it unknowingly and
    /// each would read the other's KV.
    pub fn truncate(&mut self, block_table: &mut Vec<BlockId>, num_kept: usize) {
        while block_table.len() > num_kept {
            let Some(block) = block_table.pop() else {
                break;
            };
            let ref_count = &mut self.ref_counts[block.0 as usize];
            assert!(*ref_count > 0, "kv_block {} is freed twice", block.0);
            *ref_count -= 1;
            if *ref_count > 0 {
                continue;
            }
            if self.is_published(block) {
                self.free_list.push_back(block);
            } else {
                self.free_list.push_front(block);
            }
        }
    }

    /// Makes a block that a table holds findable under `hash`, unless another already is.
    pub(crate) fn publish(&mut self, block: BlockId, hash: BlockHash, token_ids: &[TokenId]) {
        if let Some(cache) = &mut self.prefix_cache {
            self.num_published += u64::from(cache.publish(block, hash, token_ids));
        }
    }

    /// Forgets all published blocks; answers `false`, and does nothing, while a table holds any
    /// block.
    pub(crate) fn reset_prefix_cache(&mut self) -> bool {
        if self.num_used() > 0 {
            return false;
        }
        if let Some(cache) = &mut self.prefix_cache {
            cache.clear();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(blocks: &[BlockId]) -> Vec<u32> {
        blocks.iter().map(|block| block.0).collect()
    }

    fn free_ids(pool: &BlockPool) -> Vec<u32> {
        pool.free_blocks().map(|block| block.0).collect()
    }

    /// Publishes `block` as what follows nothing and holds its own number.
    fn publish(pool: &mut BlockPool, block: BlockId) {
        let token_ids = [TokenId(block.0)];
        pool.publish(block, BlockHash::identity("").child(&token_ids), &token_ids);
    }

    #[test]
    fn lends_in_order_and_reuses_what_came_back_last() {
        let mut pool = BlockPool::new(6, 1, true);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        assert!(pool.allocate(&[], 3, &mut a) && pool.allocate(&[], 2, &mut b));
        assert_eq!((ids(&a), ids(&b)), (vec![0, 1, 2], vec![3, 4]));
        pool.truncate(&mut a, 0);
        assert!(a.is_empty());
        assert!(pool.allocate(&[], 4, &mut b));
        assert_eq!(ids(&b), [3, 4, 0, 1, 2, 5]);
        assert_eq!((pool.num_free(), pool.num_used(), pool.peak_used()), (0, 6, 6));
    }

    #[test]
    fn published_blocks_are_lent_last_the_end_of_a_table_before_its_start() {
        let mut pool = BlockPool::new(6, 1, true);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        assert!(pool.allocate(&[], 3, &mut a) && pool.allocate(&[], 2, &mut b));
        [0, 1, 3].into_iter().for_each(|block| publish(&mut pool, BlockId(block)));
        pool.truncate(&mut a, 0);
        pool.truncate(&mut b, 0);
        // 2 and 4 were never published; 1 came back before 0, then 3.
        assert_eq!(free_ids(&pool), [4, 2, 5, 1, 0, 3]);
        assert!(pool.allocate(&[], 4, &mut a));
        assert_eq!((ids(&a), pool.num_evicted()), (vec![4, 2, 5, 1], 1));
        assert!(!pool.is_published(BlockId(1)) && pool.is_published(BlockId(0)));
    }

    #[test]
    fn a_hit_is_taken_before_new_blocks_and_counts_as_free() {
        let mut pool = BlockPool::new(2, 1, true);
        let (mut a, mut b, mut c) = (Vec::new(), Vec::new(), Vec::new());
        assert!(pool.allocate(&[], 1, &mut a));
        publish(&mut pool, BlockId(0));
        pool.truncate(&mut a, 0);
        // The hit is next to be lent but for one, and uses up one of the two free blocks.
        assert!(!pool.allocate(&[BlockId(0)], 2, &mut a));
        assert_eq!((free_ids(&pool), a.len()), (vec![1, 0], 0));
        assert!(pool.allocate(&[BlockId(0)], 1, &mut a));
        assert_eq!((ids(&a), pool.num_evicted()), (vec![0, 1], 0));
        // A hit that is lent already costs nothing, and is free only after both gave it back.
        assert!(pool.allocate(&[BlockId(0)], 0, &mut b));
        assert!(!pool.allocate(&[BlockId(0)], 1, &mut c));
        assert_eq!(pool.ref_count(BlockId(0)), 2);
        pool.truncate(&mut a, 1);
        assert_eq!((ids(&a), free_ids(&pool)), (vec![0], vec![1]));
        pool.truncate(&mut a, 0);
        assert_eq!((pool.ref_count(BlockId(0)), pool.num_used()), (1, 1));
        assert!(!pool.reset_prefix_cache());
        pool.truncate(&mut b, 0);
        assert_eq!(free_ids(&pool), [1, 0]);
        assert!(pool.reset_prefix_cache() && !pool.is_published(BlockId(0)));
    }

    #[test]
    fn a_failed_allocation_changes_nothing() {
        let mut pool = BlockPool::new(3, 1, false);
        let mut table = Vec::new();
        assert!(pool.allocate(&[], 1, &mut table));
        let free = free_ids(&pool);
        assert!(!pool.allocate(&[], 3, &mut table));
        assert_eq!(free_ids(&pool), free);
        assert_eq!(ids(&table), [0]);
        assert_eq!((pool.num_used(), pool.peak_used()), (1, 1));
        assert!(pool.allocate(&[], 2, &mut table));
    }

    #[test]
    #[should_panic(expected = "kv_block 1 is freed twice")]
    fn a_block_cannot_come_back_twice() {
        let mut pool = BlockPool::new(2, 1, false);
        let mut table = Vec::new();
        assert!(pool.allocate(&[], 2, &mut table));
        let mut copy = table.clone();
        pool.truncate(&mut table, 0);
        pool.truncate(&mut copy, 0);
    }
}
