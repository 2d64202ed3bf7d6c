//! Which bytes of the arena somebody wrote since they were allocated: one bit each, where anybody wants to know.

use std::io;

use super::chunks::CHUNK;
use super::raw::Reservation;

/// Bytes whose bits share a word.
const BYTES_PER_WORD: u64 = u64::BITS as u64;

/// A bit for every byte of an arena.
pub(super) struct Written {
    bits: Reservation,
    base: u64,
}

impl Written {
    /// Nothing of the `num_bytes` at address `base` is written. Bits take memory where they are set.
    pub(super) fn new(base: u64, num_bytes: u64) -> io::Result<Self> {
        let length = usize::try_from(num_bytes / 8).map_err(io::Error::other)?;
        Ok(Self { bits: Reservation::new(length)?, base })
    }

    /// The words that hold the bits of some bytes, each with the bits in question. None for what is not in the arena.
    fn words(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let limit = self.base + self.bits.num_bytes() * 8;
        let is_inside = self.base <= start && start <= end && end <= limit;
        let (start, end) = if is_inside { (start - self.base, end - self.base) } else { (0, 0) };
        (start / BYTES_PER_WORD..end.div_ceil(BYTES_PER_WORD)).map(move |word| {
            let first = word * BYTES_PER_WORD;
            let from = u64::MAX << start.saturating_sub(first);
            let unused = (first + BYTES_PER_WORD).saturating_sub(end);
            (self.bits.base() + word * 8, from & u64::MAX >> unused)
        })
    }

    /// Sets the bits of the bytes from address `start` to address `end`, which are in the arena.
    pub(super) fn mark(&self, start: u64, end: u64) {
        let window = self.bits.window(self.bits.base(), self.bits.base() + self.bits.num_bytes());
        for (address, bits) in self.words(start, end) {
            if window.load(address).is_some_and(|old: u64| old & bits != bits) {
                window.update(address, |old| old | bits);
            }
        }
    }

    /// Whether all those bits are set.
    pub(super) fn has(&self, start: u64, end: u64) -> bool {
        let window = self.bits.window(self.bits.base(), self.bits.base() + self.bits.num_bytes());
        self.words(start, end)
            .all(|(address, bits)| window.load(address).is_some_and(|set: u64| set & bits == bits))
    }

    /// Clears the bits of all chunks that the bytes from `start` to `end` are in.
    pub(super) fn clear(&self, start: u64, end: u64) {
        let first = (start - self.base) / CHUNK * CHUNK / 8;
        let last = (end - self.base).next_multiple_of(CHUNK) / 8;
        let base = self.bits.base();
        if self.bits.discard(base + first, base + last).is_err() {
            let window = self.bits.window(base + first, base + last);
            (first..last).step_by(8).for_each(|at| _ = window.store(base + at, 0u64));
        }
    }
}
