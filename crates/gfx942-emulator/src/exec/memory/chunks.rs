//! Which bytes of the arena are allocated, in a form that an access can look up without a lock.

use std::sync::atomic::{AtomicU32, Ordering};

use super::raw::{Reservation, Unit, Window};

/// Bytes of a chunk. No two allocations share one, and each is filled with poison when it is first touched.
pub(super) const CHUNK: u64 = 64 << 10;

/// What allocations start at a multiple of, and no more: a kernel that needs more must not get it by luck.
pub(super) const ALIGNMENT: u64 = 256;

/// What is allocated of one chunk: from `start` to `end`, relative to the chunk.
///
/// As a word: `start` in units of [`ALIGNMENT`] in bits 7:0, `end` in bits 24:8, [`Fill`] in bits 26:25.
#[derive(Clone, Copy)]
struct Extent(u32);

impl Extent {
    const NONE: Self = Self(0);

    const fn new(start: u64, end: u64, fill: u32) -> Self {
        Self((start / ALIGNMENT) as u32 | (end as u32) << 8 | fill << 25)
    }

    const fn start(self) -> u64 {
        (self.0 & 0xff) as u64 * ALIGNMENT
    }

    const fn end(self) -> u64 {
        (self.0 >> 8 & 0x1ffff) as u64
    }

    const fn fill(self) -> u32 {
        self.0 >> 25
    }

    const fn contains(self, offset: u64) -> bool {
        self.start() <= offset && offset < self.end()
    }
}

/// How far the poison has got.
struct Fill;

impl Fill {
    const FRESH: u32 = 0;
    const UNDER_WAY: u32 = 1;
    const DONE: u32 = 2;
}

/// The chunks of an arena.
pub(super) struct Chunks {
    memory: Reservation,
    extents: Box<[AtomicU32]>,
    poison: u32,
}

impl Chunks {
    /// Nothing of `memory` is allocated; what will be, reads as `poison` at first.
    pub(super) fn new(memory: Reservation, poison: u32) -> Self {
        let num_chunks = memory.num_bytes() / CHUNK;
        let extents = (0..num_chunks).map(|_| AtomicU32::new(Extent::NONE.0)).collect();
        Self { memory, extents, poison }
    }

    /// The address of chunk 0.
    pub(super) fn base(&self) -> u64 {
        self.memory.base()
    }

    /// How many there are.
    pub(super) fn num_chunks(&self) -> u64 {
        self.extents.len() as u64
    }

    fn chunk_of(&self, address: u64) -> u64 {
        (address - self.base()) / CHUNK
    }

    /// Makes the bytes from address `start`, a multiple of [`ALIGNMENT`], to `end` accessible. Nobody else may have a
    /// part of their chunks.
    pub(super) fn allocate(&self, start: u64, end: u64) {
        for chunk in self.chunk_of(start)..=self.chunk_of(end - 1) {
            let base = self.base() + chunk * CHUNK;
            let extent =
                Extent::new(start.max(base) - base, end.min(base + CHUNK) - base, Fill::FRESH);
            self.extents[chunk as usize].store(extent.0, Ordering::Release);
        }
    }

    /// Fills all chunks of `start` to `end` now, so that nobody does it later.
    pub(super) fn touch(&self, start: u64, end: u64) {
        for chunk in self.chunk_of(start)..=self.chunk_of(end - 1) {
            self.filled(chunk);
        }
    }

    /// Makes the bytes of an allocation inaccessible and gives their memory back.
    pub(super) fn free(&self, start: u64, end: u64) {
        let (first, last) = (self.chunk_of(start), self.chunk_of(end - 1));
        for chunk in first..=last {
            self.extents[chunk as usize].store(Extent::NONE.0, Ordering::Release);
        }
        let base = self.base();
        // Failure costs memory, nothing else: what is allocated next is poisoned anyway.
        let _ = self.memory.discard(base + first * CHUNK, base + (last + 1) * CHUNK);
    }

    /// The accessible memory around the `T` at `address`: its chunk, and the next if it reaches into that. `None` if not
    /// all of the `T` is allocated.
    pub(super) fn window<T: Unit>(&self, address: u64) -> Option<Window<'_, T>> {
        let offset = address.checked_sub(self.base())?;
        let chunk = offset / CHUNK;
        let extent = self.filled(chunk);
        if !extent.contains(offset % CHUNK) {
            return None;
        }
        let start = self.base() + chunk * CHUNK;
        let mut end = start + extent.end();
        let needed = address.checked_add(size_of::<T>() as u64)?;
        if needed > end && extent.end() == CHUNK {
            let next = self.filled(chunk + 1);
            if next.start() == 0 {
                end += next.end();
            }
        }
        (needed <= end).then(|| self.memory.window(start + extent.start(), end))
    }

    /// What is allocated of `chunk`, which has its poison.
    fn filled(&self, chunk: u64) -> Extent {
        let Some(word) = self.extents.get(chunk as usize) else { return Extent::NONE };
        loop {
            let extent = Extent(word.load(Ordering::Acquire));
            if extent.end() == 0 || extent.fill() == Fill::DONE {
                return extent;
            }
            if extent.fill() == Fill::FRESH {
                self.fill(chunk, word, extent);
            } else {
                std::thread::yield_now();
            }
        }
    }

    /// Writes the poison, unless another thread is faster.
    fn fill(&self, chunk: u64, word: &AtomicU32, fresh: Extent) {
        let (start, end) = (fresh.start(), fresh.end());
        let under_way = Extent::new(start, end, Fill::UNDER_WAY).0;
        let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
        if word.compare_exchange(fresh.0, under_way, success, failure).is_err() {
            return;
        }
        let base = self.base() + chunk * CHUNK;
        let (start_address, end_address) = (base + start, base + end.next_multiple_of(8));
        let window = self.memory.window::<u64>(start_address, end_address);
        let poison = u64::from(self.poison) << 32 | u64::from(self.poison);
        for address in (start_address..end_address).step_by(8) {
            window.store(address, poison);
        }
        // Not a plain store: if the memory was freed meanwhile, it stays so.
        let done = Extent::new(start, end, Fill::DONE).0;
        let _ = word.compare_exchange(under_way, done, Ordering::Release, Ordering::Relaxed);
    }
}
