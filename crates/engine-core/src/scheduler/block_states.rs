//! What each kv_block is used for, for whoever shows the pool.

use alloc::vec::Vec;

use super::Scheduler;
use crate::block_pool::{BlockId, BlockPool};
use crate::sequence::Sequence;

/// What a kv_block is used for at one moment between two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockState {
    /// Nothing: no table has it, and nobody could find what it holds.
    Free,
    /// No table has it, but its KV can be found until it is lent again.
    Cached,
    /// One sequence has it.
    Active,
    /// Several sequences have it.
    Shared,
    /// It is being loaded into: until that is over, nobody can be made to give it back.
    Pinned,
}

impl BlockState {
    /// All of them, from the least used to the most.
    pub const ALL: [BlockState; 5] =
        [Self::Free, Self::Cached, Self::Active, Self::Shared, Self::Pinned];

    fn of(block: BlockId, pool: &BlockPool) -> BlockState {
        match pool.ref_count(block) {
            0 if pool.is_published(block) => BlockState::Cached,
            0 => BlockState::Free,
            1 => BlockState::Active,
            _ => BlockState::Shared,
        }
    }
}

impl Scheduler {
    /// What each kv_block is used for, by its number. O(1) for each, and one allocation of a byte for each.
    pub fn block_states(&self) -> Vec<BlockState> {
        let pool = &self.block_pool;
        let blocks = (0..pool.num_blocks() as u32).map(BlockId);
        let mut states: Vec<_> = blocks.map(|block| BlockState::of(block, pool)).collect();
        let loading = self.loading.iter().chain(&self.running).flat_map(Sequence::loading_blocks);
        let draining = self.draining.iter().flat_map(|drain| &drain.block_table);
        for block in loading.chain(draining) {
            states[block.0 as usize] = BlockState::Pinned;
        }
        states
    }
}
