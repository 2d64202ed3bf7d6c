//! KV from outside: what the world offers, loads, and fails to load.

use std::ops::Range;

use engine_core::block_pool::BlockId;
use engine_core::kv_tier::{KvLoad, LoadError};
use engine_core::request::SeqId;
use engine_core::sequence::Ahead;

use super::driver::{Call, Driver, log};
use super::follow::Changes;
use super::truth::TrueSeq;
use super::violation::{Verdict, ensure};

/// A load whose sequence has ended.
#[derive(Clone, Debug)]
pub struct Drain {
    pub seq_id: SeqId,
    pub tokens: Range<usize>,
    /// From the block of its first token on.
    pub table: Vec<u32>,
}

impl Driver<'_> {
    /// Some part of a sequence can be had from outside, perhaps more than it has.
    pub(super) fn offer(&mut self, pick: usize, percent: [u8; 2]) -> Verdict {
        let Some(seq) = pick_of(&mut self.live, pick) else {
            ensure!("load", !self.scheduler.offer(SeqId(u64::MAX), 0..1), "nobody takes an offer");
            return Ok(());
        };
        let [from, to] = percent.map(|percent| seq.num_tokens() * usize::from(percent) / 100);
        let (seq_id, tokens) = (seq.seq_id(), from..to);
        let may = seq.waits() && !seq.load.skip_reading;
        let is_taken = self.scheduler.offer(seq_id, tokens.clone());
        ensure!("load", is_taken == may, "{seq_id:?} takes an offer: {is_taken}");
        if may {
            seq.offered = tokens.clone();
        }
        log!(self, "{tokens:?} of {seq_id:?} are offered");
        self.check_state(Call::Add)
    }

    /// Loads that somebody still writes.
    fn num_loads(&self) -> usize {
        self.draining.len() + self.live.iter().filter(|seq| seq.is_loading()).count()
    }

    /// A load comes to its end, with so much of what was asked for.
    pub(super) fn end_load(&mut self, pick: usize, percent: u8) -> Verdict {
        let num_loads = self.num_loads();
        if num_loads == 0 {
            let refused = self.scheduler.end_load(SeqId(pick as u64), 0);
            let expected = Err(LoadError::NotLoading { seq_id: SeqId(pick as u64) });
            ensure!("load", refused == expected, "a load ends that is not: {refused:?}");
            return Ok(());
        }
        let idx = pick % num_loads;
        let drain = self.draining.get(idx).cloned();
        let drained = drain.is_some();
        let Drain { seq_id, tokens, table } = drain.unwrap_or_else(|| {
            let mut loads = self.live.iter().filter_map(|seq| self.load_of(seq));
            loads.nth(idx - self.draining.len()).expect("counted above")
        });
        let num_loaded = tokens.len() * usize::from(percent.min(100)) / 100;
        let end = tokens.start + num_loaded;
        log!(self, "{num_loaded} of {tokens:?} of {seq_id:?} are loaded");
        // Whoever wrote, wrote to all of it; what is not verified may be anything.
        let kv = match self.find(seq_id) {
            Some(place) if !drained => self.live[place].kv[tokens.start..end].to_vec(),
            _ => Vec::new(),
        };
        for &block in &table {
            let num_refs = self.scheduler.block_pool().ref_count(BlockId(block));
            ensure!(
                "load",
                num_refs == 1,
                "block {block} is loaded into, and held {num_refs} times"
            );
        }
        self.store.load(&table, tokens.len(), &kv);

        let found = tokens.end + 1;
        let refused = self.scheduler.end_load(seq_id, found);
        let expected = Err(LoadError::TooManyTokens { seq_id, found, max: tokens.end });
        ensure!("load", refused == expected, "{found} tokens of {tokens:?}: {refused:?}");
        // A failed load may say 0, too.
        let reported = if num_loaded == 0 { 0 } else { end };
        let ended = self.scheduler.end_load(seq_id, reported);
        ensure!("load", ended.is_ok(), "the end of a load is not taken: {ended:?}");
        let again = self.scheduler.end_load(seq_id, reported);
        ensure!("load", again.is_err(), "the load of {seq_id:?} ends twice");
        if drained {
            self.draining.remove(idx);
            self.report.num_drains += 1;
        } else if let Some(place) = self.find(seq_id) {
            let block_size = self.world.config.block_size;
            let seq = &mut self.live[place];
            seq.ahead = Some(Ahead { tokens: tokens.start..end, is_loaded: true });
            seq.reach_load();
            seq.table.truncate(seq.num_held().div_ceil(block_size));
            seq.stats.num_loaded_tokens += num_loaded;
            self.counts.num_loaded_tokens += num_loaded as u64;
            self.counts.num_failed_loads += u64::from(end < tokens.end);
        }
        self.check_state(Call::EndLoad)
    }

    /// All loads end.
    pub(super) fn end_loads(&mut self) -> Verdict {
        while self.num_loads() > 0 {
            self.end_load(0, 100)?;
        }
        Ok(())
    }

    /// What was admitted to be loaded is listed, is all that is offered and not found, and will be
    /// written to blocks that nobody else has.
    pub(super) fn check_loads(&mut self, changes: &Changes) -> Verdict {
        let mut loads = self.scheduler.loads().iter();
        let block_size = self.world.config.block_size;
        for admitted in &changes.admitted {
            let seq = &self.live[admitted.live_idx];
            let Some(tokens) = admitted.loads.clone() else { continue };
            let is_first = tokens.start == admitted.num_hits * block_size;
            ensure!("load", is_first != seq.is_running, "{:?} runs: {}", seq.key, seq.is_running);
            let expected = KvLoad { seq_id: seq.seq_id(), tokens: tokens.clone() };
            let found = loads.next();
            ensure!("load", found == Some(&expected), "{found:?}, not {expected:?}");
            ensure!("load", !tokens.is_empty(), "{expected:?} is of nothing");
        }
        let left = loads.next();
        ensure!("load", left.is_none(), "{left:?} is loaded for nobody");
        // They may be written to from now on, before the step's copies are done.
        let (copies, has_loads) = (self.scheduler.copies(), !self.scheduler.loads().is_empty());
        let is_out = |copy: &&engine_core::scheduler::BlockCopy| {
            copy.direction == engine_core::scheduler::CopyDirection::Out
        };
        let late = copies.iter().find(is_out).filter(|_| has_loads);
        ensure!("load", late.is_none(), "{late:?} in a step that begins loads");
        for seq in self.live.iter().filter(|seq| seq.is_loading()) {
            for block in &seq.table {
                if let Some(place) = self.fresh.iter().position(|fresh| fresh == block) {
                    self.fresh.swap_remove(place);
                    self.store.wipe(*block);
                }
            }
        }
        Ok(())
    }

    /// The scheduler knows the same loads.
    pub(super) fn check_drains(&self) -> Verdict {
        let found = self.scheduler.draining().map(|load| (load.seq_id, load.tokens.clone()));
        let expected = self.draining.iter().map(|drain| (drain.seq_id, drain.tokens.clone()));
        ensure!("load", found.eq(expected), "{:?} drain", self.draining);
        Ok(())
    }

    /// A sequence is about to end: what it loads goes on.
    pub(super) fn note_drain(&mut self, seq_id: SeqId) {
        let load = self.find(seq_id).and_then(|place| self.load_of(&self.live[place]));
        self.draining.extend(load);
    }

    /// What somebody writes for a live sequence, and where.
    fn load_of(&self, seq: &TrueSeq) -> Option<Drain> {
        let Ahead { tokens, .. } = seq.ahead.clone().filter(|ahead| !ahead.is_loaded)?;
        let table = seq.table[tokens.start / self.world.config.block_size..].to_vec();
        Some(Drain { seq_id: seq.seq_id(), tokens, table })
    }
}

fn pick_of(live: &mut [TrueSeq], pick: usize) -> Option<&mut TrueSeq> {
    let num_live = live.len().max(1);
    live.get_mut(pick % num_live)
}
