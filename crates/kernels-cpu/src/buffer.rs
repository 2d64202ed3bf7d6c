//! Aligned host memory and the backend's device arrays.

use engine_core::device::OpError;
use engine_core::dtype::DType;

/// Kernels load whole cache lines; a line is also one AVX-512 register.
const LINE_BYTES: usize = 64;
const LINE_WORDS: usize = LINE_BYTES / 4;

/// Zeroed memory that starts on a cache line and can be read one line past its end, so that a
/// full-width load of a partial row stays inside.
///
/// The storage is a plain vector of words with room to shift: an over-aligned allocation would be
/// written at once, while this one costs no page until it is used.
pub(crate) struct AlignedBuf {
    storage: Vec<f32>,
    first_word: usize,
    len_bytes: usize,
}

impl AlignedBuf {
    /// `len_bytes` of zeroes.
    pub(crate) fn zeroed(len_bytes: usize, what: &'static str) -> Result<AlignedBuf, OpError> {
        let num_words = len_bytes.div_ceil(4) + 2 * LINE_WORDS;
        let storage = bytemuck::allocation::try_zeroed_vec::<f32>(num_words)
            .map_err(|()| OpError::OutOfMemory { what, requested_bytes: len_bytes as u64 })?;
        let misalignment_bytes = storage.as_ptr().addr() % LINE_BYTES;
        let first_word = (LINE_BYTES - misalignment_bytes) % LINE_BYTES / 4;
        Ok(AlignedBuf { storage, first_word, len_bytes })
    }

    /// The memory as elements, the readable line at the end excluded.
    pub(crate) fn as_slice<T: bytemuck::Pod>(&self) -> &[T] {
        let bytes: &[u8] = bytemuck::must_cast_slice(&self.storage[self.first_word..]);
        bytemuck::cast_slice(&bytes[..self.len_bytes])
    }

    /// The same, writable.
    pub(crate) fn as_mut_slice<T: bytemuck::Pod>(&mut self) -> &mut [T] {
        let bytes: &mut [u8] = bytemuck::must_cast_slice_mut(&mut self.storage[self.first_word..]);
        bytemuck::cast_slice_mut(&mut bytes[..self.len_bytes])
    }
}

/// How an array stores its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// f32, unrounded.
    F32,
    /// f32 words that hold values rounded to the dtype: for kernels without 16-bit arithmetic.
    Rounded(DType),
    /// bfloat16, for `vdpbf16ps`.
    Bf16,
}

impl Store {
    /// Bytes of one element.
    pub(crate) const fn size_bytes(self) -> usize {
        match self {
            Store::F32 | Store::Rounded(_) => 4,
            Store::Bf16 => 2,
        }
    }
}

/// A device array of this backend.
pub struct Buffer {
    pub(crate) data: AlignedBuf,
    pub(crate) store: Store,
    pub(crate) len: usize,
}

impl Buffer {
    pub(crate) fn new(len: usize, store: Store, what: &'static str) -> Result<Buffer, OpError> {
        let data = AlignedBuf::zeroed(len * store.size_bytes(), what)?;
        Ok(Buffer { data, store, len })
    }

    /// Fails unless the array has `expected` elements or more.
    pub(crate) fn check(
        &self,
        op: &'static str,
        what: &'static str,
        expected: usize,
    ) -> Result<(), OpError> {
        if self.len < expected {
            return Err(OpError::Shape { op, what, found: self.len, expected });
        }
        Ok(())
    }

    /// The elements of an f32 array.
    pub(crate) fn f32(&self) -> &[f32] {
        debug_assert_eq!(self.store.size_bytes(), 4);
        self.data.as_slice()
    }

    /// The elements of an f32 array.
    pub(crate) fn f32_mut(&mut self) -> &mut [f32] {
        debug_assert_eq!(self.store.size_bytes(), 4);
        self.data.as_mut_slice()
    }

    /// The raw bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.data.as_slice()
    }
}

/// A pointer that tasks of one region share; each writes a part of its own.
pub(crate) struct SharedPtr<T>(*mut T);

impl<T> Clone for SharedPtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for SharedPtr<T> {}

// SAFETY: the pointer itself is plain data; whoever dereferences it states why parts are disjoint.
unsafe impl<T> Sync for SharedPtr<T> {}
// SAFETY: as above.
unsafe impl<T> Send for SharedPtr<T> {}

impl<T> SharedPtr<T> {
    pub(crate) fn new(slice: &mut [T]) -> SharedPtr<T> {
        SharedPtr(slice.as_mut_ptr())
    }

    /// The address of element `idx`.
    ///
    /// # Safety
    /// `idx` is within the slice that made the pointer, or one past it.
    pub(crate) unsafe fn at(self, idx: usize) -> *mut T {
        // SAFETY: the caller keeps `idx` inside the slice.
        unsafe { self.0.add(idx) }
    }

    /// Elements `first..first + len` as this task's own.
    ///
    /// # Safety
    /// The range is within the slice that made the pointer, which is still borrowed, and no other
    /// task touches it during the region.
    pub(crate) unsafe fn part<'a>(self, first: usize, len: usize) -> &'a mut [T] {
        // SAFETY: in bounds and unshared, says the caller.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(first), len) }
    }
}

/// A pointer that tasks of one region only read through.
pub(crate) struct ReadPtr<T>(*const T);

impl<T> Clone for ReadPtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ReadPtr<T> {}

// SAFETY: nothing is written through it, and its maker borrows the memory for the whole region.
unsafe impl<T> Sync for ReadPtr<T> {}

impl<T> ReadPtr<T> {
    pub(crate) fn new(pointer: *const T) -> ReadPtr<T> {
        ReadPtr(pointer)
    }

    pub(crate) fn get(self) -> *const T {
        self.0
    }
}
