//! Files by system calls, or read by `io_uring`.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use host_io::{DirectReader, Fallbacks};

use crate::backend::{Backend, Remote};
use crate::error::TransferError;
use crate::open_file::{OpenFile, Source};

/// Files below a directory.
pub struct Posix {
    root: PathBuf,
    direct: Option<Arc<DirectReader>>,
}

impl Posix {
    /// Files below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Posix { root: root.into(), direct: None }
    }

    /// The same, read past the page cache with many requests at once: by `io_uring` where the system allows it, by threads
    /// otherwise. `root` is there: what works is tried in it.
    pub fn direct(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let direct = Some(Arc::new(DirectReader::probe(&root)));
        Posix { root, direct }
    }

    /// Why files are not read directly or not by `io_uring`; nothing where that was not asked for.
    pub fn fallbacks(&self) -> Fallbacks {
        self.direct.as_ref().map(|direct| direct.fallbacks().clone()).unwrap_or_default()
    }

    /// Opens the file of that path below the directory, for reads that belong together.
    ///
    /// # Errors
    /// [`TransferError::Remote`] if the path leaves the directory, [`TransferError::Io`] if there is no such file.
    pub fn open(&self, path: &Path) -> Result<OpenFile, TransferError> {
        let path = self.path(path)?;
        let source = match &self.direct {
            Some(direct) => direct.open(&path).map(Source::Direct),
            None => File::open(&path).map(Source::Cached),
        };
        match source {
            Ok(source) => Ok(OpenFile::new(path, source)),
            Err(error) => Err(TransferError::io(format!("cannot open {}", path.display()), &error)),
        }
    }

    /// No path leaves the directory.
    fn path(&self, path: &Path) -> Result<PathBuf, TransferError> {
        let is_below = path.components().next().is_some()
            && path.components().all(|part| matches!(part, Component::Normal(_)));
        if !is_below {
            let reason = "the path must be relative, without ..";
            return Err(self.refuse(path.display().to_string(), reason));
        }
        Ok(self.root.join(path))
    }

    fn file<'a>(&self, remote: &'a Remote) -> Result<(&'a Path, u64), TransferError> {
        match remote {
            Remote::File { path, offset } => Ok((path, *offset)),
            _ => Err(self.refuse(remote.to_string(), "it has files only")),
        }
    }

    fn refuse(&self, remote: String, reason: &str) -> TransferError {
        TransferError::Remote { backend: self.name().to_owned(), remote, reason: reason.to_owned() }
    }
}

impl Backend for Posix {
    fn name(&self) -> &str {
        "POSIX"
    }

    fn read(&self, remote: &Remote, out: &mut [u8]) -> Result<(), TransferError> {
        let (path, offset) = self.file(remote)?;
        self.open(path)?.read_exact_at(offset, out)
    }

    fn write(&self, remote: &Remote, bytes: &[u8]) -> Result<(), TransferError> {
        let (path, offset) = self.file(remote)?;
        let path = self.path(path)?;
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let written = file.and_then(|file| file.write_all_at(bytes, offset));
        written
            .map_err(|error| TransferError::io(format!("cannot write {}", path.display()), &error))
    }
}
