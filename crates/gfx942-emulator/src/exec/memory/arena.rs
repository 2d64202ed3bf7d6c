//! Device memory: allocations in a reserved range of addresses.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use super::chunks::{ALIGNMENT, CHUNK, Chunks};
use super::raw::{Reservation, Unit, Window};
use super::written::Written;

/// Chunks that nobody gets between two allocations: 1 MiB.
const GAP: u64 = 16;

/// What [`Usage`] counts in: what the driver rounds allocations up to.
const PAGE: u64 = 4 << 10;

/// Freed allocations that error messages remember.
const NUM_REMEMBERED: usize = 256;

/// How an arena is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArenaConfig {
    /// Bytes that can be in use at once.
    pub capacity: u64,
    /// The dword that memory holds before anybody writes it.
    pub poison: u32,
    /// Remember which bytes were written, for [`Sanitizer`](crate::sanitize::Sanitizer). All launches must then be
    /// watched by one, which tells what kernels write.
    pub tracks_writes: bool,
}

/// An MI300X: 192 GB. The poison is a NaN as f32, f64, and in both halves as f16 and bf16; as an integer, negative.
impl Default for ArenaConfig {
    fn default() -> Self {
        Self { capacity: 192 << 30, poison: 0xfffa_fffa, tracks_writes: false }
    }
}

/// Whose memory an allocation stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryKind {
    /// The device's: for the device, and for the host only through [`Arena::read`] and its like.
    Device,
    /// The host's, pinned: the host may also use its address as a pointer.
    Host,
}

/// An allocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allocation {
    /// The address of the first byte, for device and host.
    pub address: u64,
    /// How much was asked for.
    pub num_bytes: u64,
    /// Whose memory it stands for.
    pub kind: MemoryKind,
}

impl Allocation {
    fn end(&self) -> u64 {
        self.address + self.num_bytes
    }
}

/// How much memory is in use, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    /// What the device has.
    pub capacity: u64,
    /// Device memory in use, in whole pages.
    pub in_use: u64,
    /// The most that ever was in use.
    pub peak: u64,
    /// Pinned host memory in use.
    pub host: u64,
}

/// Why memory could not be had, or not be accessed from the host.
#[derive(Clone, PartialEq, Eq, Error, Debug)]
pub enum ArenaError {
    /// The system does not give the address space.
    #[error(
        "cannot reserve {num_bytes} bytes of address space for device memory: {reason}; \
         allow more (ulimit -v, vm.overcommit_memory=0 or 1) or ask for a smaller device"
    )]
    Reserve {
        /// What was asked for.
        num_bytes: u64,
        /// What the system said.
        reason: String,
    },
    /// An allocation of no bytes.
    #[error("an allocation needs at least 1 byte")]
    Empty,
    /// The device is full.
    #[error("out of memory: {asked} bytes asked for, {left} of {capacity} left")]
    OutOfMemory {
        /// What was asked for.
        asked: u64,
        /// What is left.
        left: u64,
        /// What the device has.
        capacity: u64,
    },
    /// The range of addresses is too scattered.
    #[error("no {0} free addresses in a row: free some allocations")]
    Fragmented(u64),
    /// Not the address of an allocation.
    #[error("{address:#x} is no allocation's address: {reason}")]
    NotAllocated {
        /// The address.
        address: u64,
        /// What is there.
        reason: String,
    },
    /// An access from the host that is not inside one allocation.
    #[error("{num_bytes} bytes at {address:#x} are not inside an allocation: {reason}")]
    OutOfBounds {
        /// The address.
        address: u64,
        /// How much was asked for.
        num_bytes: u64,
        /// What is there.
        reason: String,
    },
}

struct Allocator {
    live: BTreeMap<u64, Allocation>,
    /// The latest that were freed, the last one in front.
    freed: VecDeque<Allocation>,
    /// Free chunks: first chunk and number. Neighbours are one entry.
    holes: BTreeMap<u64, u64>,
    /// Where the search for a hole starts. It only moves on, so that freed addresses come back as late as possible.
    cursor: u64,
    usage: Usage,
}

/// Device memory.
///
/// Device addresses are host addresses in a range that this reserves at the start; memory comes when it is first
/// touched, and reads as poison then. Between allocations lie gaps, and freed addresses are the last to be given out
/// again, so that an access outside of an allocation is found.
///
/// Any thread may allocate and access. Accesses are relaxed atomics: racing kernels are not undefined here, but get what
/// they deserve.
pub struct Arena {
    chunks: Chunks,
    written: Option<Written>,
    allocator: Mutex<Allocator>,
}

