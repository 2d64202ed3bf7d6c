//! Files by system calls.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path, PathBuf};

use crate::backend::{Backend, Remote};
use crate::error::TransferError;

/// Files below a directory.
#[derive(Debug)]
pub struct Posix {
    root: PathBuf,
}

impl Posix {
    /// Files below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Posix { root: root.into() }
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
        let read = File::open(&path).and_then(|file| file.read_exact_at(out, offset));
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
