//! What the machine allows: the same bytes, moved and not looked at.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use host_io::{AlignedBuffer, DirectReader};
use serde::Serialize;

use super::runs::Runs;
use crate::cli::bench::spread::Spread;

/// As many as a store has workers.
const NUM_THREADS: usize = 2;

/// Of each kind; they are short.
const NUM_REPEATS: usize = 7;

/// Parts of a time to first token that no store can save, and those that it moves bytes in.
#[derive(Debug, Serialize)]
pub(super) struct Limits {
    pub tokenize: Spread,
    pub decode_step: Spread,
    /// The KV's bytes from memory to memory, by two threads.
    pub copy: Spread,
    /// The same from a file in one piece, past the page cache where that can be.
    pub read: Spread,
    /// Why the file was read through the page cache, or without io_uring, if it was.
    pub read_fallbacks: Vec<String>,
}

impl Limits {
    pub(super) fn measure(runs: &Runs<'_>, kv_bytes: u64, folder: &Path) -> io::Result<Limits> {
        let none = || io::Error::other("nothing was measured");
        let kv_bytes = usize::try_from(kv_bytes).map_err(io::Error::other)?;
        let (read, read_fallbacks) = read(kv_bytes, folder)?;
        Ok(Limits {
            tokenize: runs.tokenize().ok_or_else(none)?,
            decode_step: runs.decode_step().ok_or_else(none)?,
            copy: Spread::of(copy(kv_bytes)).ok_or_else(none)?,
            read: Spread::of(read).ok_or_else(none)?,
            read_fallbacks,
        })
    }

    /// Text to tokens, and a step: nothing else is to do where the KV already is.
    pub(super) fn with_nothing_moved_s(&self) -> f64 {
        self.tokenize.median_s + self.decode_step.median_s
    }

    pub(super) fn with_copy_s(&self) -> f64 {
        self.with_nothing_moved_s() + self.copy.median_s
    }

    pub(super) fn with_read_s(&self) -> f64 {
        self.with_nothing_moved_s() + self.read.median_s
    }
}

fn copy(num_bytes: usize) -> Vec<Duration> {
    // Written once, so that all pages are there.
    let (from, mut to) = (vec![1_u8; num_bytes], vec![2_u8; num_bytes]);
    let part = num_bytes.div_ceil(NUM_THREADS).max(1);
    let mut once = || {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for (from, to) in from.chunks(part).zip(to.chunks_mut(part)) {
                scope.spawn(move || to.copy_from_slice(from));
            }
        });
        start.elapsed()
    };
    (0..NUM_REPEATS).map(|_| once()).collect()
}

fn read(num_bytes: usize, folder: &Path) -> io::Result<(Vec<Duration>, Vec<String>)> {
    let path = folder.join("raw");
    let mut file = File::create(&path)?;
    // Not zeros: a file system may not store those.
    let block: Vec<u8> = (0..1_usize << 20).map(|i| (i * 31 % 251) as u8).collect();
    let mut rest = num_bytes;
    while rest > 0 {
        let now = rest.min(block.len());
        file.write_all(&block[..now])?;
        rest -= now;
    }
    file.sync_all()?;
    let reader = Arc::new(DirectReader::probe(folder));
    let mut buffer = AlignedBuffer::new(num_bytes);
    let mut once = || {
        let start = Instant::now();
        read_once(&reader, &path, &mut buffer[..num_bytes])?;
        Ok(start.elapsed())
    };
    let times = (0..NUM_REPEATS).map(|_| once()).collect::<io::Result<Vec<_>>>()?;
    std::fs::remove_file(&path)?;
    let fallbacks = reader.fallbacks();
    Ok((times, [&fallbacks.no_ring, &fallbacks.no_direct].into_iter().flatten().cloned().collect()))
}

fn read_once(reader: &Arc<DirectReader>, path: &Path, buffer: &mut [u8]) -> io::Result<()> {
    let part = buffer.len().div_ceil(NUM_THREADS).next_multiple_of(host_io::ALIGNMENT);
    std::thread::scope(|scope| {
        let readers: Vec<_> = buffer
            .chunks_mut(part)
            .enumerate()
            .map(|(i, out)| scope.spawn(move || read_part(reader, path, (i * part) as u64, out)))
            .collect();
        let gone = || io::Error::other("a reading thread has gone");
        readers.into_iter().try_for_each(|reader| reader.join().map_err(|_| gone())?)
    })
}

fn read_part(
    reader: &Arc<DirectReader>,
    path: &Path,
    start: u64,
    out: &mut [u8],
) -> io::Result<()> {
    let file = reader.open(path)?;
    let mut done = 0;
    while done < out.len() {
        match file.read_at(start + done as u64, &mut out[done..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            num_bytes => done += num_bytes,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bytes");
        let bytes: Vec<u8> = (0..100_003_u32).map(|i| (i % 241) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let reader = Arc::new(DirectReader::probe(folder.path()));
        let mut found = vec![0; bytes.len()];
        read_once(&reader, &path, &mut found).unwrap();
        assert!(found == bytes);
        found.push(0);
        assert!(read_once(&reader, &path, &mut found).is_err(), "there is no such byte");
    }
}
