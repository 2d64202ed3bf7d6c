//! A file that is open for reading.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use host_io::DirectFile;

use crate::error::TransferError;

/// Most bytes that are read through the page cache before they are shown: they are in the processor's cache then.
const PART_BYTES: usize = 256 << 10;

/// A file that [`Posix::open`](crate::Posix::open) found. It stays that file, whoever takes its name meanwhile: what is
/// read at its beginning and what is read later belong together.
pub struct OpenFile {
    path: PathBuf,
    source: Source,
}

/// How its bytes come.
pub(crate) enum Source {
    /// Through the page cache.
    Cached(File),
    /// Past it.
    Direct(DirectFile),
}

impl OpenFile {
    pub(crate) fn new(path: PathBuf, source: Source) -> Self {
        OpenFile { path, source }
    }

    /// Reads up to `out.len()` bytes from byte `offset` on; fewer at the end, or whenever the storage pleases.
    ///
    /// # Errors
    /// [`TransferError::Io`].
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize, TransferError> {
        self.try_read_at(offset, out).map_err(|error| self.failed(&error))
    }

    /// The same, and shows each part to `seen` as soon as it is in `out`, in their order: the next ones may be on their
    /// way.
    ///
    /// # Errors
    /// [`TransferError::Io`], and then nothing was shown.
    pub fn read_through(
        &self,
        offset: u64,
        out: &mut [u8],
        seen: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, TransferError> {
        let read = match &self.source {
            Source::Direct(file) => file.read_through(offset, out, seen),
            Source::Cached(file) => {
                let longest = out.len().min(PART_BYTES);
                let read = file.read_at(&mut out[..longest], offset);
                read.inspect(|&num_bytes| seen(&out[..num_bytes]))
            }
        };
        read.map_err(|error| self.failed(&error))
    }

    /// Fills `out`, all of it or an error.
    pub(crate) fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> Result<(), TransferError> {
        let mut done = 0;
        while done < out.len() {
            match self.try_read_at(offset.saturating_add(done as u64), &mut out[done..]) {
                Ok(0) => return Err(self.failed(&io::ErrorKind::UnexpectedEof.into())),
                Ok(num_bytes) => done += num_bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(&error)),
            }
        }
        Ok(())
    }

    /// How long the file is now, bytes.
    ///
    /// # Errors
    /// [`TransferError::Io`].
    pub fn num_bytes(&self) -> Result<u64, TransferError> {
        let num_bytes = match &self.source {
            Source::Cached(file) => file.metadata().map(|metadata| metadata.len()),
            Source::Direct(file) => file.num_bytes(),
        };
        num_bytes.map_err(|error| self.failed(&error))
    }

    fn try_read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        match &self.source {
            Source::Cached(file) => file.read_at(out, offset),
            Source::Direct(file) => file.read_at(offset, out),
        }
    }

    fn failed(&self, error: &io::Error) -> TransferError {
        TransferError::io(format!("cannot read {}", self.path.display()), error)
    }
}
