//! Memory for transfers past the page cache, which want addresses, offsets and lengths in whole blocks.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// What addresses, offsets and lengths are a multiple of: no disk asks for more.
pub const ALIGNMENT: usize = 4096;

/// Bytes at an aligned address.
#[derive(Debug)]
pub struct AlignedBuffer {
    start: NonNull<u8>,
    layout: Layout,
}

impl AlignedBuffer {
    /// At least `num_bytes` zeros, in whole blocks.
    ///
    /// # Panics
    /// If so many cannot be addressed.
    pub fn new(num_bytes: usize) -> Self {
        let num_bytes = num_bytes.max(1).next_multiple_of(ALIGNMENT);
        let layout =
            Layout::from_size_align(num_bytes, ALIGNMENT).expect("an address space's worth");
        // SAFETY: the layout's size is not zero: it is at least one block, by the line above.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        AlignedBuffer { start, layout }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` was allocated with this layout, its bytes were zeroed, and they live as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.layout.size()) }
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `self` is borrowed by nobody else.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.layout.size()) }
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and freed only here.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

// SAFETY: the buffer owns its memory as a `Vec<u8>` does; nothing in it belongs to a thread.
unsafe impl Send for AlignedBuffer {}
// SAFETY: a shared reference gives only shared slices of bytes.
unsafe impl Sync for AlignedBuffer {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_whole_aligned_zeroed_blocks() {
        for (asked, given) in [(0, 4096), (1, 4096), (4096, 4096), (4097, 8192)] {
            let mut buffer = AlignedBuffer::new(asked);
            assert_eq!((buffer.len(), buffer.as_ptr().addr() % ALIGNMENT), (given, 0));
            assert!(buffer.iter().all(|&byte| byte == 0));
            buffer.fill(7);
            assert_eq!(buffer[given - 1], 7);
        }
    }
}