impl Arena {
    /// Reserves the addresses.
    ///
    /// # Errors
    /// If the system does not give that many.
    pub fn new(config: ArenaConfig) -> Result<Self, ArenaError> {
        // Twice the capacity, so that addresses need not be reused at once and gaps have room.
        let num_bytes = config.capacity.saturating_mul(2).saturating_add(4 << 30) / CHUNK * CHUNK;
        let reserve = |reason: String| ArenaError::Reserve { num_bytes, reason };
        let length = usize::try_from(num_bytes).map_err(|error| reserve(error.to_string()))?;
        let memory = Reservation::new(length).map_err(|error| reserve(error.to_string()))?;
        let written = config.tracks_writes.then(|| Written::new(memory.base(), num_bytes));
        let written = written.transpose().map_err(|error| reserve(error.to_string()))?;
        let chunks = Chunks::new(memory, config.poison);
        let allocator = Allocator {
            live: BTreeMap::new(),
            freed: VecDeque::new(),
            holes: BTreeMap::from([(GAP, chunks.num_chunks() - GAP)]),
            cursor: 0,
            usage: Usage { capacity: config.capacity, ..Usage::default() },
        };
        Ok(Self { chunks, written, allocator: Mutex::new(allocator) })
    }

    fn allocator(&self) -> MutexGuard<'_, Allocator> {
        self.allocator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Allocates `num_bytes` at an address that is a multiple of 256, and of no more.
    ///
    /// # Errors
    /// If `num_bytes` is 0, or more than there is.
    pub fn allocate(&self, num_bytes: u64, kind: MemoryKind) -> Result<u64, ArenaError> {
        if num_bytes == 0 {
            return Err(ArenaError::Empty);
        }
        let mut allocator = self.allocator();
        let chunk = allocator.place(num_bytes, kind)?;
        let address = self.chunks.base() + chunk * CHUNK + ALIGNMENT;
        allocator.live.insert(address, Allocation { address, num_bytes, kind });
        self.chunks.allocate(address, address + num_bytes);
        if kind == MemoryKind::Host {
            // The host uses it behind our back, so it cannot wait for the first touch.
            self.chunks.touch(address, address + num_bytes);
            self.mark_written(address, num_bytes);
        }
        Ok(address)
    }

    /// Frees the allocation at `address`.
    ///
    /// # Errors
    /// If there is none.
    pub fn free(&self, address: u64) -> Result<(), ArenaError> {
        let mut allocator = self.allocator();
        let Some(allocation) = allocator.live.remove(&address) else {
            let reason = allocator.describe(address);
            return Err(ArenaError::NotAllocated { address, reason });
        };
        self.chunks.free(address, allocation.end());
        if let Some(written) = &self.written {
            written.clear(address, allocation.end());
        }
        let chunk = (address - ALIGNMENT - self.chunks.base()) / CHUNK;
        allocator.release(chunk, allocation);
        Ok(())
    }

    /// The allocation that the byte at `address` is in.
    pub fn allocation(&self, address: u64) -> Option<Allocation> {
        self.allocator().at(address)
    }

    /// How much is in use.
    pub fn usage(&self) -> Usage {
        self.allocator().usage
    }

    /// What is at `address` and which allocation is nearest, for error messages.
    pub fn describe(&self, address: u64) -> String {
        self.allocator().describe(address)
    }

