//! `io_uring`: requests that need no thread.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::{Mutex, PoisonError};

use io_uring::{IoUring, opcode, types};

use super::{NUM_PIECES, PIECE_BYTES, Window};
use crate::aligned::AlignedBuffer;

/// A ring and the memory that its requests read into.
struct Ring {
    ring: IoUring,
    buffer: AlignedBuffer,
    /// Requests may still be on their way, and nobody will know when they end.
    is_lost: bool,
}

/// Rings that no thread is using: each read takes one and gives it back.
pub(super) struct Rings(Mutex<Vec<Ring>>);

impl Ring {
    fn new() -> io::Result<Self> {
        let ring = IoUring::new(NUM_PIECES as u32)?;
        let buffer = AlignedBuffer::new(PIECE_BYTES * NUM_PIECES);
        Ok(Ring { ring, buffer, is_lost: false })
    }

    /// Fills the buffer from a window of a file, as far as the file goes; how many bytes there are from its start.
    fn fill(&mut self, file: &File, window: Window) -> io::Result<usize> {
        let mut found = [0_i32; NUM_PIECES];
        let fd = types::Fd(file.as_raw_fd());
        let start = self.buffer.as_mut_ptr();
        let mut num_pieces = 0;
        self.is_lost = true;
        for (idx, piece) in window.pieces().enumerate() {
            // SAFETY: a window is no longer than the buffer (`Window::around`), so the piece lies in it.
            let to = unsafe { start.add(piece.start) };
            let read = opcode::Read::new(fd, to, piece.len() as u32)
                .offset(window.start + piece.start as u64)
                .build()
                .user_data(idx as u64);
            // SAFETY: the file is borrowed and the buffer is owned by `self` until `wait` has seen the completion of
            // every request; where it cannot, `is_lost` stays, and `Rings::read` leaks ring and buffer together.
            unsafe { self.ring.submission().push(&read) }
                .map_err(|_| io::Error::other("more requests than the ring has places"))?;
            num_pieces += 1;
        }
        self.wait(num_pieces, &mut found)?;
        self.is_lost = false;
        let mut num_bytes = 0;
        for (piece, &found) in window.pieces().zip(&found) {
            if found < 0 {
                return Err(io::Error::from_raw_os_error(-found));
            }
            num_bytes += found as usize;
            if (found as usize) < piece.len() {
                break;
            }
        }
        Ok(num_bytes)
    }

    /// Waits for all requests.
    fn wait(&mut self, num_requests: usize, found: &mut [i32; NUM_PIECES]) -> io::Result<()> {
        let mut num_done = 0;
        while num_done < num_requests {
            match self.ring.submit_and_wait(num_requests - num_done) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            for completion in self.ring.completion() {
                if let Some(found) = found.get_mut(completion.user_data() as usize) {
                    *found = completion.result();
                }
                num_done += 1;
            }
        }
        Ok(())
    }
}

impl Rings {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Rings(Mutex::new(vec![Ring::new()?])))
    }

    pub(super) fn read(&self, file: &File, window: Window, out: &mut [u8]) -> io::Result<usize> {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut ring = match free {
            Some(ring) => ring,
            None => Ring::new()?,
        };
        let filled = ring.fill(file, window);
        if ring.is_lost {
            // The system may still be writing into the buffer: it is never used or freed again.
            std::mem::forget(ring);
            return Err(filled.err().unwrap_or_else(|| io::Error::other("a ring was lost")));
        }
        let given = filled.map(|num_bytes| window.give(&ring.buffer[..num_bytes], out));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(ring);
        given
    }
}
