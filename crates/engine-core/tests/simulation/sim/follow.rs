//! Who came and who went in a call of `schedule`.

use std::ops::Range;

use engine_core::block_pool::{BlockId, HostBlockId};
use engine_core::scheduler::{BlockCopy, CopyDirection, Scheduler, SchedulerStats};
use engine_core::sequence::{Ahead, Sequence};

use super::driver::Driver;
use super::truth::TrueSeq;
use super::violation::{Verdict, ensure};

/// What a call of `schedule` changed; indices are places in `Driver::live`.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) admitted: Vec<Admitted>,
    pub(super) victims: Vec<Victim>,
    /// Sequences that decoded before anyone was admitted or preempted.
    pub(super) num_decodes: usize,
}

#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) live_idx: usize,
    pub(super) num_hits: usize,
    pub(super) was_swapped: bool,
    /// What comes from outside.
    pub(super) loads: Option<Range<usize>>,
}

/// Which queue a sequence is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    Waiting,
    Loading,
    Running,
}

#[derive(Debug)]
pub(super) struct Victim {
    pub(super) live_idx: usize,
    /// What it gave back.
    pub(super) table: Vec<u32>,
}

/// The blocks of a sequence.
pub(super) fn table(seq: &Sequence) -> impl ExactSizeIterator<Item = u32> + '_ {
    seq.block_table().iter().map(|block| block.0)
}

/// What the scheduler has of each live sequence, and in which queue: all are in order, and each sequence
/// is in one of them.
pub(super) fn views<'a>(
    scheduler: &'a Scheduler,
    live: &[TrueSeq],
) -> Verdict<Vec<(Queue, &'a Sequence)>> {
    let mut running = scheduler.running().iter().peekable();
    let mut loading = scheduler.loading().iter().peekable();
    let mut waiting = scheduler.waiting().peekable();
    let mut views = Vec::with_capacity(live.len());
    for seq in live {
        let seq_id = seq.seq_id();
        let found = [
            (Queue::Running, running.next_if(|view| view.seq_id() == seq_id)),
            (Queue::Loading, loading.next_if(|view| view.seq_id() == seq_id)),
            (Queue::Waiting, waiting.next_if(|view| view.seq_id() == seq_id)),
        ];
        let mut found = found.into_iter().filter_map(|(queue, view)| Some((queue, view?)));
        match (found.next(), found.next()) {
            (Some(view), None) => views.push(view),
            (None, _) => ensure!("19", false, "{seq_id:?} is in no queue, or not in its place"),
            (Some(_), Some(_)) => ensure!("19", false, "{seq_id:?} is in two queues"),
        }
    }
    let left = running.next().or(loading.next()).or(waiting.next()).map(Sequence::seq_id);
    ensure!("19", left.is_none(), "{left:?} is in a queue, but not in its place or not alive");
    Ok(views)
}