    /// Copies from the device.
    ///
    /// # Errors
    /// If the bytes are not inside one allocation.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), ArenaError> {
        self.check(address, bytes.len() as u64)?;
        let num_bytes = bytes.len() as u64;
        let mut read = || {
            let (words, rest) = bytes.as_chunks_mut::<8>();
            let rest_address = address + 8 * words.len() as u64;
            let mut cursor = Cursor::<u64>::new(self);
            for (i, word) in words.iter_mut().enumerate() {
                *word = cursor.load(address + 8 * i as u64)?.to_le_bytes();
            }
            let mut cursor = Cursor::new(self);
            for (i, byte) in rest.iter_mut().enumerate() {
                *byte = cursor.load(rest_address + i as u64)?;
            }
            Some(())
        };
        read().ok_or_else(|| self.out_of_bounds(address, num_bytes))
    }

    /// Copies to the device.
    ///
    /// # Errors
    /// If the bytes are not inside one allocation.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), ArenaError> {
        self.check(address, bytes.len() as u64)?;
        let write = || {
            let (words, rest) = bytes.as_chunks::<8>();
            let rest_address = address + 8 * words.len() as u64;
            let mut cursor = Cursor::new(self);
            for (i, &word) in words.iter().enumerate() {
                cursor.store(address + 8 * i as u64, u64::from_le_bytes(word))?;
            }
            let mut cursor = Cursor::new(self);
            for (i, &byte) in rest.iter().enumerate() {
                cursor.store(rest_address + i as u64, byte)?;
            }
            Some(())
        };
        write().ok_or_else(|| self.out_of_bounds(address, bytes.len() as u64))?;
        self.mark_written(address, bytes.len() as u64);
        Ok(())
    }

    /// Whether all of `num_bytes` at `address`, which are inside an allocation, were written since; `true` if the arena
    /// does not track writes.
    pub fn is_written(&self, address: u64, num_bytes: u64) -> bool {
        let Some(written) = &self.written else { return true };
        written.has(address, address.saturating_add(num_bytes))
    }

    /// Takes note that `num_bytes` at `address`, which are inside an allocation, were written.
    pub(crate) fn mark_written(&self, address: u64, num_bytes: u64) {
        if let Some(written) = &self.written {
            written.mark(address, address.saturating_add(num_bytes));
        }
    }

    /// Repeats `pattern` over `num_bytes`, a last part of it included.
    ///
    /// # Errors
    /// If the bytes are not inside one allocation.
    pub fn fill(&self, address: u64, num_bytes: u64, pattern: &[u8]) -> Result<(), ArenaError> {
        self.check(address, num_bytes)?;
        let piece: Vec<u8> = pattern.iter().copied().cycle().take(pattern.len() << 10).collect();
        let step = piece.len().max(1) as u64;
        for offset in (0..num_bytes).step_by(step as usize) {
            let length = (num_bytes - offset).min(step) as usize;
            self.write(address + offset, piece.get(..length).unwrap_or_default())?;
        }
        Ok(())
    }

    /// Copies `num_bytes` from `source` to `destination`, which do not overlap.
    ///
    /// # Errors
    /// If one of them is not inside one allocation.
    pub fn copy(&self, destination: u64, source: u64, num_bytes: u64) -> Result<(), ArenaError> {
        self.check(destination, num_bytes)?;
        self.check(source, num_bytes)?;
        let mut piece = vec![0; num_bytes.min(CHUNK) as usize];
        for offset in (0..num_bytes).step_by(CHUNK as usize) {
            let piece = &mut piece[..(num_bytes - offset).min(CHUNK) as usize];
            self.read(source + offset, piece)?;
            self.write(destination + offset, piece)?;
        }
        Ok(())
    }

    /// Whether `num_bytes` at `address` are inside one allocation.
    fn check(&self, address: u64, num_bytes: u64) -> Result<(), ArenaError> {
        let inside = |allocation: Allocation| num_bytes <= allocation.end() - address;
        if num_bytes == 0 || self.allocation(address).is_some_and(inside) {
            return Ok(());
        }
        Err(self.out_of_bounds(address, num_bytes))
    }

    fn out_of_bounds(&self, address: u64, num_bytes: u64) -> ArenaError {
        ArenaError::OutOfBounds { address, num_bytes, reason: self.describe(address) }
    }
}

impl Allocator {
    /// Takes chunks for an allocation out of the holes; the first of them.
    fn place(&mut self, num_bytes: u64, kind: MemoryKind) -> Result<u64, ArenaError> {
        let Usage { capacity, in_use, .. } = self.usage;
        let left = capacity - in_use;
        let pages = num_bytes.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
        if num_bytes > left || (kind == MemoryKind::Device && pages > left) {
            return Err(ArenaError::OutOfMemory { asked: num_bytes, left, capacity });
        }
        let num_chunks = Self::num_chunks(num_bytes);
        let start = self.find(num_chunks).ok_or(ArenaError::Fragmented(num_bytes))?;
        self.take(start, num_chunks);
        self.cursor = start + num_chunks;
        match kind {
            MemoryKind::Device => self.usage.in_use += pages,
            MemoryKind::Host => self.usage.host += pages,
        }
        self.usage.peak = self.usage.peak.max(self.usage.in_use);
        Ok(start)
    }

    /// Where that many chunks are free: from the cursor on if possible, else from the start.
    fn find(&self, num_chunks: u64) -> Option<u64> {
        let cursor = self.cursor;
        let around = self.holes.range(..cursor).next_back();
        if around.is_some_and(|(start, size)| cursor + num_chunks <= start + size) {
            return Some(cursor);
        }
        let fits = |&(_, &size): &(&u64, &u64)| size >= num_chunks;
        let hole = self.holes.range(cursor..).find(fits).or_else(|| self.holes.iter().find(fits));
        hole.map(|(&start, _)| start)
    }

