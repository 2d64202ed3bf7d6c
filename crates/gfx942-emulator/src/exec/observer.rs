//! The seam for whoever watches execution: sanitizers, counters, traces.

use std::ops::Range;

use super::program::Slot;
use super::{Flow, Wave, WaveId};

/// Watches the waves of a launch. A launch is generic in it, so that what is not overridden costs nothing.
///
/// Each thread of a launch has its own, made by [`fork`](Self::fork); at the end they are merged into the first, in the
/// order of the threads. Work-groups reach threads in any order.
pub trait Observer: Send {
    /// One for another thread, with the same settings and nothing seen.
    fn fork(&self) -> Self;

    /// Takes in what another thread's saw.
    fn merge(&mut self, other: Self);

    /// A work-group starts with `num_waves` waves.
    fn work_group(&mut self, _id: WaveId, _num_waves: usize) {}

    /// The wave is about to execute the instruction at its pc.
    fn before(&mut self, _id: WaveId, _wave: &Wave, _slot: &Slot) {}

    /// The wave has executed `slot`, which was at `pc`. Not called if it trapped.
    fn after(&mut self, _id: WaveId, _wave: &Wave, _slot: &Slot, _pc: u64, _flow: Flow) {}

    /// An instruction of the wave touched memory, between its `before` and its `after`.
    fn access(&mut self, _id: WaveId, _access: &Access<'_>) {}

    /// All waves of the work-group that have not ended have met at a barrier. `ended`: some had ended before.
    fn barrier(&mut self, _id: WaveId, _ended: bool) {}
}

/// Nobody watches.
impl Observer for () {
    fn fork(&self) {}

    fn merge(&mut self, (): ()) {}
}

/// Both watch, the first first.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn fork(&self) -> Self {
        (self.0.fork(), self.1.fork())
    }

    fn merge(&mut self, other: Self) {
        self.0.merge(other.0);
        self.1.merge(other.1);
    }

    fn work_group(&mut self, id: WaveId, num_waves: usize) {
        self.0.work_group(id, num_waves);
        self.1.work_group(id, num_waves);
    }

    fn before(&mut self, id: WaveId, wave: &Wave, slot: &Slot) {
        self.0.before(id, wave, slot);
        self.1.before(id, wave, slot);
    }

    fn after(&mut self, id: WaveId, wave: &Wave, slot: &Slot, pc: u64, flow: Flow) {
        self.0.after(id, wave, slot, pc, flow);
        self.1.after(id, wave, slot, pc, flow);
    }

    fn access(&mut self, id: WaveId, access: &Access<'_>) {
        self.0.access(id, access);
        self.1.access(id, access);
    }

    fn barrier(&mut self, id: WaveId, ended: bool) {
        self.0.barrier(id, ended);
        self.1.barrier(id, ended);
    }
}

/// Watches if it is there.
impl<O: Observer> Observer for Option<O> {
    fn fork(&self) -> Self {
        self.as_ref().map(O::fork)
    }

    fn merge(&mut self, other: Self) {
        if let (Some(own), Some(other)) = (self, other) {
            own.merge(other);
        }
    }

    fn work_group(&mut self, id: WaveId, num_waves: usize) {
        if let Some(own) = self {
            own.work_group(id, num_waves);
        }
    }

    fn before(&mut self, id: WaveId, wave: &Wave, slot: &Slot) {
        if let Some(own) = self {
            own.before(id, wave, slot);
        }
    }

    fn after(&mut self, id: WaveId, wave: &Wave, slot: &Slot, pc: u64, flow: Flow) {
        if let Some(own) = self {
            own.after(id, wave, slot, pc, flow);
        }
    }

    fn access(&mut self, id: WaveId, access: &Access<'_>) {
        if let Some(own) = self {
            own.access(id, access);
        }
    }

    fn barrier(&mut self, id: WaveId, ended: bool) {
        if let Some(own) = self {
            own.barrier(id, ended);
        }
    }
}

/// What an access does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AccessKind {
    /// It reads.
    Load,
    /// It writes.
    Store,
    /// It reads and writes.
    Atomic,
}

/// The memory that an access touches, after the apertures of FLAT are resolved.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Space {
    /// Device memory, through the vector caches.
    Global,
    /// Device memory, through the scalar cache.
    Scalar,
    /// The work-group's LDS: addresses are offsets in it.
    Lds,
    /// The lane's scratch: addresses are offsets in it.
    Scratch,
}

/// One instruction's access to one memory (direct-to-LDS loads report two).
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// What it does.
    pub kind: AccessKind,
    /// Where.
    pub space: Space,
    /// Bit `i`: lane `i` takes part (bit 0 alone for scalar accesses).
    pub lanes: u64,
    /// The address of each lane; only those of `lanes` mean anything.
    pub addresses: &'a [u64; crate::WAVE_SIZE],
    /// Bytes per lane.
    pub num_bytes: usize,
    /// Those of `lanes` that are outside of LDS, and so read 0 or write nothing; elsewhere that is a trap.
    pub outside: u64,
}

impl Access<'_> {
    /// The bytes that are accessed, if all lanes are active and each goes on where the one before it ends.
    #[inline]
    pub fn consecutive_bytes(&self) -> Option<Range<u64>> {
        let (start, num_bytes) = (self.addresses[0], self.num_bytes as u64);
        let end = start.checked_add(num_bytes * crate::WAVE_SIZE as u64)?;
        if self.lanes != u64::MAX || num_bytes == 0 {
            return None;
        }
        // Without an early end this is a short vector loop.
        let mut differences = 0;
        for (lane, address) in (0..).zip(self.addresses) {
            differences |= address ^ (start + lane * num_bytes);
        }
        (differences == 0).then_some(start..end)
    }
}
