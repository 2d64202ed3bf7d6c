//! A queue of free kv_blocks from whose middle any block can be taken.

use alloc::vec;
use alloc::vec::Vec;

use super::BlockId;

/// Neighbours of an entry.
#[derive(Clone, Copy, Debug)]
struct Links {
    prev: u32,
    next: u32,
}

/// A doubly linked list over block numbers, its links kept in one array: every change is O(1) and
/// allocates nothing. The entry after the last block closes the ring; it is before the first free
/// block and after the last.
#[derive(Clone, Debug)]
pub(super) struct FreeList {
    links: Vec<Links>,
    len: usize,
}

/// `prev` of a block that is not in the list.
const ABSENT: u32 = u32::MAX;

impl FreeList {
    /// A list without entries that can hold blocks below `num_blocks`.
    pub(super) fn new(num_blocks: u32) -> Self {
        let mut links = vec![Links { prev: ABSENT, next: ABSENT }; num_blocks as usize + 1];
        links[num_blocks as usize] = Links { prev: num_blocks, next: num_blocks };
        FreeList { links, len: 0 }
    }

    fn end(&self) -> u32 {
        (self.links.len() - 1) as u32
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn contains(&self, block: BlockId) -> bool {
        self.links[block.0 as usize].prev != ABSENT
    }

    /// Puts a block before all others.
    pub(super) fn push_front(&mut self, block: BlockId) {
        let next = self.links[self.end() as usize].next;
        self.insert_before(block, next);
    }

    /// Puts a block behind all others.
    pub(super) fn push_back(&mut self, block: BlockId) {
        self.insert_before(block, self.end());
    }

    fn insert_before(&mut self, block: BlockId, next: u32) {
        debug_assert!(!self.contains(block), "kv_block {} is free twice", block.0);
        let prev = self.links[next as usize].prev;
        self.links[block.0 as usize] = Links { prev, next };
        self.links[prev as usize].next = block.0;
        self.links[next as usize].prev = block.0;
        self.len += 1;
    }

    /// Takes the first block.
    pub(super) fn pop_front(&mut self) -> Option<BlockId> {
        let first = self.links[self.end() as usize].next;
        (first != self.end()).then(|| {
            self.remove(BlockId(first));
            BlockId(first)
        })
    }

    /// Takes a block from wherever it is.
    pub(super) fn remove(&mut self, block: BlockId) {
        debug_assert!(self.contains(block), "kv_block {} is not free", block.0);
        let Links { prev, next } = self.links[block.0 as usize];
        self.links[prev as usize].next = next;
        self.links[next as usize].prev = prev;
        self.links[block.0 as usize] = Links { prev: ABSENT, next: ABSENT };
        self.len -= 1;
    }

    /// The blocks, first to last.
    pub(super) fn iter(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.walk(|links| links.next)
    }

    /// The blocks, last to first.
    pub(super) fn iter_back(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.walk(|links| links.prev)
    }

    fn walk(&self, step: impl Fn(Links) -> u32) -> impl Iterator<Item = BlockId> {
        let mut at = self.end();
        core::iter::from_fn(move || {
            at = step(self.links[at as usize]);
            (at != self.end()).then_some(BlockId(at))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both_ways(list: &FreeList) -> Vec<u32> {
        let forward: Vec<u32> = list.iter().map(|block| block.0).collect();
        let mut backward: Vec<u32> = list.iter_back().map(|block| block.0).collect();
        backward.reverse();
        assert_eq!(forward, backward);
        assert_eq!(forward.len(), list.len());
        forward
    }

    #[test]
    fn blocks_leave_from_the_front_and_from_anywhere() {
        let mut list = FreeList::new(5);
        assert_eq!(list.pop_front(), None);
        (0..4).for_each(|block| list.push_back(BlockId(block)));
        list.push_front(BlockId(4));
        assert_eq!(both_ways(&list), [4, 0, 1, 2, 3]);
        list.remove(BlockId(1));
        list.remove(BlockId(3));
        assert_eq!(both_ways(&list), [4, 0, 2]);
        assert!(list.contains(BlockId(0)) && !list.contains(BlockId(3)));
        assert_eq!(list.pop_front(), Some(BlockId(4)));
        list.push_back(BlockId(3));
        assert_eq!(both_ways(&list), [0, 2, 3]);
        for block in [0, 2, 3] {
            assert_eq!(list.pop_front(), Some(BlockId(block)));
        }
        assert_eq!((list.pop_front(), list.len()), (None, 0));
    }

    #[test]
    fn a_list_of_no_blocks_is_empty() {
        assert_eq!(FreeList::new(0).pop_front(), None);
    }
}
