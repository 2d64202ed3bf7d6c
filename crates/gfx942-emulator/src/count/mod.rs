//! Counters: what a launch did, as numbers that a change of the kernel moves.
//!
//! Instructions, bytes, lines and barriers are counted. Cycles are issue cycles of single units by published rates, and
//! L2 misses come from a model of the caches: neither is a time.

mod banks;
mod cache;
mod cycles;
mod flight;
mod lines;
mod report;

use crate::NUM_XCDS;
use crate::exec::{Access, AccessKind, Flow, Observer, Slot, Space, Unit, Wave, WaveId};
use crate::isa::Op;
use banks::{LdsCycles, lds_cycles};
use cache::Cache;
use flight::Flight;
use lines::Lines;

pub use report::{Cycles, Instructions, L2, Lanes, Lds, LoadsInFlight, Memory, Report, Traffic};

/// Counts what a launch does. Work-groups are dealt to the dies round-robin, as the hardware does; one die's work-groups
/// must all be seen by one observer, in order, or its L2 is counted more than once.
pub struct Counters {
    by_op: Box<[OpCount]>,
    num_work_groups: u64,
    num_waves: u64,
    num_barriers: u64,
    memory: Memory,
    lds: Lds,
    flights: Vec<Flight>,
    in_flight: LoadsInFlight,
    caches: [Option<Box<Cache>>; NUM_XCDS],
    lines: Lines,
}

/// How often an operation was executed.
#[derive(Clone, Copy, Default)]
struct OpCount {
    waves: u64,
    lanes: u64,
    unit: Option<Unit>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            by_op: vec![OpCount::default(); Op::ALL.len()].into(),
            num_work_groups: 0,
            num_waves: 0,
            num_barriers: 0,
            memory: Memory::default(),
            lds: Lds::default(),
            flights: Vec::new(),
            in_flight: LoadsInFlight::default(),
            caches: Default::default(),
            lines: Lines::default(),
        }
    }
}

impl Observer for Counters {
    fn fork(&self) -> Self {
        Self::default()
    }

    fn merge(&mut self, other: Self) {
        for (sum, count) in self.by_op.iter_mut().zip(other.by_op) {
            sum.waves += count.waves;
            sum.lanes += count.lanes;
            sum.unit = sum.unit.or(count.unit);
        }
        self.num_work_groups += other.num_work_groups;
        self.num_waves += other.num_waves;
        self.num_barriers += other.num_barriers;
        self.memory.add(&other.memory);
        self.lds.add(&other.lds);
        self.in_flight.add(&other.in_flight);
    }

    fn work_group(&mut self, _: WaveId, num_waves: usize) {
        self.num_work_groups += 1;
        self.num_waves += num_waves as u64;
        self.flights.clear();
        self.flights.resize(num_waves, Flight::default());
    }

    #[inline]
    fn before(&mut self, id: WaveId, wave: &Wave, slot: &Slot) {
        let count = &mut self.by_op[slot.inst.op as usize];
        count.waves += 1;
        count.lanes += u64::from(wave.exec.count_ones());
        count.unit = Some(slot.unit);
        if slot.inst.op == Op::s_waitcnt {
            self.wait(id, vmcnt(slot.inst.offset));
        }
    }

    #[inline]
    fn after(&mut self, id: WaveId, _: &Wave, _: &Slot, _: u64, flow: Flow) {
        if flow == Flow::End {
            self.flights[id.wave as usize] = Flight::default();
        }
    }

    fn access(&mut self, id: WaveId, access: &Access<'_>) {
        let num_bytes = u64::from(access.lanes.count_ones()) * access.num_bytes as u64;
        match access.space {
            Space::Lds => self.lds_access(num_bytes, lds_cycles(access)),
            Space::Scratch => {
                self.memory.scratch.instructions += 1;
                self.memory.scratch.bytes += num_bytes;
                self.issue(id, access.kind, num_bytes);
            }
            Space::Scalar => {
                self.memory.scalar.instructions += 1;
                self.memory.scalar.bytes += num_bytes;
            }
            Space::Global => {
                self.global_access(id, access, num_bytes);
                self.issue(id, access.kind, num_bytes);
            }
        }
    }

    fn barrier(&mut self, _: WaveId, _: bool) {
        self.num_barriers += 1;
    }
}

impl Counters {
    fn lds_access(&mut self, num_bytes: u64, cycles: LdsCycles) {
        self.lds.accesses += 1;
        self.lds.bytes += num_bytes;
        self.lds.cycles += cycles.base + cycles.conflict;
        self.lds.conflict_cycles += cycles.conflict;
    }

    fn global_access(&mut self, id: WaveId, access: &Access<'_>, num_bytes: u64) {
        let traffic = match access.kind {
            AccessKind::Load => &mut self.memory.loads,
            AccessKind::Store => &mut self.memory.stores,
            AccessKind::Atomic => &mut self.memory.atomics,
        };
        let cache = self.caches[id.work_group_index as usize % NUM_XCDS].get_or_insert_default();
        let lines = self.lines.collect(access);
        traffic.instructions += 1;
        traffic.bytes += num_bytes;
        traffic.lines += lines.len() as u64;
        let misses = lines.iter().filter(|&&line| !cache.touch(line)).count() as u64;
        let l2 = &mut self.memory.l2;
        match access.kind {
            AccessKind::Load => l2.load_misses += misses,
            AccessKind::Store | AccessKind::Atomic => l2.store_misses += misses,
        }
    }

    fn issue(&mut self, id: WaveId, kind: AccessKind, num_bytes: u64) {
        let load_bytes = if kind == AccessKind::Store { 0 } else { num_bytes };
        let in_flight = self.flights[id.wave as usize].issue(load_bytes);
        self.in_flight.max_bytes_per_wave = self.in_flight.max_bytes_per_wave.max(in_flight);
    }

    fn wait(&mut self, id: WaveId, left: usize) {
        let before = self.flights[id.wave as usize].wait(left);
        if before > 0 {
            self.in_flight.num_waits += 1;
            self.in_flight.bytes_at_waits += before;
        }
    }
}

/// The `vmcnt` field of `s_waitcnt`, which is in two parts.
fn vmcnt(simm16: i32) -> usize {
    (simm16 & 0xf | simm16 >> 10 & 0x30) as usize
}
