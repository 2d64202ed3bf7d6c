//! Device memory as the host sees it: the one file that follows pointers.
//!
//! Waves on many threads, and the host, read and write device memory at once, as on the hardware. So every access here
//! is a relaxed atomic one: aligned dwords and pairs of dwords as one access each, anything else in smaller parts. Rust
//! has no word for accesses of *different* sizes that race for the same bytes; a kernel that does that gets what the
//! host's load and store instructions give it, which is also all that the GPU promises.

use std::io;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

use memmap2::{MmapOptions, MmapRaw, UncheckedAdvice};

// Dwords are put together from their parts, low part first.
const _: () = assert!(cfg!(target_endian = "little"));

/// Address space without memory: pages come at first touch, as zeros.
pub(super) struct Reservation {
    map: MmapRaw,
}

impl Reservation {
    /// Reserves `num_bytes`.
    pub(super) fn new(num_bytes: usize) -> io::Result<Self> {
        let map = MmapOptions::new().len(num_bytes).no_reserve_swap().map_anon()?;
        Ok(Self { map: map.into() })
    }

    /// The address of the first byte.
    pub(super) fn base(&self) -> u64 {
        self.map.as_mut_ptr() as u64
    }

    /// How much is reserved.
    pub(super) fn num_bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// The bytes from address `start` to address `end`, in which `T`s are accessed.
    ///
    /// # Panics
    /// If they are not all reserved.
    pub(super) fn window<T: Unit>(&self, start: u64, end: u64) -> Window<'_, T> {
        assert!(self.base() <= start && start <= end && end <= self.base() + self.num_bytes());
        let num_bytes = end - start;
        let size = size_of::<T>() as u64;
        Window { start, num_places: (num_bytes + 1).saturating_sub(size), unit: PhantomData }
    }

    /// Gives the memory from address `start` to address `end` back to the system, as far as it is whole pages: it reads
    /// as zeros from now on.
    pub(super) fn discard(&self, start: u64, end: u64) -> io::Result<()> {
        let (offset, num_bytes) = (start - self.base(), end - start);
        // SAFETY: nothing in Rust borrows this memory, it is only ever accessed through `Window`; and any bit pattern,
        // zeros included, is a value of what is accessed there.
        unsafe {
            self.map.unchecked_advise_range(
                UncheckedAdvice::DontNeed,
                offset as usize,
                num_bytes as usize,
            )
        }
    }
}

/// Reserved memory in which `T`s may be accessed, at any address that leaves room for one.
#[derive(Clone, Copy)]
pub(super) struct Window<'a, T> {
    start: u64,
    num_places: u64,
    unit: PhantomData<(&'a Reservation, T)>,
}

impl<T: Unit> Window<'_, T> {
    /// A window with room for nothing.
    pub(super) const EMPTY: Self = Self { start: 0, num_places: 0, unit: PhantomData };

    #[inline(always)]
    fn pointer(&self, address: u64) -> Option<*mut u8> {
        (address.wrapping_sub(self.start) < self.num_places).then_some(address as *mut u8)
    }

    /// Reads at `address`; `None` outside of the window.
    #[inline(always)]
    pub(super) fn load(&self, address: u64) -> Option<T> {
        // SAFETY: `pointer` is inside the reservation with room for a `T`, which `window` and the lifetime guarantee.
        self.pointer(address).map(|pointer| unsafe { T::load(pointer) })
    }

    /// Writes at `address`; `None` outside of the window.
    #[inline(always)]
    pub(super) fn store(&self, address: u64, value: T) -> Option<()> {
        // SAFETY: as in `load`; the reservation is writable.
        self.pointer(address).map(|pointer| unsafe { value.store(pointer) })
    }
}

macro_rules! read_modify_write {
    ($word:ident, $atomic:ident) => {
        impl Window<'_, $word> {
            /// Replaces what is at `address`, a multiple of the size, by `update` of it, in one atomic step; what was
            /// there. `None` outside of the window or between two words.
            pub(super) fn update(
                &self,
                address: u64,
                update: impl Fn($word) -> $word,
            ) -> Option<$word> {
                let pointer = self.pointer(address)?;
                if pointer as usize % size_of::<$word>() != 0 {
                    return None;
                }
                // SAFETY: as in `load`, and aligned, which was just tested.
                let word = unsafe { $atomic::from_ptr(pointer.cast()) };
                let mut old = word.load(Relaxed);
                loop {
                    match word.compare_exchange_weak(old, update(old), Relaxed, Relaxed) {
                        Ok(old) => return Some(old),
                        Err(now) => old = now,
                    }
                }
            }
        }
    };
}