    /// Takes chunks out of the hole that they are in.
    fn take(&mut self, start: u64, num_chunks: u64) {
        let Some((&hole, &size)) = self.holes.range(..=start).next_back() else { return };
        self.holes.remove(&hole);
        let (end, hole_end) = (start + num_chunks, hole + size);
        if hole < start {
            self.holes.insert(hole, start - hole);
        }
        if end < hole_end {
            self.holes.insert(end, hole_end - end);
        }
    }

    /// Chunks of an allocation and of the gap behind it.
    fn num_chunks(num_bytes: u64) -> u64 {
        (ALIGNMENT + num_bytes).div_ceil(CHUNK) + GAP
    }

    /// Puts the chunks of a freed allocation, from `start` on, back into the holes.
    fn release(&mut self, mut start: u64, allocation: Allocation) {
        let mut size = Self::num_chunks(allocation.num_bytes);
        if let Some(next) = self.holes.remove(&(start + size)) {
            size += next;
        }
        if let Some((&previous, &length)) = self.holes.range(..start).next_back()
            && previous + length == start
        {
            self.holes.remove(&previous);
            (start, size) = (previous, size + length);
        }
        self.holes.insert(start, size);
        let pages = allocation.num_bytes.next_multiple_of(PAGE);
        match allocation.kind {
            MemoryKind::Device => self.usage.in_use -= pages,
            MemoryKind::Host => self.usage.host -= pages,
        }
        self.freed.truncate(NUM_REMEMBERED - 1);
        self.freed.push_front(allocation);
    }

    fn at(&self, address: u64) -> Option<Allocation> {
        let (_, &allocation) = self.live.range(..=address).next_back()?;
        (address < allocation.end()).then_some(allocation)
    }

    fn describe(&self, address: u64) -> String {
        let inside = |what: &str, at: &Allocation| {
            let offset = address - at.address;
            format!("byte {offset} of the {what} of {} bytes at {:#x}", at.num_bytes, at.address)
        };
        if let Some(allocation) = self.at(address) {
            return inside("allocation", &allocation);
        }
        let was_in = |freed: &&Allocation| freed.address <= address && address < freed.end();
        if let Some(freed) = self.freed.iter().find(was_in) {
            return inside("freed allocation", freed);
        }
        let past = |at: &Allocation| {
            let distance = address - at.end();
            let text = "bytes past the end of the allocation of";
            (distance, format!("{distance} {text} {} bytes at {:#x}", at.num_bytes, at.address))
        };
        let before = |at: &Allocation| {
            let distance = at.address - address;
            let text = "bytes before the allocation of";
            (distance, format!("{distance} {text} {} bytes at {:#x}", at.num_bytes, at.address))
        };
        let below = self.live.range(..=address).next_back().map(|(_, at)| past(at));
        let above = self.live.range(address..).next().map(|(_, at)| before(at));
        let nearest = below.into_iter().chain(above).min_by_key(|&(distance, _)| distance);
        nearest.map_or("nothing is allocated".into(), |(_, text)| text)
    }
}

/// The way through memory of somebody who mostly goes on from where they were.
pub(super) struct Cursor<'a, T> {
    arena: &'a Arena,
    window: Window<'a, T>,
}

impl<'a, T: Unit> Cursor<'a, T> {
    pub(super) fn new(arena: &'a Arena) -> Self {
        Self { arena, window: Window::EMPTY }
    }

    /// What `access` gets from the window around `address`; `None` if the `T` there is not inside an allocation.
    #[inline(always)]
    pub(super) fn access<R>(
        &mut self,
        address: u64,
        access: impl Fn(&Window<'a, T>) -> Option<R>,
    ) -> Option<R> {
        match access(&self.window) {
            None => {
                self.move_to(address);
                access(&self.window)
            }
            done => done,
        }
    }

    #[cold]
    #[inline(never)]
    fn move_to(&mut self, address: u64) {
        self.window = self.arena.chunks.window(address).unwrap_or(Window::EMPTY);
    }

    /// Reads at `address`.
    #[inline(always)]
    pub(super) fn load(&mut self, address: u64) -> Option<T> {
        if let Some(value) = self.window.load(address) {
            return Some(value);
        }
        self.move_to(address);
        self.window.load(address)
    }

    /// Writes at `address`.
    #[inline(always)]
    pub(super) fn store(&mut self, address: u64, value: T) -> Option<()> {
        if self.window.store(address, value).is_some() {
            return Some(());
        }
        self.move_to(address);
        self.window.store(address, value)
    }
}
