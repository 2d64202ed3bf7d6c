//! Who holds each block, and in what order the free ones will be lent.

use crate::sim::driver::{Call, Driver};
use crate::sim::violation::{Verdict, ensure};
use engine_core::block_pool::BlockId;
use engine_core::scheduler::BlockState;

impl Driver<'_> {
    /// Invariants 1–5 and 16.
    pub(super) fn check_pool(&mut self, call: Call) -> Verdict {
        self.check_refs()?;
        self.check_block_states()?;
        self.check_free_list()?;
        self.check_eviction_order(call)?;
        self.follow_free_list();
        Ok(())
    }

    fn check_refs(&mut self) -> Verdict {
        self.ref_counts.fill(0);
        let drained = self.draining.iter().map(|drain| &drain.table);
        for &block in self.live.iter().map(|seq| &seq.table).chain(drained).flatten() {
            self.ref_counts[block as usize] += 1;
        }
        let pool = self.scheduler.block_pool();
        let mut num_used = 0;
        for (block, &expected) in self.ref_counts.iter().enumerate() {
            let found = pool.ref_count(BlockId(block as u32));
            ensure!("2", found == expected, "block {block}: {found} references of {expected}");
            num_used += usize::from(found > 0);
        }
        let (num_free, found) = (pool.num_free(), pool.num_used());
        ensure!("1", found == num_used, "{found} blocks are used, but {num_used} are in tables");
        let num_blocks = self.ref_counts.len();
        ensure!("1", num_free + num_used == num_blocks, "{num_free} free, {num_used} used");
        Ok(())
    }

    /// What is shown of the pool is what tables, loads and the prefix cache make of it.
    fn check_block_states(&self) -> Verdict {
        let block_size = self.world.config.block_size;
        let loading = self.live.iter().filter(|seq| seq.is_loading()).flat_map(|seq| {
            let ahead = seq.ahead.as_ref().map_or(0, |ahead| ahead.tokens.start);
            &seq.table[ahead / block_size..]
        });
        let pinned: Vec<u32> =
            loading.chain(self.draining.iter().flat_map(|drain| &drain.table)).copied().collect();
        let cache = self.scheduler.block_pool().prefix_cache();
        let states = self.scheduler.block_states();
        for (block, (&found, &num_refs)) in states.iter().zip(&self.ref_counts).enumerate() {
            let block = block as u32;
            let is_published = cache.is_some_and(|cache| cache.hash_of(BlockId(block)).is_some());
            let expected = match num_refs {
                _ if pinned.contains(&block) => BlockState::Pinned,
                0 if is_published => BlockState::Cached,
                0 => BlockState::Free,
                1 => BlockState::Active,
                _ => BlockState::Shared,
            };
            ensure!(
                "2",
                found == expected,
                "block {block} is shown as {found:?}, not {expected:?}"
            );
        }
        let (found, expected) = (states.len(), self.ref_counts.len());
        ensure!("1", found == expected, "{found} blocks are shown of {expected}");
        Ok(())
    }

    /// A block is free if no table has it. What cannot be found is lent first; then what was given
    /// back first, and of one table its end.
    fn check_free_list(&mut self) -> Verdict {
        let pool = self.scheduler.block_pool();
        self.new_free.clear();
        self.new_free.extend(pool.free_blocks().take(self.ref_counts.len() + 1).map(|b| b.0));
        let is_same = pool.free_blocks_back().take(self.new_free.len() + 1).map(|block| block.0);
        let is_same = is_same.eq(self.new_free.iter().rev().copied());
        ensure!("3", is_same, "the free list is another one backwards");
        let mut last = None;
        for &block in &self.new_free {
            let idx = block as usize;
            // Free blocks have no table; counting them as one finds those that are there twice.
            self.ref_counts[idx] += 1;
            ensure!(
                "3",
                self.ref_counts[idx] == 1,
                "block {block} is free and lent, or free twice"
            );
            let is_published =
                pool.prefix_cache().is_some_and(|cache| cache.hash_of(BlockId(block)).is_some());
            if !is_published {
                ensure!("16", last.is_none(), "block {block} is lost, but published ones go first");
                continue;
            }
            let freed_in = match self.freed_in[idx] {
                0 => self.num_calls,
                call => call,
            };
            let (owner, place) = self.was_in[idx];
            if let Some((last_in, last_owner, last_place)) = last {
                ensure!("16", last_in <= freed_in, "block {block} came back before the one ahead");
                let is_reversed = last_in < freed_in || last_owner != owner || last_place > place;
                ensure!("16", is_reversed, "block {block} of {owner:?} goes after its parent");
            }
            last = Some((freed_in, owner, place));
        }
        let (found, expected) = (self.new_free.len(), pool.num_free());
        ensure!("3", found == expected, "{found} blocks are in the free list of {expected}");
        Ok(())
    }

    /// If a published block was lent, so were all that are lent before it.
    fn check_eviction_order(&self, call: Call) -> Verdict {
        let Some(cache) = self.scheduler.block_pool().prefix_cache() else {
            return Ok(());
        };
        if call != Call::Schedule {
            return Ok(());
        }
        let is_evicted = |block: u32| {
            self.published[block as usize].is_some() && cache.hash_of(BlockId(block)).is_none()
        };
        let Some(last) = self.free.iter().rposition(|&block| is_evicted(block)) else {
            return Ok(());
        };
        for &block in &self.free[..last] {
            // 1 for being free and none for tables: it was passed over.
            let is_free = self.scheduler.block_pool().ref_count(BlockId(block)) == 0;
            ensure!("16", !is_free, "block {block} is free, but a later one was evicted");
        }
        Ok(())
    }

    fn follow_free_list(&mut self) {
        let drained = self.draining.iter().map(|drain| (drain.seq_id, &drain.table));
        let tables = self.live.iter().map(|seq| (seq.seq_id(), &seq.table));
        for (seq_id, table) in tables.chain(drained) {
            for (place, &block) in table.iter().enumerate() {
                self.was_in[block as usize] = (seq_id, place);
                self.freed_in[block as usize] = 0;
            }
        }
        for &block in &self.new_free {
            let freed_in = &mut self.freed_in[block as usize];
            if *freed_in == 0 {
                *freed_in = self.num_calls;
            }
        }
        std::mem::swap(&mut self.free, &mut self.new_free);
    }
}
