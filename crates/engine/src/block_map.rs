//! The pool of kv_blocks, small enough to be looked at.

pub use engine_core::scheduler::BlockState;

/// What the kv_blocks of a pool are used for, at one moment between two steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockMap {
    counts: [usize; BlockState::ALL.len()],
    /// Neighbouring blocks that make a cell; the last one may have fewer. At least 1.
    pub blocks_per_cell: usize,
    /// What most blocks of each cell are used for; of two that are as many, the one that comes later in
    /// [`BlockState::ALL`].
    pub cells: Vec<BlockState>,
}

impl BlockMap {
    /// As few blocks for each cell as make at most `max_num_cells`, 1 if that is 0.
    pub(crate) fn of(states: &[BlockState], max_num_cells: usize) -> BlockMap {
        let blocks_per_cell = states.len().div_ceil(max_num_cells.max(1)).max(1);
        let cells = states.chunks(blocks_per_cell).map(|states| most(&counts(states))).collect();
        BlockMap { counts: counts(states), blocks_per_cell, cells }
    }

    /// All blocks of the pool that are used so.
    pub fn num_blocks(&self, state: BlockState) -> usize {
        self.counts[state as usize]
    }
}

fn counts(states: &[BlockState]) -> [usize; BlockState::ALL.len()] {
    let mut counts = [0; BlockState::ALL.len()];
    states.iter().for_each(|&state| counts[state as usize] += 1);
    counts
}

fn most(counts: &[usize; BlockState::ALL.len()]) -> BlockState {
    // Of equals, `max_by_key` gives the last.
    let most = BlockState::ALL.into_iter().max_by_key(|&state| counts[state as usize]);
    most.unwrap_or(BlockState::Free)
}

#[cfg(test)]
mod tests {
    use super::*;
    use BlockState::{Active, Cached, Free, Pinned, Shared};

    #[test]
    fn a_small_pool_is_shown_block_by_block() {
        let states = [Free, Active, Pinned, Shared, Cached, Cached];
        for max_num_cells in [6, 7, 100] {
            let map = BlockMap::of(&states, max_num_cells);
            assert_eq!((map.blocks_per_cell, &map.cells[..]), (1, &states[..]));
        }
        assert_eq!(BlockMap::of(&[], 4).cells, []);
    }

    #[test]
    fn a_large_one_is_shown_by_what_most_blocks_are() {
        let states = [Free, Free, Active, Free, Cached, Cached, Active, Shared, Active, Pinned];
        for (max_num_cells, blocks_per_cell, cells) in [
            (5, 2, vec![Free, Active, Cached, Shared, Pinned]),
            (4, 3, vec![Free, Cached, Active, Pinned]),
            (1, 10, vec![Active]),
            (0, 10, vec![Active]),
        ] {
            let map = BlockMap::of(&states, max_num_cells);
            assert_eq!((map.blocks_per_cell, map.cells), (blocks_per_cell, cells));
        }
    }

    #[test]
    fn the_counts_are_of_all_blocks_whatever_the_cells_show() {
        let map = BlockMap::of(&[Free, Active, Free, Shared, Free, Cached, Free, Pinned], 2);
        let counts = BlockState::ALL.map(|state| map.num_blocks(state));
        assert_eq!(counts, [4, 1, 1, 1, 1]);
        assert_eq!(map.cells, [Free, Free]);
    }
}
