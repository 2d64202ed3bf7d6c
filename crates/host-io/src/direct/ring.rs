//! `io_uring`: requests that need no thread.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::sync::{Mutex, PoisonError};

use io_uring::{IoUring, opcode, types};

use super::{NUM_PIECES, PIECE_BYTES, Window};
use crate::aligned::AlignedBuffer;

/// A ring and the memory that its requests read into: piece number `i` of a read into slot `i % NUM_PIECES`.
struct Ring {
    ring: ManuallyDrop<IoUring>,
    buffer: ManuallyDrop<AlignedBuffer>,
    /// Of each slot what the system said of its request; `None` while that is on its way.
    results: [Option<i32>; NUM_PIECES],
    num_in_flight: usize,
}

/// Rings that no thread is using: each read takes one and gives it back.
pub(super) struct Rings(Mutex<Vec<Ring>>);

impl Ring {
    fn new() -> io::Result<Self> {
        let ring = ManuallyDrop::new(IoUring::new(NUM_PIECES as u32)?);
        let buffer = ManuallyDrop::new(AlignedBuffer::new(PIECE_BYTES * NUM_PIECES));
        Ok(Ring { ring, buffer, results: [None; NUM_PIECES], num_in_flight: 0 })
    }

    /// Reads a window piece by piece into `take`, in their order, while the next ones are on their way. Ends with the
    /// file, or where `take` has enough.
    fn stream(
        &mut self,
        file: &File,
        window: Window,
        mut take: impl FnMut(&[u8]) -> bool,
    ) -> io::Result<()> {
        let mut waiting: VecDeque<(usize, Range<usize>)> = VecDeque::new();
        let mut pieces = window.pieces().enumerate();
        let mut outcome = Ok(());
        loop {
            while waiting.len() < NUM_PIECES
                && let Some((idx, piece)) = pieces.next()
            {
                self.request(file, window.start + piece.start as u64, idx, piece.len())?;
                waiting.push_back((idx, piece));
            }
            let Some((idx, piece)) = waiting.pop_front() else { break };
            self.ring.submit()?;
            let num_bytes = match self.wait_for(idx)? {
                found if found < 0 => {
                    outcome = Err(io::Error::from_raw_os_error(-found));
                    break;
                }
                found => (found as usize).min(piece.len()),
            };
            let start = idx % NUM_PIECES * PIECE_BYTES;
            if !take(&self.buffer[start..start + num_bytes]) || num_bytes < piece.len() {
                break;
            }
        }
        while self.num_in_flight > 0 {
            self.wait()?;
        }
        outcome
    }

    /// Asks for a piece, whose slot nobody uses.
    fn request(
        &mut self,
        file: &File,
        offset: u64,
        idx: usize,
        num_bytes: usize,
    ) -> io::Result<()> {
        let slot = idx % NUM_PIECES;
        let start = slot * PIECE_BYTES;
        let to = self.buffer[start..start + num_bytes].as_mut_ptr();
        let read = opcode::Read::new(types::Fd(file.as_raw_fd()), to, num_bytes as u32)
            .offset(offset)
            .build()
            .user_data(slot as u64);
        self.results[slot] = None;
        // SAFETY: `to` begins `num_bytes` of the buffer, by the slice above; nothing reads or writes its slot until the
        // completion of this request was seen (`stream`), and ring and buffer live until the completion of every
        // request was: `drop` leaks both if that never happened. The kernel holds the file itself once it took the request.
        unsafe { self.ring.submission().push(&read) }
            .map_err(|_| io::Error::other("more requests than the ring has places"))?;
        self.num_in_flight += 1;
        Ok(())
    }

    fn wait_for(&mut self, idx: usize) -> io::Result<i32> {
        loop {
            if let Some(found) = self.results[idx % NUM_PIECES] {
                return Ok(found);
            }
            self.wait()?;
        }
    }

    /// Waits for at least one completion.
    fn wait(&mut self) -> io::Result<()> {
        match self.ring.submit_and_wait(1) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        for completion in self.ring.completion() {
            if let Some(found) = self.results.get_mut(completion.user_data() as usize) {
                *found = Some(completion.result());
            }
            self.num_in_flight -= 1;
        }
        Ok(())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.num_in_flight > 0 {
            // The system may still be writing into the buffer: it is never used or freed again.
            return;
        }
        // SAFETY: both are alive, and this is the last use of either.
        unsafe {
            ManuallyDrop::drop(&mut self.ring);
            ManuallyDrop::drop(&mut self.buffer);
        }
    }
}

impl Rings {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Rings(Mutex::new(vec![Ring::new()?])))
    }

    pub(super) fn stream(
        &self,
        file: &File,
        window: Window,
        take: impl FnMut(&[u8]) -> bool,
    ) -> io::Result<()> {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut ring = match free {
            Some(ring) => ring,
            None => Ring::new()?,
        };
        let streamed = ring.stream(file, window, take);
        if ring.num_in_flight == 0 {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(ring);
        }
        streamed
    }
}
