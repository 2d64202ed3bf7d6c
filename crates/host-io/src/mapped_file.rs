//! A whole file as a read-only slice.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use memmap2::{Mmap, MmapOptions};

/// A file mapped read-only. The slice starts at a page border, so every element type is aligned
/// wherever its offset in the file is.
#[derive(Debug)]
pub struct MappedFile {
    map: Mmap,
    path: PathBuf,
}

impl MappedFile {
    /// Maps all of the file at `path`.
    ///
    /// The file must not be truncated or rewritten in place while it is mapped; replacing it by
    /// renaming another over it, as package managers and `kvasir` itself do, is harmless.
    ///
    /// # Errors
    /// [`MapError`] when the file cannot be opened or mapped, is empty, or is not a regular file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, MapError> {
        let path = path.as_ref();
        let io_error = |source| MapError::Io { path: path.to_path_buf(), source };
        // Asked before opening: to open a FIFO would wait for a writer.
        let metadata = std::fs::metadata(path).map_err(io_error)?;
        if !metadata.is_file() {
            return Err(MapError::NotAFile { path: path.to_path_buf() });
        }
        if metadata.len() == 0 {
            return Err(MapError::Empty { path: path.to_path_buf() });
        }
        let file = File::open(path).map_err(io_error)?;
        // SAFETY: the map is private to this object, read-only, and only ever lent as `&[u8]` for
        // as long as the object lives, so Rust code cannot write through it. Another process could
        // still write to the file; no reader here keeps a decision about the bytes apart from the
        // bytes' own bounds, which come from the map's length and not from the file.
        let map = unsafe { MmapOptions::new().map(&file) }.map_err(io_error)?;
        #[cfg(unix)]
        // Only a hint; where the kernel does not take it, pages come in on first touch.
        let _ = map.advise(memmap2::Advice::WillNeed);
        Ok(MappedFile { map, path: path.to_path_buf() })
    }

    /// Where the file was found.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

/// Why a file could not be mapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The operating system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A directory, a pipe or a device.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// What was given.
        path: PathBuf,
    },
    /// Nothing in it.
    #[error("{} is empty; was the download interrupted?", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_written_and_starts_at_a_page() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weights");
        let bytes: Vec<u8> = (0..10_000u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let map = MappedFile::open(&path).unwrap();
        assert_eq!(&map[..], &bytes[..]);
        assert_eq!(map.as_ptr().addr() % 4096, 0);
        assert_eq!(map.path(), path);
    }

    #[test]
    fn keeps_its_bytes_when_the_file_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weights");
        std::fs::write(&path, b"old").unwrap();
        let map = MappedFile::open(&path).unwrap();
        std::fs::write(dir.path().join("new"), b"new").unwrap();
        std::fs::rename(dir.path().join("new"), &path).unwrap();
        assert_eq!(&map[..], b"old");
    }

    #[test]
    fn names_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let error = MappedFile::open(&missing).unwrap_err();
        assert!(matches!(error, MapError::Io { .. }), "{error}");
        assert!(error.to_string().contains("missing"), "{error}");
        let error = MappedFile::open(dir.path()).unwrap_err();
        assert!(matches!(error, MapError::NotAFile { .. }), "{error}");
        let empty = dir.path().join("empty");
        std::fs::write(&empty, b"").unwrap();
        let error = MappedFile::open(&empty).unwrap_err();
        assert!(matches!(error, MapError::Empty { .. }), "{error}");
    }
}
