//! Threads that read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use super::{NUM_PIECES, Window};
use crate::aligned::AlignedBuffer;

/// Threads: a disk wants several requests at once, and a read only waits.
const NUM_THREADS: usize = 8;

struct Job {
    file: Arc<File>,
    offset: u64,
    num_bytes: usize,
    idx: usize,
    done: Sender<(usize, io::Result<AlignedBuffer>, usize)>,
}

/// Threads that end when the pool does.
pub(super) struct Pool {
    jobs: Mutex<Sender<Job>>,
    num_threads: usize,
}

impl Default for Pool {
    fn default() -> Self {
        let (jobs, todo) = channel();
        let todo = Arc::new(Mutex::new(todo));
        let start = |i: usize| {
            let todo = Arc::clone(&todo);
            Builder::new().name(format!("kvasir-read-{i}")).spawn(move || work(&todo)).is_ok()
        };
        let num_threads = (0..NUM_THREADS).filter(|&i| start(i)).count();
        Pool { jobs: Mutex::new(jobs), num_threads }
    }
}

fn work(todo: &Mutex<Receiver<Job>>) {
    loop {
        let job = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { file, offset, num_bytes, idx, done }) = job else { return };
        let mut buffer = AlignedBuffer::new(num_bytes);
        let read = file.read_at(&mut buffer[..num_bytes], offset);
        let found = *read.as_ref().unwrap_or(&0);
        // Whoever asked may have given up.
        let _ = done.send((idx, read.map(|_| buffer), found));
    }
}

impl Pool {
    /// Reads a window piece by piece into `take`, in their order, while the next ones are being read. Ends with the file,
    /// or where `take` has enough.
    pub(super) fn stream(
        &self,
        file: &Arc<File>,
        window: Window,
        mut take: impl FnMut(&[u8]) -> bool,
    ) -> io::Result<()> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (done, results) = channel();
        let mut early = BTreeMap::new();
        let mut asked = window.pieces().enumerate();
        for (next, piece) in window.pieces().enumerate() {
            if self.num_threads == 0 {
                let mut buffer = AlignedBuffer::new(piece.len());
                let num_bytes = file.read_at(&mut buffer, window.start + piece.start as u64)?;
                if !take(&buffer[..num_bytes]) || num_bytes < piece.len() {
                    return Ok(());
                }
                continue;
            }
            // As many are on their way as a ring would have.
            let until = next + NUM_PIECES;
            for (idx, piece) in asked.by_ref() {
                let offset = window.start + piece.start as u64;
                let (file, done) = (Arc::clone(file), done.clone());
                let job = Job { file, offset, num_bytes: piece.len(), idx, done };
                jobs.send(job).map_err(|_| gone())?;
                if idx + 1 >= until {
                    break;
                }
            }
            let (buffer, num_bytes) = loop {
                if let Some(found) = early.remove(&next) {
                    break found;
                }
                let (idx, buffer, num_bytes) = results.recv().map_err(|_| gone())?;
                early.insert(idx, (buffer, num_bytes));
            };
            if !take(&buffer?[..num_bytes]) || num_bytes < piece.len() {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn gone() -> io::Error {
    io::Error::other("the reading threads have ended")
}