read_modify_write!(u32, AtomicU32);
read_modify_write!(u64, AtomicU64);

/// What a lane, or the host, accesses at once, at any alignment.
pub(super) trait Unit: Copy {
    /// Reads at `pointer`.
    ///
    /// # Safety
    /// `pointer` must be readable for the size of `Self`, and accessed by nobody except through this trait or atomically.
    unsafe fn load(pointer: *mut u8) -> Self;

    /// Writes at `pointer`.
    ///
    /// # Safety
    /// As for `load`, and writable.
    unsafe fn store(self, pointer: *mut u8);
}

impl Unit for u8 {
    #[inline(always)]
    unsafe fn load(pointer: *mut u8) -> Self {
        // SAFETY: the caller's promise.
        unsafe { AtomicU8::from_ptr(pointer) }.load(Relaxed)
    }

    #[inline(always)]
    unsafe fn store(self, pointer: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { AtomicU8::from_ptr(pointer) }.store(self, Relaxed);
    }
}

/// A word as an atomic access where it is aligned, else as its two halves.
macro_rules! unit {
    ($word:ident, $atomic:ident, $half:ident) => {
        impl Unit for $word {
            #[inline(always)]
            unsafe fn load(pointer: *mut u8) -> Self {
                const HALF: usize = size_of::<$half>();
                if pointer as usize % size_of::<$word>() == 0 {
                    // SAFETY: the caller's promise, and aligned.
                    unsafe { $atomic::from_ptr(pointer.cast()) }.load(Relaxed)
                } else {
                    // SAFETY: the caller's promise: the low half is inside.
                    let low = unsafe { $half::load(pointer) };
                    // SAFETY: the same for the high half.
                    let high = unsafe { $half::load(pointer.add(HALF)) };
                    $word::from(low) | $word::from(high) << (8 * HALF)
                }
            }

            #[inline(always)]
            unsafe fn store(self, pointer: *mut u8) {
                const HALF: usize = size_of::<$half>();
                if pointer as usize % size_of::<$word>() == 0 {
                    // SAFETY: the caller's promise, and aligned.
                    unsafe { $atomic::from_ptr(pointer.cast()) }.store(self, Relaxed);
                } else {
                    // SAFETY: the caller's promise: both halves are inside.
                    unsafe {
                        (self as $half).store(pointer);
                        ((self >> (8 * HALF)) as $half).store(pointer.add(HALF));
                    }
                }
            }
        }
    };
}

unit!(u16, AtomicU16, u8);
unit!(u32, AtomicU32, u16);
unit!(u64, AtomicU64, u32);

/// Dwords, in aligned pairs as far as they go: a pair that one lane writes, another reads whole.
impl<const N: usize> Unit for [u32; N] {
    #[inline(always)]
    unsafe fn load(pointer: *mut u8) -> Self {
        let mut dwords = [0; N];
        let (pairs, rest) = dwords.as_chunks_mut::<2>();
        for (i, pair) in pairs.iter_mut().enumerate() {
            // SAFETY: the caller's promise: pair `i` is inside.
            let value = unsafe { u64::load(pointer.add(8 * i)) };
            *pair = [value as u32, (value >> 32) as u32];
        }
        if let [last] = rest {
            // SAFETY: the caller's promise: the last dword is inside.
            *last = unsafe { u32::load(pointer.add(4 * (N - 1))) };
        }
        dwords
    }

    #[inline(always)]
    unsafe fn store(self, pointer: *mut u8) {
        let (pairs, rest) = self.as_chunks::<2>();
        for (i, &[low, high]) in pairs.iter().enumerate() {
            // SAFETY: the caller's promise: pair `i` is inside.
            unsafe { (u64::from(low) | u64::from(high) << 32).store(pointer.add(8 * i)) };
        }
        if let [last] = rest {
            // SAFETY: the caller's promise: the last dword is inside.
            unsafe { last.store(pointer.add(4 * (N - 1))) };
        }
    }
}
