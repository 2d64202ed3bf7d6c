//! Reads past the page cache, several pieces of a file at once: by `io_uring` where the system lets us, by a few
//! threads otherwise.
//!
//! KV is read once and then lives elsewhere: in the page cache it would only push out what is needed.

mod pool;
#[cfg(target_os = "linux")]
mod ring;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::aligned::ALIGNMENT;
use pool::Pool;
#[cfg(target_os = "linux")]
use ring::Rings;

/// Bytes of one request. Several are on their way at once.
const PIECE_BYTES: usize = 128 * 1024;
/// Requests on their way.
const NUM_PIECES: usize = 16;

/// How files are read, and why not better.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fallbacks {
    /// Why threads and not `io_uring`.
    pub no_ring: Option<String>,
    /// Why through the page cache.
    pub no_direct: Option<String>,
}

/// Reads files.
pub struct DirectReader {
    engine: Engine,
    fallbacks: Fallbacks,
}

enum Engine {
    #[cfg(target_os = "linux")]
    Rings(Rings),
    Pool(Pool),
}

/// A file that is read by a [`DirectReader`].
pub struct DirectFile {
    file: Arc<File>,
    reader: Arc<DirectReader>,
}

/// A span of a file in whole blocks, and what of it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    start: u64,
    num_bytes: usize,
    skip: usize,
}

impl Window {
    fn around(offset: u64, num_bytes: usize) -> Self {
        let start = offset / ALIGNMENT as u64 * ALIGNMENT as u64;
        let skip = (offset - start) as usize;
        let num_bytes = (skip + num_bytes).next_multiple_of(ALIGNMENT);
        Window { start, num_bytes, skip }
    }

    /// Where each request is in the window.
    fn pieces(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let num_bytes = self.num_bytes;
        (0..num_bytes).step_by(PIECE_BYTES).map(move |at| at..num_bytes.min(at + PIECE_BYTES))
    }
}

/// Copies a window's pieces to where they were asked for.
struct Taker<'a> {
    /// Bytes before those that were asked for.
    skip: usize,
    out: &'a mut [u8],
    num_done: usize,
    seen: &'a mut dyn FnMut(&[u8]),
}

impl Taker<'_> {
    /// Takes the next piece; whether more is wanted.
    fn take(&mut self, piece: &[u8]) -> bool {
        let piece = &piece[self.skip.min(piece.len())..];
        self.skip = 0;
        let to = &mut self.out[self.num_done..];
        let num_bytes = piece.len().min(to.len());
        let to = &mut to[..num_bytes];
        to.copy_from_slice(&piece[..num_bytes]);
        (self.seen)(to);
        self.num_done += num_bytes;
        self.num_done < self.out.len()
    }
}

impl DirectReader {
    /// Tries in `directory` what works there, with a small file that is then removed. Nothing that does not work is an
    /// error: [`DirectReader::fallbacks`] says what was taken instead, and why.
    pub fn probe(directory: &Path) -> Self {
        let mut fallbacks = Fallbacks::default();
        let engine = Engine::best(&mut fallbacks);
        let reader = Arc::new(DirectReader { engine, fallbacks: fallbacks.clone() });
        let tried = try_out(directory, &reader);
        let Ok(reader) = Arc::try_unwrap(reader) else {
            return Self::threads("the probe is still at work");
        };
        match tried {
            Ok(no_direct) => {
                fallbacks.no_direct = no_direct;
                DirectReader { fallbacks, ..reader }
            }
            Err(error) => Self::threads(&format!("a first read failed: {error}")),
        }
    }

    /// A reader without `io_uring`.
    pub fn threads(why: &str) -> Self {
        let fallbacks = Fallbacks { no_ring: Some(why.to_owned()), no_direct: None };
        DirectReader { engine: Engine::Pool(Pool::default()), fallbacks }
    }

    /// What does not work here, and why.
    pub fn fallbacks(&self) -> &Fallbacks {
        &self.fallbacks
    }

    /// Opens a file.
    ///
    /// # Errors
    /// The system's.
    pub fn open(self: &Arc<Self>, path: &Path) -> io::Result<DirectFile> {
        let (file, _) = open(path)?;
        Ok(DirectFile { file: Arc::new(file), reader: Arc::clone(self) })
    }
}

