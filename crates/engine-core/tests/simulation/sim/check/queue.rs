//! Who is served, who waits, and who has to give way.

use engine_core::block_pool::BlockId;
use engine_core::prefix_cache::BlockHash;
use engine_core::sequence::Sequence;

use crate::sim::driver::Driver;
use crate::sim::follow::{Admitted, Changes};
use crate::sim::truth::TrueSeq;
use crate::sim::violation::{Verdict, ensure};

impl Driver<'_> {
    /// Invariants 22–25 among those that ran already: nobody idles while there is room.
    pub(in crate::sim) fn check_room(&self, changes: &Changes) -> Verdict {
        let config = &self.world.config;
        let ran = || {
            let is_new = |idx| changes.admitted.iter().any(|admitted| admitted.live_idx == idx);
            let running = self.live.iter().enumerate().filter(|(_, seq)| seq.is_running);
            running.filter(move |(idx, _)| !is_new(*idx)).map(|(_, seq)| seq)
        };
        let has_loads = !self.draining.is_empty() || self.live.iter().any(TrueSeq::is_loading);
        // A load begins whether or not there are rows for what comes before it.
        let has_begun = |idx: usize| {
            let mut admitted = changes.admitted.iter();
            admitted.any(|admitted| admitted.live_idx == idx && admitted.loads.is_some())
        };
        let mut running = self.live.iter().enumerate().filter(|(_, seq)| seq.is_running);
        let first = running.find(|(idx, seq)| seq.in_step > 0 || !has_begun(*idx));
        if let Some((_, first)) = first {
            let idles = first.in_step == 0 && !(has_loads && self.lacks_blocks(first));
            ensure!("25", !idles, "{:?} runs, is first, and idles", first.seq_id());
        } else if let Some(first) = self.live.first() {
            ensure!("25", has_loads, "nobody runs, and {:?} waits", first.seq_id());
        }
        self.check_victims(changes)?;
        let num_left = self.num_rows_left();
        let idle = ran().find(|seq| seq.num_uncomputed() == 1 && seq.in_step == 0);
        if let Some(idle) = idle {
            let seq_id = idle.seq_id();
            let is_stalled = has_loads && self.lacks_blocks(idle);
            let may = num_left == 0 || is_stalled;
            ensure!("25", may, "{seq_id:?} could decode, and {num_left} rows are left");
            let long = self.plan.iter().find(|part| {
                let num_rows = part.num_scheduled_tokens - part.num_draft_tokens;
                config.enable_chunked_prefill && num_rows > 1
            });
            // Those whose loads hold what it lacks go on.
            let long = long.filter(|_| !is_stalled);
            ensure!("25", long.is_none(), "{seq_id:?} does not decode, but there is {long:?}");
            let is_none = changes.admitted.iter().all(|admitted| admitted.loads.is_some());
            ensure!("25", is_none, "{seq_id:?} does not decode, but others are admitted");
        }
        let has_target = config.tpot_target_us.is_some() && changes.num_decodes > 0;
        if !changes.victims.is_empty() || has_target || num_left == 0 {
            return Ok(());
        }
        let is_stalled = |seq: &&TrueSeq| has_loads && seq.in_step == 0 && self.lacks_blocks(seq);
        for seq in ran().filter(|seq| seq.num_uncomputed() > 1 && !is_stalled(seq)) {
            let num_missing = seq.num_next_rows().saturating_sub(seq.in_step);
            let threshold = config.long_prefill_token_threshold;
            let is_capped = threshold > 0 && seq.in_step == threshold;
            let fits = config.enable_chunked_prefill || num_missing <= num_left;
            let idles = num_missing > 0 && !is_capped && fits;
            ensure!("25", !idles, "{:?} gets {} rows, {num_left} are left", seq.key, seq.in_step);
        }
        Ok(())
    }

    /// It alone runs, and its next rows do not fit in what is free: only loads hold the rest.
    fn lacks_blocks(&self, seq: &TrueSeq) -> bool {
        let can_give = |other: &&TrueSeq| other.is_running && !other.is_loading();
        // Who loads has all blocks up to the end of that.
        let is_alone = seq.ahead.is_none() && self.live.iter().filter(can_give).count() == 1;
        let pool = self.scheduler.block_pool();
        let num_wanted = seq.num_tokens().div_ceil(self.world.config.block_size) - seq.table.len();
        is_alone && pool.num_free() < num_wanted
    }

    /// Rows that the step could still have, were it not for guesses.
    fn num_rows_left(&self) -> usize {
        let rows = self.plan.iter().map(|part| part.num_scheduled_tokens - part.num_draft_tokens);
        self.world.config.max_num_batched_tokens - rows.sum::<usize>()
    }

    /// Victims are the last in order, each was needed, and nobody is admitted in their place.
    fn check_victims(&self, changes: &Changes) -> Verdict {
        let Some(least) = changes.victims.first() else {
            return Ok(());
        };
        let admitted = changes.admitted.first().map(|admitted| self.live[admitted.live_idx].key);
        ensure!("22", admitted.is_none(), "{admitted:?} is admitted in a step that preempts");
        let victim = &self.live[least.live_idx];
        let mut later = self.live[least.live_idx..].iter();
        let later = later.find(|seq| seq.is_running && !seq.is_loading());
        let later = later.map(|seq| seq.key);
        ensure!("23", later.is_none(), "{:?} is preempted before {later:?}", victim.key);
        let in_plan = self.plan.iter().find(|part| part.seq_id == victim.seq_id());
        ensure!("22", in_plan.is_none(), "the victim {:?} is in the step", victim.key);
        // It gave back at least what nobody else has now; with that, the step would have fit.
        let pool = self.scheduler.block_pool();
        let num_given = least.table.len();
        let block_size = self.world.config.block_size;
        let num_wanted = victim.num_tokens().div_ceil(block_size) - least.table.len();
        let num_free = pool.num_free();
        // The first may lack more than all others had, which is in loads.
        let is_stalled = self
            .live
            .iter()
            .find(|seq| seq.is_running && !seq.is_loading())
            .is_some_and(|first| first.in_step == 0 && self.lacks_blocks(first));
        let was_needed = num_free < num_given + num_wanted.max(1) || is_stalled;
        ensure!("23", was_needed, "{:?} is preempted, and {num_free} are free", victim.key);
        Ok(())
    }

    /// Invariants 12, 21 and 25 for those that waited, and that nothing is computed twice.
    pub(in crate::sim) fn check_queue(&self, changes: &Changes, num_set_asides: u64) -> Verdict {
        for admitted in &changes.admitted {
            self.check_hits(admitted)?;
        }
        let last_admitted = changes.admitted.last().map(|admitted| admitted.live_idx);
        let (mut num_passed, mut num_made) = (0, 0);
        for (idx, seq) in self.live.iter().enumerate().filter(|(_, seq)| seq.waits()) {
            if !changes.victims.is_empty() {
                break;
            }
            let making = self.in_the_making(seq);
            let is_making = making.is_some();
            if last_admitted.is_some_and(|last| idx < last) {
                num_passed += 1;
                ensure!("21", is_making, "{:?} is passed over for nothing", seq.key);
            }
            // Only so many are looked at.
            num_made += usize::from(is_making);
            // If it was evicted in this step, it may have been there when `seq` was looked at.
            let was_there = is_making && self.published.contains(&making);
            if num_made == self.world.config.max_num_seqs || was_there {
                break;
            }
            if last_admitted.is_none_or(|last| idx > last) && !is_making {
                self.check_next(seq, changes)?;
                break;
            }
        }
        let is_counted = num_passed <= num_set_asides;
        ensure!("31", is_counted, "{num_passed} are passed over, {num_set_asides} set aside");
        Ok(())
    }

    fn view(&self, seq: &TrueSeq) -> Option<&Sequence> {
        self.scheduler.sequence(seq.seq_id())
    }

    /// Full blocks before its last token, if it may look for them.
    fn max_num_hits(&self, seq: &TrueSeq) -> usize {
        let may = self.world.config.enable_prefix_caching && !seq.load.skip_reading;
        if may { (seq.num_tokens() - 1) / self.world.config.block_size } else { 0 }
    }

    /// Hits are true, as many as there are, and leave a token to compute.
    fn check_hits(&self, admitted: &Admitted) -> Verdict {
        let seq = &self.live[admitted.live_idx];
        let (seq_id, num_hits) = (seq.seq_id(), admitted.num_hits);
        let max_num_hits = self.max_num_hits(seq);
        ensure!("12", num_hits <= max_num_hits, "{seq_id:?} hits {num_hits} of {max_num_hits}");
        let block_size = self.world.config.block_size;
        for (idx, &block) in seq.table[..num_hits].iter().enumerate() {
            let is_true = self.store.holds(block, &seq.kv[idx * block_size..][..block_size]);
            ensure!("11", is_true, "{seq_id:?} hits block {block}, which holds something else");
        }
        let Some(view) = self.view(seq).filter(|_| num_hits < max_num_hits) else {
            return Ok(());
        };
        let next = &view.block_hashes()[num_hits];
        let cache = self.scheduler.block_pool().prefix_cache();
        let missed = cache.and_then(|cache| cache.block(next)).filter(|block| {
            self.published[block.0 as usize] == Some(*next) && !self.world.hashes_collide
        });
        ensure!("12", missed.is_none(), "{seq_id:?} hits {num_hits} blocks, {missed:?} is next");
        if admitted.was_swapped {
            return Ok(());
        }
        // A block that was evicted in this very step was nobody's to make.
        let was_published = self.published.contains(&Some(*next));
        let maker = self.maker(num_hits, next, seq).filter(|_| !was_published);
        ensure!("once", maker.is_none(), "{seq_id:?} computes block {num_hits}, so does {maker:?}");
        let loader = self.loader(num_hits, next, seq).filter(|_| !was_published);
        ensure!(
            "once",
            loader.is_none(),
            "{seq_id:?} begins block {num_hits}, {loader:?} loads it"
        );
        Ok(())
    }

    /// Who computes the block with this hash in this step and was in it before `seq`.
    fn maker(&self, block_idx: usize, hash: &BlockHash, seq: &TrueSeq) -> Option<u64> {
        // Who loads may have no rows, and came before those that come after it in order.
        let is_before = |part: &&engine_core::scheduler::ScheduledSeq| match seq.is_loading() {
            true => (part.priority, part.seq_id) < seq.key,
            false => part.seq_id != seq.seq_id(),
        };
        let before = self.plan.iter().take_while(is_before);
        let block_size = self.world.config.block_size;
        let makes = |part: &&engine_core::scheduler::ScheduledSeq| {
            let view = self.scheduler.sequence(part.seq_id);
            part.num_computed_tokens / block_size <= block_idx
                && part.positions().end > block_idx * block_size
                && view.is_some_and(|view| view.block_hashes().get(block_idx) == Some(hash))
        };
        before.into_iter().find(makes).map(|part| part.seq_id.0)
    }

    /// Who loads the block with this hash and was admitted before `seq`.
    fn loader(&self, block_idx: usize, hash: &BlockHash, seq: &TrueSeq) -> Option<u64> {
        let block_size = self.world.config.block_size;
        let loads = |other: &&TrueSeq| {
            let is_before = other.key < seq.key
                || self.scheduler.loads().iter().all(|load| load.seq_id != other.seq_id());
            let tokens = other.ahead.as_ref().map_or(0..0, |ahead| ahead.tokens.clone());
            let is_in = tokens.start / block_size <= block_idx
                && (block_idx + 1) * block_size <= tokens.end;
            let view = self.view(other).filter(|_| is_before && is_in);
            view.is_some_and(|view| view.block_hashes().get(block_idx) == Some(hash))
        };
        let mut others = self.live.iter().filter(|other| other.key != seq.key);
        others.find(loads).map(|other| other.seq_id().0)
    }

    /// The hash of a block that `seq` will find, since it is being computed in this step.
    fn in_the_making(&self, seq: &TrueSeq) -> Option<BlockHash> {
        let view = self.view(seq).filter(|_| seq.num_swapped == 0)?;
        let cache = self.scheduler.block_pool().prefix_cache()?;
        let hashes = view.block_hashes().iter().take(self.max_num_hits(seq)).enumerate();
        let mut missing = hashes.filter(|(_, hash)| cache.block(hash).is_none());
        let is_made = |(idx, hash): &(usize, &BlockHash)| {
            let made = self.maker(*idx, hash, seq);
            made.or_else(|| self.loader(*idx, hash, seq)).is_some()
        };
        missing.find(is_made).map(|(_, hash)| *hash)
    }

    /// The next to be served, which is not in the step: there is no room for it.
    fn check_next(&self, seq: &TrueSeq, changes: &Changes) -> Verdict {
        let config = &self.world.config;
        let has_drafts = self.plan.iter().any(|part| part.num_draft_tokens > 0);
        let has_target = config.tpot_target_us.is_some() && changes.num_decodes > 0;
        let Some(view) = self.view(seq) else {
            return Ok(());
        };
        if self.world.hashes_collide
            || has_drafts
            || has_target
            || self.scheduler.running().len() + self.scheduler.loading().len()
                == config.max_num_seqs
        {
            return Ok(());
        }
        let pool = self.scheduler.block_pool();
        let hashes = view.block_hashes().iter().take(self.max_num_hits(seq));
        let find = |hash| pool.prefix_cache().and_then(|cache| cache.block(hash));
        let hits: Vec<BlockId> = hashes.map_while(find).collect();
        let num_free_hits = hits.iter().filter(|block| pool.ref_count(**block) == 0).count();
        let num_needed = seq.num_tokens().div_ceil(config.block_size) - hits.len() + num_free_hits;
        let num_computed = (hits.len() * config.block_size).max(seq.num_swapped);
        let num_rows = seq.num_tokens() - num_computed;
        let num_rows = if config.enable_chunked_prefill { 1 } else { num_rows };
        // A load needs no rows.
        let loads = seq.to_load(&seq.offered, hits.len(), config);
        let loads = seq.num_swapped == 0 && loads.is_some();
        let has_rows = loads || num_rows <= self.num_rows_left();
        // While blocks that are loaded into are missed, nobody is admitted.
        let is_stalled = self
            .live
            .iter()
            .any(|other| other.is_running && other.in_step == 0 && self.lacks_blocks(other));
        let has_room = num_needed <= pool.num_free() && has_rows && !is_stalled;
        ensure!("25", !has_room, "{:?} is next and there is room, but it waits", seq.key);
        Ok(())
    }
}
