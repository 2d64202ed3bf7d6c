//! LDS races: what two waves of a work-group do to the same byte between two barriers.
//!
//! A write that its wave has not waited for when it comes to a barrier counts in the next interval as well: a barrier
//! does not wait for memory. Atomics do not race with each other.

use super::Kind;
use super::problem::{Problem, Site};
use super::waits::{Ticket, Waits};
use crate::WAVE_SIZE;
use crate::exec::memory::LDS_BYTES;
use crate::exec::{Access, AccessKind};

/// Who did something to a byte last, and when.
#[derive(Clone, Copy, Default)]
struct Mark {
    interval: u32,
    site: Site,
    wave: u8,
    is_atomic: bool,
    /// It was under way at the barrier.
    is_late: bool,
}

/// A byte of LDS.
#[derive(Clone, Copy, Default)]
struct Cell {
    write: Mark,
    /// The last two waves that read it.
    reads: [Mark; 2],
}

/// A write that its wave has not waited for.
struct Late {
    ticket: Ticket,
    mark: Mark,
    lanes: u64,
    addresses: [u64; WAVE_SIZE],
    num_bytes: usize,
}

/// A work-group's LDS.
pub(super) struct Races {
    cells: Box<[Cell]>,
    /// Barriers, over all work-groups: marks of earlier intervals need not be cleared.
    interval: u32,
    late: Vec<Vec<Late>>,
}

impl Default for Races {
    fn default() -> Self {
        Self { cells: vec![Cell::default(); LDS_BYTES].into(), interval: 0, late: Vec::new() }
    }
}

/// The access of one wave.
pub(super) struct LdsAccess<'a> {
    pub access: &'a Access<'a>,
    pub wave: u32,
    pub site: Site,
    /// It is what a vector memory instruction loads into LDS.
    pub by_vector_memory: bool,
    pub ticket: Ticket,
}

impl Races {
    pub fn start(&mut self, num_waves: usize) {
        self.next_interval();
        self.late.clear();
        self.late.resize_with(num_waves, Vec::new);
    }

    fn next_interval(&mut self) {
        if self.interval == u32::MAX {
            self.cells.fill(Cell::default());
            self.interval = 0;
        }
        self.interval += 1;
    }

    /// All waves have met. `waits` are their counters.
    pub fn barrier<'a>(&mut self, waits: impl Iterator<Item = &'a Waits>) {
        self.next_interval();
        for (late, waits) in self.late.iter_mut().zip(waits) {
            late.retain(|write| !waits.is_done(write.ticket));
            for write in late.iter() {
                let mark = Mark { interval: self.interval, is_late: true, ..write.mark };
                for byte in bytes(write.lanes, &write.addresses, write.num_bytes) {
                    self.cells[byte.1].write = mark;
                }
            }
        }
    }

    /// An access; `waits` are the wave's counters.
    pub fn access(&mut self, by: &LdsAccess<'_>, waits: &Waits, problems: &mut Vec<Problem>) {
        let Access { kind, addresses, num_bytes, .. } = *by.access;
        let lanes = by.access.lanes & !by.access.outside;
        let mark = Mark {
            interval: self.interval,
            site: by.site,
            wave: by.wave as u8,
            is_atomic: kind == AccessKind::Atomic,
            is_late: false,
        };
        let mut is_found = self.own_load(by, waits, problems);
        for (lane, byte) in bytes(lanes, addresses, num_bytes) {
            let cell = &mut self.cells[byte];
            if !is_found && let Some((other, verbs)) = cell.race(kind, &mark) {
                problems.push(problem(lane, byte, &other, verbs));
                is_found = true;
            }
            cell.note(kind, mark);
        }
        if kind != AccessKind::Load {
            let late = &mut self.late[by.wave as usize];
            late.retain(|write| !waits.is_done(write.ticket));
            late.push(Late { ticket: by.ticket, mark, lanes, addresses: *addresses, num_bytes });
        }
    }

    /// What the wave itself loads into LDS, and has not waited for.
    fn own_load(&self, by: &LdsAccess<'_>, waits: &Waits, problems: &mut Vec<Problem>) -> bool {
        if by.by_vector_memory {
            return false;
        }
        let Access { lanes, addresses, num_bytes, .. } = *by.access;
        let own = &self.late[by.wave as usize];
        let loads =
            own.iter().filter(|late| late.ticket.is_vector() && !waits.is_done(late.ticket));
        for load in loads {
            let mut written = vec![false; LDS_BYTES];
            bytes(load.lanes, &load.addresses, load.num_bytes).for_each(|(_, b)| written[b] = true);
            let hit = bytes(lanes, addresses, num_bytes).find(|&(_, byte)| written[byte]);
            if let Some((lane, byte)) = hit {
                let text = format!(
                    "uses byte {byte} of LDS while a load into it may be under way: put s_waitcnt vmcnt between"
                );
                let (kind, other) = (Kind::Wait, Some(load.mark.site));
                problems.push(Problem { kind, lane: Some(lane), other, text });
                return true;
            }
        }
        false
    }
}

impl Cell {
    /// Who races with `mark`, and what the two do.
    fn race(&self, kind: AccessKind, mark: &Mark) -> Option<(Mark, [&'static str; 2])> {
        let meets = |other: &Mark| other.interval == mark.interval && other.wave != mark.wave;
        let write = self.write;
        if meets(&write) && !(write.is_atomic && kind == AccessKind::Atomic) {
            let verb = if kind == AccessKind::Load { "reads" } else { "writes" };
            return Some((write, [verb, "writes"]));
        }
        if kind == AccessKind::Load {
            return None;
        }
        self.reads.iter().find(|read| meets(read)).map(|&read| (read, ["writes", "reads"]))
    }

    fn note(&mut self, kind: AccessKind, mark: Mark) {
        if kind != AccessKind::Load {
            self.write = mark;
        } else if self.reads[0].wave != mark.wave || self.reads[0].interval != mark.interval {
            self.reads = [mark, self.reads[0]];
        }
    }
}

fn problem(lane: u32, byte: usize, other: &Mark, [verb, others]: [&str; 2]) -> Problem {
    let wave = other.wave;
    let text = if other.is_late {
        format!(
            "{verb} byte {byte} of LDS, which wave {wave} {others} before the barrier without having waited for it: \
             put s_waitcnt before s_barrier"
        )
    } else {
        format!(
            "{verb} byte {byte} of LDS, which wave {wave} {others} with no barrier between: put __syncthreads() between"
        )
    };
    Problem { kind: Kind::Race, lane: Some(lane), other: Some(other.site), text }
}

/// The bytes that lanes touch, with the lane.
fn bytes(
    lanes: u64,
    addresses: &[u64; WAVE_SIZE],
    num_bytes: usize,
) -> impl Iterator<Item = (u32, usize)> + '_ {
    (0..WAVE_SIZE as u32).filter(move |&lane| lanes >> lane & 1 != 0).flat_map(move |lane| {
        let first = (addresses[lane as usize] as usize).min(LDS_BYTES);
        (first..(first + num_bytes).min(LDS_BYTES)).map(move |byte| (lane, byte))
    })
}
