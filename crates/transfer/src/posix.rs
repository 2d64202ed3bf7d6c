//! Files by system calls, or read by `io_uring`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use host_io::{DirectFile, DirectReader, Fallbacks};

use crate::backend::{Backend, Remote};
use crate::error::TransferError;

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

    /// Why files are not read directly or not by `io_uring`, where that was asked for.
    pub fn fallbacks(&self) -> Option<&Fallbacks> {
        self.direct.as_ref().map(|direct| direct.fallbacks())
    }

    /// No path leaves the directory.
    fn path(&self, remote: &Remote) -> Result<(PathBuf, u64), TransferError> {
        let refuse = |reason: &str| TransferError::Remote {
            backend: self.name().to_owned(),
            remote: remote.to_string(),
            reason: reason.to_owned(),
        };
        let Remote::File { path, offset } = remote else { return Err(refuse("it has files only")) };
        let is_below = |path: &Path| {
            path.components().next().is_some()
                && path.components().all(|part| matches!(part, Component::Normal(_)))
        };
        match is_below(path) {
            true => Ok((self.root.join(path), *offset)),
            false => Err(refuse("the path must be relative, without ..")),
        }
    }
}

impl Backend for Posix {
    fn name(&self) -> &str {
        "POSIX"
    }

    fn read(&self, remote: &Remote, out: &mut [u8]) -> Result<(), TransferError> {
        let (path, offset) = self.path(remote)?;
        let read = match &self.direct {
            Some(direct) => direct.open(&path).and_then(|file| fill(&file, offset, out)),
            None => File::open(&path).and_then(|file| file.read_exact_at(out, offset)),
        };
        read.map_err(|error| TransferError::io(format!("cannot read {}", path.display()), &error))
    }

    fn write(&self, remote: &Remote, bytes: &[u8]) -> Result<(), TransferError> {
        let (path, offset) = self.path(remote)?;
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let written = file.and_then(|file| file.write_all_at(bytes, offset));
        written
            .map_err(|error| TransferError::io(format!("cannot write {}", path.display()), &error))
    }
}

fn fill(file: &DirectFile, offset: u64, out: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < out.len() {
        match file.read_at(offset.saturating_add(done as u64), &mut out[done..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            num_bytes => done += num_bytes,
        }
    }
    Ok(())
}
