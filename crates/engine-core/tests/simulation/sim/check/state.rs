//! What holds after every call: each sequence is what the truth says.

use crate::sim::driver::{Call, Driver};
use crate::sim::follow::{Queue, table, views};
use crate::sim::violation::{Verdict, ensure};

use super::cache::note_hashes;

impl Driver<'_> {
    pub(in crate::sim) fn check_state(&mut self, call: Call) -> Verdict {
        self.num_calls += 1;
        self.check_sequences()?;
        self.check_drains()?;
        self.check_host_pool()?;
        self.check_pool(call)?;
        self.check_cache(call)
    }

    /// Invariants 6, 18 and 19.
    fn check_sequences(&mut self) -> Verdict {
        let config = &self.world.config;
        let num_running = self.scheduler.running().len() + self.scheduler.loading().len();
        ensure!("18", num_running <= config.max_num_seqs, "{num_running} run");
        let views = views(&self.scheduler, &self.live)?;
        for (seq, (queue, view)) in self.live.iter_mut().zip(views) {
            let seq_id = seq.seq_id();
            let is_right = (queue == Queue::Running) == seq.is_running
                && (queue == Queue::Waiting) == seq.waits();
            ensure!("19", is_right, "{seq_id:?} is in {queue:?}");
            let found = (view.offered_tokens(), view.ahead());
            let expected = (seq.offered.clone(), seq.ahead.as_ref());
            ensure!("load", found == expected, "{seq_id:?}: {found:?}, not {expected:?}");
            let is_same = view.token_ids().len() == seq.token_ids.len()
                && view.token_ids().iter().map(|token| &token.0).eq(&seq.token_ids);
            ensure!("28", is_same, "{seq_id:?} has other tokens");
            let found = (view.num_computed_tokens(), view.num_swapped_tokens());
            let expected = (seq.num_computed, seq.num_swapped);
            ensure!("6", found == expected, "{seq_id:?} computed: {found:?}, not {expected:?}");
            ensure!("6", seq.num_computed < seq.num_tokens(), "{seq_id:?} has nothing to do");
            let num_held = seq.num_held().max(seq.num_computed + seq.in_step);
            let needed = num_held.div_ceil(config.block_size);
            let num_blocks = view.block_table().len();
            ensure!("6", num_blocks == needed, "{seq_id:?} has {num_blocks} blocks of {needed}");
            let is_same = table(view).eq(seq.table.iter().copied());
            ensure!("7", is_same, "{seq_id:?} has another table than {:?}", seq.table);
            let is_same = view.host_blocks().iter().map(|host| &host.0).eq(&seq.host);
            ensure!("swap", is_same, "{seq_id:?} has {:?}, not {:?}", view.host_blocks(), seq.host);
            if !self.world.hashes_collide {
                note_hashes(&mut self.kv_of_hash, seq, view, config.block_size)?;
            }
        }
        Ok(())
    }

    /// Each host block is free once or of one sequence once, and as many as there is KV for.
    fn check_host_pool(&mut self) -> Verdict {
        let num_blocks = self.world.config.num_host_blocks;
        if num_blocks == 0 {
            return Ok(());
        }
        let seen = &mut self.seen_host;
        seen.clear();
        seen.resize(num_blocks, false);
        let free = self.scheduler.host_pool().free_blocks().map(|host| host.0);
        for host in free.chain(self.live.iter().flat_map(|seq| &seq.host).copied()) {
            let was_seen = std::mem::replace(&mut seen[host as usize], true);
            ensure!("swap", !was_seen, "host block {host} is in two places");
        }
        let num_lost = seen.iter().filter(|seen| !**seen).count();
        ensure!("swap", num_lost == 0, "{num_lost} host blocks are lost");
        for seq in self.live.iter().filter(|seq| seq.waits()) {
            let needed = seq.num_swapped.div_ceil(self.world.config.block_size);
            let found = seq.host.len();
            ensure!("swap", found == needed, "{:?} has {found} host blocks", seq.seq_id());
        }
        Ok(())
    }
}