impl Driver<'_> {
    /// Finds out what `schedule` did, and has the truth follow where it may be so.
    pub(super) fn follow_schedule(&mut self) -> Verdict<Changes> {
        let mut live = std::mem::take(&mut self.live);
        let changes = self.follow_all(&mut live);
        self.live = live;
        let changes = changes?;
        self.check_copies(&changes)?;
        Ok(changes)
    }

    fn follow_all(&mut self, live: &mut [TrueSeq]) -> Verdict<Changes> {
        let num_decodes = live.iter().filter(|seq| seq.decodes()).count();
        let mut changes = Changes { num_decodes, ..Changes::default() };
        self.fresh.clear();
        let views = views(&self.scheduler, live)?;
        for (live_idx, (seq, (queue, view))) in live.iter_mut().zip(&views).enumerate() {
            let before = match (seq.is_running, &seq.ahead) {
                (true, _) => Queue::Running,
                (false, Some(_)) => Queue::Loading,
                (false, None) => Queue::Waiting,
            };
            match (before, *queue) {
                (Queue::Running, Queue::Running) => {
                    let is_kept = table(view).take(seq.table.len()).eq(seq.table.iter().copied());
                    ensure!("7", is_kept, "{:?}'s table was not appended to", seq.seq_id());
                    self.fresh.extend(table(view).skip(seq.table.len()));
                }
                (Queue::Running, Queue::Waiting) => {
                    ensure!("load", !seq.is_loading(), "{:?} loads and is preempted", seq.key);
                    seq.ahead = None;
                    let table = std::mem::take(&mut seq.table);
                    changes.victims.push(Victim { live_idx, table });
                    self.counts.num_preemptions += 1;
                    seq.stats.num_preemptions += 1;
                    if !view.host_blocks().is_empty() {
                        seq.stats.num_swaps += 1;
                        self.counts.num_swaps_out += 1;
                        seq.num_swapped = seq.num_computed;
                        seq.host.extend(view.host_blocks().iter().map(|host| host.0));
                    }
                    (seq.is_running, seq.num_computed) = (false, 0);
                }
                (Queue::Waiting, Queue::Running | Queue::Loading) => {
                    let num_hit_tokens = view.stats().num_hit_tokens - seq.stats.num_hit_tokens;
                    let block_size = self.world.config.block_size;
                    let is_whole = num_hit_tokens.is_multiple_of(block_size);
                    ensure!("12", is_whole, "{:?} hits {num_hit_tokens} tokens", seq.seq_id());
                    let num_hits = num_hit_tokens / block_size;
                    let was_swapped = !seq.host.is_empty();
                    let offered = std::mem::take(&mut seq.offered);
                    let loads = seq.to_load(&offered, num_hits, &self.world.config);
                    let loads = loads.filter(|_| !was_swapped);
                    self.fresh.extend(table(view).skip(num_hits));
                    count_admission(&mut self.counts, seq, view, num_hit_tokens);
                    (seq.is_running, seq.has_run) = (true, true);
                    seq.num_computed = num_hit_tokens.max(seq.num_swapped);
                    if let Some(tokens) = loads.clone() {
                        self.counts.num_loads += 1;
                        self.counts.num_split_loads += u64::from(tokens.start > num_hit_tokens);
                        seq.ahead = Some(Ahead { tokens, is_loaded: false });
                        seq.reach_load();
                    }
                    let is_right = seq.is_running == (*queue == Queue::Running);
                    ensure!("load", is_right, "{:?} is in {queue:?}, loads {loads:?}", seq.key);
                    changes.admitted.push(Admitted { live_idx, num_hits, was_swapped, loads });
                    // `host` stays until the copies have been executed.
                    seq.num_swapped = 0;
                }
                (Queue::Waiting, Queue::Waiting) | (Queue::Loading, Queue::Loading) => {}
                (Queue::Running, Queue::Loading) | (Queue::Loading, _) => {
                    ensure!("load", false, "{:?} was in {before:?}, now in {queue:?}", seq.key);
                }
            }
            seq.table.clear();
            seq.table.extend(table(view));
            let num_blocks = view.block_table().len() as u32;
            seq.stats.peak_num_blocks = seq.stats.peak_num_blocks.max(num_blocks);
        }
        for part in &self.plan {
            match live.iter_mut().find(|seq| seq.seq_id() == part.seq_id) {
                Some(seq) if seq.in_step == 0 => seq.in_step = part.num_scheduled_tokens,
                Some(_) => ensure!("20", false, "{:?} is scheduled twice", part.seq_id),
                None => ensure!("27", false, "{:?} is scheduled and does not live", part.seq_id),
            }
        }
        Ok(changes)
    }

    /// All that is swapped out is copied, and all that comes back and was not found in the cache.
    fn check_copies(&self, changes: &Changes) -> Verdict {
        let mut copies = self.scheduler.copies().iter();
        for victim in changes.victims.iter().rev() {
            let seq = &self.live[victim.live_idx];
            if seq.host.is_empty() {
                continue;
            }
            let (found, expected) =
                (seq.host.len(), seq.num_swapped.div_ceil(self.world.config.block_size));
            ensure!("swap", found == expected, "{found} host blocks for {expected}");
            for (&device, &host) in victim.table.iter().zip(&seq.host) {
                let copy = copy(seq, CopyDirection::Out, device, host);
                ensure!("swap", copies.next() == Some(&copy), "{copy:?} is missing");
            }
        }
        for admitted in changes.admitted.iter().filter(|admitted| admitted.was_swapped) {
            let seq = &self.live[admitted.live_idx];
            let num_blocks = seq.num_computed.div_ceil(self.world.config.block_size);
            for idx in admitted.num_hits..num_blocks {
                let (device, host) = (seq.table.get(idx), seq.host.get(idx));
                let (Some(&device), Some(&host)) = (device, host) else {
                    ensure!("swap", false, "{:?} has no block {idx} to copy", seq.seq_id());
                    continue;
                };
                let copy = copy(seq, CopyDirection::In, device, host);
                ensure!("swap", copies.next() == Some(&copy), "{copy:?} is missing");
            }
        }
        let left = copies.next();
        ensure!("swap", left.is_none(), "{left:?} is copied for nothing");
        Ok(())
    }
}

fn copy(seq: &TrueSeq, direction: CopyDirection, device: u32, host: u32) -> BlockCopy {
    let (device, host) = (BlockId(device), HostBlockId(host));
    BlockCopy { seq_id: seq.seq_id(), direction, device, host }
}

fn count_admission(
    counts: &mut SchedulerStats,
    seq: &mut TrueSeq,
    view: &Sequence,
    num_hit_tokens: usize,
) {
    if view.reads_prefix_cache() {
        counts.num_prefix_query_tokens += seq.num_tokens() as u64;
    }
    counts.num_prefix_hit_tokens += num_hit_tokens as u64;
    counts.num_swaps_in += u64::from(!seq.host.is_empty());
    seq.stats.num_hit_tokens += num_hit_tokens;
    if !seq.has_run {
        seq.stats.num_cached_tokens = num_hit_tokens;
    }
}
