//! The kv_blocks that are free and those that are lent out.

use alloc::vec;
use alloc::vec::Vec;

/// One kv_block: `block_size` token slots in every layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u32);

/// Lends kv_blocks to sequences. Allocation and release are O(1) per kv_block and in a fixed
/// order: the one freed last is lent first, while its memory is still in a cache.
///
/// Block tables own what they hold; the pool remembers which blocks are out, so that a block can
/// neither be lent twice nor come back twice.
#[derive(Clone, Debug)]
pub struct BlockPool {
    /// Free blocks; the next to lend is the last.
    free: Vec<BlockId>,
    /// For each block, whether a table holds it.
    is_lent: Vec<bool>,
    peak_used: usize,
}

impl BlockPool {
    /// A pool of `num_blocks` free blocks, which it lends from block 0 up.
    pub fn new(num_blocks: u32) -> Self {
        BlockPool {
            free: (0..num_blocks).rev().map(BlockId).collect(),
            is_lent: vec![false; num_blocks as usize],
            peak_used: 0,
        }
    }

    /// Blocks in all.
    pub fn num_blocks(&self) -> usize {
        self.is_lent.len()
    }

    /// Blocks that no table holds.
    pub fn num_free(&self) -> usize {
        self.free.len()
    }

    /// Blocks that tables hold.
    pub fn num_used(&self) -> usize {
        self.is_lent.len() - self.free.len()
    }

    /// The most blocks that were ever held at once.
    pub fn peak_used(&self) -> usize {
        self.peak_used
    }

    /// The free blocks, next to be lent first.
    pub fn free_blocks(&self) -> impl ExactSizeIterator<Item = BlockId> + '_ {
        self.free.iter().rev().copied()
    }

    /// Appends `num_blocks` blocks to `block_table`, or changes nothing and answers `false` when
    /// fewer are free.
    #[must_use]
    pub fn allocate(&mut self, num_blocks: usize, block_table: &mut Vec<BlockId>) -> bool {
        let Some(keep) = self.free.len().checked_sub(num_blocks) else {
            return false;
        };
        for block in self.free.drain(keep..).rev() {
            self.is_lent[block.0 as usize] = true;
            block_table.push(block);
        }
        self.peak_used = self.peak_used.max(self.num_used());
        true
    }

    /// Takes back all of `block_table`, its last block first.
    ///
    /// # Panics
    /// When a block of the table is not lent: two tables would come to share it and each would
    /// read the other's KV.
    pub fn free(&mut self, block_table: &mut Vec<BlockId>) {
        for block in block_table.drain(..).rev() {
            let is_lent = &mut self.is_lent[block.0 as usize];
            assert!(*is_lent, "kv_block {} is freed twice", block.0);
            *is_lent = false;
            self.free.push(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(blocks: &[BlockId]) -> Vec<u32> {
        blocks.iter().map(|block| block.0).collect()
    }

    #[test]
    fn lends_in_order_and_reuses_what_came_back_last() {
        let mut pool = BlockPool::new(6);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        assert!(pool.allocate(3, &mut a) && pool.allocate(2, &mut b));
        assert_eq!((ids(&a), ids(&b)), (vec![0, 1, 2], vec![3, 4]));
        pool.free(&mut a);
        assert!(a.is_empty());
        assert!(pool.allocate(4, &mut b));
        assert_eq!(ids(&b), [3, 4, 0, 1, 2, 5]);
        assert_eq!((pool.num_free(), pool.num_used(), pool.peak_used()), (0, 6, 6));
    }

    #[test]
    fn a_failed_allocation_changes_nothing() {
        let mut pool = BlockPool::new(3);
        let mut table = Vec::new();
        assert!(pool.allocate(1, &mut table));
        let free: Vec<_> = pool.free_blocks().collect();
        assert!(!pool.allocate(3, &mut table));
        assert_eq!(pool.free_blocks().collect::<Vec<_>>(), free);
        assert_eq!(ids(&table), [0]);
        assert_eq!((pool.num_used(), pool.peak_used()), (1, 1));
        assert!(pool.allocate(2, &mut table));
    }

    #[test]
    #[should_panic(expected = "kv_block 1 is freed twice")]
    fn a_block_cannot_come_back_twice() {
        let mut pool = BlockPool::new(2);
        let mut table = Vec::new();
        assert!(pool.allocate(2, &mut table));
        let mut copy = table.clone();
        pool.free(&mut table);
        pool.free(&mut copy);
    }
}
