//! What can be found, and whether it is what it says.

use std::collections::HashMap;

use engine_core::block_pool::BlockId;
use engine_core::prefix_cache::BlockHash;
use engine_core::sequence::Sequence;

use crate::sim::driver::{Call, Driver};
use crate::sim::truth::{Kv, TrueSeq};
use crate::sim::violation::{Verdict, ensure};

/// Notes what KV the blocks of a sequence have: one hash, one KV (invariants 11 and 13).
pub fn note_hashes(
    kv_of_hash: &mut HashMap<BlockHash, Kv>,
    seq: &mut TrueSeq,
    view: &Sequence,
    block_size: usize,
) -> Verdict {
    let hashes = view.block_hashes();
    for (idx, hash) in hashes.iter().enumerate().skip(seq.num_noted_hashes) {
        let kv = seq.kv[(idx + 1) * block_size - 1];
        let noted = *kv_of_hash.entry(*hash).or_insert(kv);
        ensure!("13", noted == kv, "block {idx} of {:?} has the hash of another", seq.seq_id());
    }
    seq.num_noted_hashes = hashes.len();
    Ok(())
}

impl Driver<'_> {
    /// Invariants 10, 11 and 14, for what a call changed.
    pub(super) fn check_cache(&mut self, call: Call) -> Verdict {
        let pool = self.scheduler.block_pool();
        let Some(cache) = pool.prefix_cache() else {
            let num_published = self.scheduler.stats().num_published_blocks;
            ensure!("10", num_published == 0, "{num_published} blocks are published nowhere");
            return Ok(());
        };
        let mut num_found = 0;
        for (idx, noted) in self.published.iter_mut().enumerate() {
            let block = BlockId(idx as u32);
            let hash = cache.hash_of(block);
            num_found += usize::from(hash.is_some());
            if hash == *noted {
                continue;
            }
            if noted.take().is_some() {
                let is_lent = pool.ref_count(block) > 0;
                let may = call == Call::Reset || (call == Call::Schedule && is_lent);
                ensure!("10", may, "{block:?} cannot be found any more after {call:?}");
                self.counts.num_evicted_blocks += u64::from(call == Call::Schedule);
            }
            if let Some(hash) = hash {
                let may = matches!(call, Call::Commit | Call::EndLoad);
                ensure!("14", may, "{block:?} is published by {call:?}");
                self.counts.num_published_blocks += 1;
                ensure!("10", cache.block(&hash) == Some(block), "{block:?} is not found");
                let last = self.store.last(block.0);
                let is_of_hash = last == self.kv_of_hash.get(&hash).copied();
                let is_true = last.is_some() && (is_of_hash || self.world.hashes_collide);
                ensure!("11", is_true, "{block:?} is published, but holds something else");
                *noted = Some(hash);
            }
        }
        let num_blocks = cache.num_blocks();
        ensure!("10", num_blocks == num_found, "{num_blocks} of {num_found} can be found");
        Ok(())
    }
}
