//! The parts of a step: what the engine does, and what must follow from it.

use engine_core::request::{FinishReason, SeqId, TokenId};
use engine_core::scheduler::{CommittedToken, CopyDirection, SampledRuns};

use super::check::cache::note_hashes;
use super::driver::{Call, Driver, log, measure};
use super::rng::spread;
use super::truth::{Output, TrueSeq};
use super::violation::{Verdict, ensure};

impl Driver<'_> {
    pub(super) fn schedule(&mut self) -> Verdict {
        let block_size = self.world.config.block_size;
        for seq in &mut self.live {
            // A step in progress is forgotten, and what was copied back is on the device now.
            seq.end_step(block_size);
            if seq.is_running {
                seq.host.clear();
            }
        }
        let num_set_asides = self.scheduler.stats().num_set_asides;
        let Driver { scheduler, batch, options, .. } = self;
        let num_allocations = measure(options, || {
            scheduler.schedule(batch);
        });
        self.plan.clear();
        self.plan.extend_from_slice(self.scheduler.plan());
        self.report.num_steps += 1;
        self.note_digest();
        self.log_step();
        let changes = self.follow_schedule()?;
        self.num_decodes_before = changes.num_decodes;
        if changes.admitted.is_empty() {
            let is_none = num_allocations == 0;
            ensure!("alloc", is_none, "a step without admission makes {num_allocations}");
            self.report.num_measured_steps += 1;
        }
        self.check_loads(&changes)?;
        self.check_plan(&changes)?;
        self.check_room(&changes)?;
        self.check_queue(&changes, self.scheduler.stats().num_set_asides - num_set_asides)?;
        self.check_state(Call::Schedule)
    }

    fn log_step(&mut self) {
        if !self.options.has_log {
            return;
        }
        for part in self.scheduler.plan() {
            let (rows, drafts) = (part.positions(), part.num_draft_tokens);
            let seq = self.scheduler.sequence(part.seq_id);
            let table = seq.map(|seq| seq.block_table().iter().map(|b| b.0).collect::<Vec<_>>());
            log!(self, "  {:?} rows {rows:?}, {drafts} guesses, table {table:?}", part.seq_id);
        }
        for copy in self.scheduler.copies() {
            log!(self, "  {copy:?}");
        }
        for load in self.scheduler.loads() {
            log!(self, "  {load:?}");
        }
        let waiting: Vec<u64> = self.scheduler.waiting().map(|seq| seq.seq_id().0).collect();
        log!(self, "  step {}; waiting {waiting:?}", self.report.num_steps);
    }

    fn note_digest(&mut self) {
        let batch = &self.batch;
        let words = [&batch.token_ids, &batch.positions, &batch.seq_lens, &batch.block_tables];
        let mut digest = self.report.digest ^ self.scheduler.copies().len() as u64;
        for &word in words.into_iter().flatten() {
            digest = (digest.rotate_left(5) ^ u64::from(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
        self.report.digest = spread(digest);
    }

    /// Executes the copies in order, but for those of `failing`. Blocks that were lent lose what
    /// they held when all that leaves the device has left it.
    pub(super) fn execute_copies(&mut self, failing: Option<SeqId>) -> Verdict {
        let mut num_copies = 0;
        let mut has_wiped = false;
        for copy in self.scheduler.copies() {
            if copy.direction == CopyDirection::In && !has_wiped {
                self.fresh.drain(..).for_each(|block| self.store.wipe(block));
                has_wiped = true;
            }
            let is_late = has_wiped && copy.direction == CopyDirection::Out;
            ensure!("swap", !is_late, "{copy:?} comes after a copy to the device");
            if Some(copy.seq_id) != failing {
                self.store.copy(copy);
                num_copies += 1;
            }
        }
        self.fresh.drain(..).for_each(|block| self.store.wipe(block));
        if num_copies > 0 {
            let us = self.world.timing.us_per_block_copy * num_copies as u64;
            self.scheduler.observe_copy(num_copies, us);
            self.report.clock_us += us;
        }
        for seq in &self.live {
            if seq.num_swapped > 0 && Some(seq.seq_id()) != failing {
                self.store.check_host(seq)?;
            }
        }
        Ok(())
    }

    /// The made-up model: writes all rows, then has each row read what it attends; the sampler
    /// draws row by row while the guesses are right.
    pub(super) fn forward(&mut self) -> Verdict<SampledRuns> {
        self.store.begin_step();
        let pool = self.scheduler.block_pool();
        for (seq_idx, part) in self.plan.iter().enumerate() {
            let rows = self.batch.rows(seq_idx);
            match self.live.iter().find(|seq| seq.seq_id() == part.seq_id) {
                Some(seq) => self.store.write(seq, part, rows, &self.batch, pool)?,
                None => self.store.write_orphans(&self.batch.slot_mapping[rows], pool)?,
            }
        }
        let mut sampled = SampledRuns::default();
        for (seq_idx, part) in self.plan.iter().enumerate() {
            let Some(seq) = self.live.iter().find(|seq| seq.seq_id() == part.seq_id) else {
                if part.samples {
                    sampled.push(&[TokenId(0)]);
                }
                continue;
            };
            self.store.read(seq, part, seq_idx, &self.batch)?;
            if part.samples {
                let first = self.batch.rows(seq_idx).end - 1 - part.num_draft_tokens;
                sampled.push(&self.sample(seq, first, part.num_draft_tokens));
            }
        }
        Ok(sampled)
    }

    /// The run that the rows from `first` on give.
    fn sample(&self, seq: &TrueSeq, first: usize, num_drafts: usize) -> Vec<TokenId> {
        let mut run = Vec::with_capacity(1 + num_drafts);
        for row in first..=first + num_drafts {
            let kv = self.store.row(self.batch.slot_mapping[row]);
            let token_id = seq.draw(kv, self.batch.token_ids[row]);
            run.push(TokenId(token_id));
            if row < first + num_drafts && self.batch.token_ids[row + 1] != token_id {
                break;
            }
        }
        run
    }

    /// What the committed step changes; answers whom it ended, by key.
    pub(super) fn follow_commit(
        &mut self,
        sampled: &SampledRuns,
        committed: &[CommittedToken],
    ) -> Verdict<Vec<(SeqId, FinishReason)>> {
        let max_model_len = self.world.config.max_model_len;
        let block_size = self.world.config.block_size;
        let mut runs = sampled.iter();
        let mut ended = Vec::new();
        let mut committed = committed.iter();
        self.count_step();
        for part in &self.plan {
            let run = if part.samples { runs.next().unwrap_or_default() } else { &[] };
            let Some(seq) = self.live.iter_mut().find(|seq| seq.seq_id() == part.seq_id) else {
                continue;
            };
            let num_drafts = part.num_draft_tokens;
            if seq.is_loading() {
                self.counts.num_tokens_beside_loads += part.num_scheduled_tokens as u64;
            }
            seq.stats.num_prefill_chunks += u32::from(seq.num_computed < seq.load.prompt_len);
            seq.num_computed += part.num_scheduled_tokens - num_drafts;
            let mut num_accepted = 0;
            for (idx, token_id) in run.iter().enumerate() {
                seq.num_computed += usize::from(idx > 0);
                num_accepted = idx;
                seq.push(token_id.0);
                let stop = seq.stop(max_model_len);
                let found = committed.next();
                let is_right = found.is_some_and(|found| {
                    let found_stop = found.stop.map(|s| (s.reason, s.stop_token_id.map(|t| t.0)));
                    (found.seq_id, found.token_id, found_stop) == (seq.seq_id(), *token_id, stop)
                });
                ensure!("27", is_right, "{found:?} for {token_id:?} of {:?}, {stop:?}", seq.key);
                if let Some((reason, _)) = stop {
                    ended.push((seq.key, reason));
                    break;
                }
            }
            seq.max_num_computed = seq.max_num_computed.max(seq.num_computed);
            seq.reach_load();
            seq.stats.num_draft_tokens += num_drafts;
            seq.stats.num_accepted_tokens += num_accepted;
            self.counts.num_draft_tokens += num_drafts as u64;
            self.counts.num_accepted_tokens += num_accepted as u64;
        }
        ensure!("27", committed.next().is_none(), "more tokens are reported than were sampled");
        for seq in &mut self.live {
            seq.end_step(block_size);
            if seq.is_running {
                seq.host.clear();
            }
        }
        ended.sort_by_key(|(key, _)| *key);
        Ok(ended.into_iter().map(|(key, reason)| (key.1, reason)).collect())
    }

    fn count_step(&mut self) {
        if self.plan.is_empty() {
            return;
        }
        let num_prefills = self.plan.iter().filter(|part| part.is_prefill).count();
        let num_rows: usize = self.plan.iter().map(|part| part.num_scheduled_tokens).sum();
        let num_partial = self.plan.iter().filter(|part| !part.samples).count();
        let counts = &mut self.counts;
        counts.num_steps += 1;
        counts.num_scheduled_tokens += num_rows as u64;
        counts.max_num_seqs_in_step = counts.max_num_seqs_in_step.max(self.plan.len());
        counts.num_mixed_steps += u64::from(0 < num_prefills && num_prefills < self.plan.len());
        counts.num_partial_prefills += num_partial as u64;
    }

    /// Takes what the scheduler reports as finished: exactly `ended`, each with the right output.
    pub(super) fn collect(&mut self, ended: &[(SeqId, FinishReason)]) -> Verdict {
        let mut expected_ends = ended.iter();
        for finished in self.scheduler.drain_finished() {
            let seq = &finished.sequence;
            let seq_id = seq.seq_id();
            let found = (seq_id, finished.reason);
            let expected = expected_ends.next();
            ensure!("27", Some(&found) == expected, "{found:?} is reported, not {expected:?}");
            let Some(place) = self.live.iter().position(|live| live.seq_id() == seq_id) else {
                ensure!("27", false, "{seq_id:?} is reported, but did not live");
                continue;
            };
            let mut truth = self.live.remove(place);
            let expected = self.report.outputs.binary_search_by_key(&seq_id, |(id, _)| *id);
            let expected = &mut self.report.outputs[expected.unwrap_or_default()].1;
            let output = Output {
                token_ids: seq.output_token_ids().iter().map(|token| token.0).collect(),
                reason: finished.reason,
                stop_token_id: finished.stop_token_id.map(|token| token.0),
            };
            if matches!(finished.reason, FinishReason::Abort | FinishReason::Error) {
                let is_prefix = expected.token_ids.starts_with(&output.token_ids);
                ensure!("28", is_prefix, "{output:?} is not on the way to {expected:?}");
            } else {
                ensure!("28", output == *expected, "{seq_id:?}: {output:?}, alone {expected:?}");
            }
            *expected = output;
            let is_empty = seq.block_table().is_empty() && seq.host_blocks().is_empty();
            ensure!("5", is_empty, "{seq_id:?} ended with blocks");
            let (found, expected) = (seq.stats(), truth.stats);
            ensure!("31", found == expected, "{seq_id:?}: {found:?}, but {expected:?}");
            let block_size = self.world.config.block_size;
            if !self.world.hashes_collide {
                note_hashes(&mut self.kv_of_hash, &mut truth, seq, block_size)?;
            }
        }
        let left = expected_ends.next();
        ensure!("27", left.is_none(), "{left:?} ended and is not reported");
        Ok(())
    }
}