impl Engine {
    #[cfg(target_os = "linux")]
    fn best(fallbacks: &mut Fallbacks) -> Self {
        match Rings::new() {
            Ok(rings) => Engine::Rings(rings),
            Err(error) => {
                fallbacks.no_ring = Some(format!("the system refuses io_uring: {error}"));
                Engine::Pool(Pool::default())
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn best(fallbacks: &mut Fallbacks) -> Self {
        fallbacks.no_ring = Some("io_uring is Linux's".to_owned());
        Engine::Pool(Pool::default())
    }
}

/// Past the page cache if the file system can; or why it cannot.
fn open(path: &Path) -> io::Result<(File, Option<String>)> {
    #[cfg(target_os = "linux")]
    {
        let flag = rustix::fs::OFlags::DIRECT.bits() as i32;
        match OpenOptions::new().read(true).custom_flags(flag).open(path) {
            Ok(file) => return Ok((file, None)),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            Err(error) => return Err(error),
        }
    }
    let file = OpenOptions::new().read(true).open(path)?;
    Ok((file, Some("the file system has no O_DIRECT".to_owned())))
}

/// Reads a small file back.
fn try_out(directory: &Path, reader: &Arc<DirectReader>) -> io::Result<Option<String>> {
    let path = directory.join(format!("probe-{}", std::process::id()));
    let written: Vec<u8> = (0..2 * ALIGNMENT).map(|i| (i % 253) as u8).collect();
    std::fs::write(&path, &written)?;
    let read = || {
        let no_direct = open(&path)?.1;
        let mut bytes = vec![0; written.len()];
        let num_bytes = reader.open(&path)?.read_at(0, &mut bytes)?;
        if num_bytes != written.len() || bytes != written {
            return Err(io::Error::other("other bytes than were written"));
        }
        Ok(no_direct)
    };
    let result = read();
    let _ = std::fs::remove_file(&path);
    result
}

/// As a system call answers: what came before an error was read, and who asks for the rest meets the error. A caller that
/// tries again would digest twice what it was shown before.
fn taken(streamed: io::Result<()>, num_done: usize) -> io::Result<usize> {
    match streamed {
        Err(error) if num_done == 0 => Err(error),
        _ => Ok(num_done),
    }
}

impl DirectFile {
    /// Reads up to `out.len()` bytes from `offset` on; fewer at the end.
    ///
    /// # Errors
    /// The system's.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.read_through(offset, out, &mut |_| {})
    }

    /// The same, and shows each part to `seen` as soon as it is in `out`, in their order: it is in the processor's cache
    /// then, and the next ones are on their way.
    ///
    /// # Errors
    /// The system's, and then nothing was shown.
    pub fn read_through(
        &self,
        offset: u64,
        out: &mut [u8],
        seen: &mut dyn FnMut(&[u8]),
    ) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let window = Window::around(offset, out.len());
        let mut taker = Taker { skip: window.skip, out, num_done: 0, seen };
        let take = |piece: &[u8]| taker.take(piece);
        let streamed = match &self.reader.engine {
            #[cfg(target_os = "linux")]
            Engine::Rings(rings) => rings.stream(&self.file, window, take),
            Engine::Pool(pool) => pool.stream(&self.file, window, take),
        };
        taken(streamed, taker.num_done)
    }

    /// How long the file is now.
    ///
    /// # Errors
    /// The system's.
    pub fn num_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reader: DirectReader) {
        let reader = Arc::new(reader);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let bytes: Vec<u8> =
            (0..5_000_123u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = reader.open(&path).unwrap();
        assert_eq!(file.num_bytes().unwrap(), bytes.len() as u64);
        for (offset, len) in
            [(0, 1), (4095, 2), (0, 4096), (777, 300_000), (100, 4_900_000), (4_999_000, 5_000)]
        {
            let mut out = vec![0; len];
            let mut done = 0;
            loop {
                let num_bytes = file.read_at((offset + done) as u64, &mut out[done..]).unwrap();
                if num_bytes == 0 {
                    break;
                }
                done += num_bytes;
            }
            assert_eq!(done, len.min(bytes.len() - offset));
            assert!(out[..done] == bytes[offset..offset + done], "{offset} {len}");
        }
        assert_eq!(file.read_at(bytes.len() as u64 + 9000, &mut [0; 10]).unwrap(), 0);
        assert!(reader.open(&dir.path().join("none")).is_err());
    }

    #[test]
    fn reads_what_is_there_whatever_the_system_lets_us_use() {
        let dir = tempfile::tempdir().unwrap();
        let reader = DirectReader::probe(dir.path());
        println!("{:?}", reader.fallbacks());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        check(reader);
    }

    #[test]
    fn threads_read_the_same() {
        let reader = DirectReader::threads("asked for");
        assert_eq!(reader.fallbacks().no_ring.as_deref(), Some("asked for"));
        check(reader);
    }

    #[test]
    fn an_error_waits_behind_what_was_read() {
        let failed = || Err(io::ErrorKind::Interrupted.into());
        assert_eq!(taken(failed(), 0).unwrap_err().kind(), io::ErrorKind::Interrupted);
        assert_eq!(taken(failed(), 4096).unwrap(), 4096);
        assert_eq!(taken(Ok(()), 0).unwrap(), 0);
    }

    #[test]
    fn a_place_where_nothing_can_be_tried_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let reader = DirectReader::probe(&dir.path().join("missing"));
        let why = reader.fallbacks().no_ring.clone().unwrap();
        assert!(why.contains("first read failed"), "{why}");
    }

    #[test]
    fn threads_of_one_reader_do_not_disturb_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let reader = Arc::new(DirectReader::probe(dir.path()));
        std::thread::scope(|scope| {
            for thread in 0..4u8 {
                let (reader, path) = (Arc::clone(&reader), dir.path().join(thread.to_string()));
                scope.spawn(move || {
                    std::fs::write(&path, vec![thread; 700_000]).unwrap();
                    let file = reader.open(&path).unwrap();
                    for offset in 0..20 {
                        let mut out = vec![0xff; 600_000];
                        assert_eq!(file.read_at(offset * 5, &mut out).unwrap(), out.len());
                        assert!(out.iter().all(|&byte| byte == thread));
                    }
                });
            }
        });
    }
}
