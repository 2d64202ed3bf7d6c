//! Room in host memory for kv_blocks that are swapped out.

use alloc::vec::Vec;

/// Host memory for one kv_block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostBlockId(pub u32);

/// Lends host blocks, the one given back last first.
#[derive(Clone, Debug)]
pub struct HostPool {
    num_blocks: usize,
    /// The next to lend is the last.
    free: Vec<HostBlockId>,
}

impl HostPool {
    /// A pool of `num_blocks` free blocks, lent from block 0 up at first.
    pub fn new(num_blocks: u32) -> Self {
        HostPool {
            num_blocks: num_blocks as usize,
            free: (0..num_blocks).rev().map(HostBlockId).collect(),
        }
    }

    /// Blocks in all.
    pub fn num_blocks(&self) -> usize {
        self.num_blocks
    }

    /// Blocks that hold nothing.
    pub fn num_free(&self) -> usize {
        self.free.len()
    }

    /// The free blocks, next to be lent first.
    pub fn free_blocks(&self) -> impl ExactSizeIterator<Item = HostBlockId> + '_ {
        self.free.iter().rev().copied()
    }

    /// Appends `num_blocks` blocks to `host_blocks`, or changes nothing and answers `false`.
    #[must_use]
    pub(crate) fn allocate(
        &mut self,
        num_blocks: usize,
        host_blocks: &mut Vec<HostBlockId>,
    ) -> bool {
        let Some(num_kept) = self.free.len().checked_sub(num_blocks) else {
            return false;
        };
        host_blocks.extend(self.free.drain(num_kept..).rev());
        true
    }

    /// Takes back all of `host_blocks`.
    pub(crate) fn free(&mut self, host_blocks: &mut Vec<HostBlockId>) {
        self.free.extend(host_blocks.drain(..).rev());
        debug_assert!(self.free.len() <= self.num_blocks, "a host block is freed twice");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn lends_all_or_nothing() {
        let mut pool = HostPool::new(4);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        assert!(pool.allocate(3, &mut a));
        assert!(!pool.allocate(2, &mut b));
        assert_eq!((pool.num_free(), b.len()), (1, 0));
        assert!(pool.allocate(1, &mut b));
        assert_eq!(
            (a.clone(), b),
            (vec![0, 1, 2].into_iter().map(HostBlockId).collect(), vec![HostBlockId(3)])
        );
        pool.free(&mut a);
        assert_eq!(pool.free_blocks().collect::<Vec<_>>(), [0, 1, 2].map(HostBlockId));
    }
}
