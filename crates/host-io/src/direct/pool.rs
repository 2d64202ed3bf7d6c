//! Threads that read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use super::Window;
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
    pub(super) fn read(
        &self,
        file: &Arc<File>,
        window: Window,
        out: &mut [u8],
    ) -> io::Result<usize> {
        if self.num_threads == 0 {
            let mut buffer = AlignedBuffer::new(window.num_bytes);
            let num_bytes = file.read_at(&mut buffer, window.start)?;
            return Ok(window.give(&buffer[..num_bytes], out));
        }
        let (done, results) = channel();
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (idx, piece) in window.pieces().enumerate() {
            let offset = window.start + piece.start as u64;
            let (file, done) = (Arc::clone(file), done.clone());
            let job = Job { file, offset, num_bytes: piece.len(), idx, done };
            jobs.send(job).map_err(|_| io::Error::other("the reading threads have ended"))?;
        }
        drop(done);
        let mut found: Vec<_> = results.iter().collect();
        found.sort_by_key(|(idx, ..)| *idx);
        let mut bytes = Vec::with_capacity(window.num_bytes);
        for ((_, buffer, num_bytes), piece) in found.into_iter().zip(window.pieces()) {
            bytes.extend_from_slice(&buffer?[..num_bytes]);
            if num_bytes < piece.len() {
                break;
            }
        }
        Ok(window.give(&bytes, out))
    }
}
