//! What a configuration asks of the machine it is read on.

use std::io;
use std::path::{Path, PathBuf};

use super::mounts::Mounts;

/// The machine, or a test's idea of one.
pub trait Machine {
    /// An environment variable that is set, and not empty.
    fn variable(&self, name: &str) -> Option<String>;
    /// Bytes of memory that are free for the taking.
    fn free_memory_bytes(&self) -> io::Result<u64>;
    /// Bytes that a store at `path` may use before its file system is full: what is free, and what the store
    /// holds already, so that a cap does not shrink from run to run.
    fn storage_bytes(&self, path: &Path) -> io::Result<u64>;
    /// What is mounted where.
    fn mounts(&self) -> Mounts;
}

/// The machine this runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThisMachine;

impl Machine for ThisMachine {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn free_memory_bytes(&self) -> io::Result<u64> {
        let mut system = sysinfo::System::new();
        system.refresh_memory();
        // In a container the host's memory is not what may be used.
        let limit = system.cgroup_limits().map(|limits| limits.free_memory);
        match system.available_memory().min(limit.unwrap_or(u64::MAX)) {
            0 => Err(io::Error::other("the system does not say")),
            bytes => Ok(bytes),
        }
    }

    fn storage_bytes(&self, path: &Path) -> io::Result<u64> {
        let path = std::path::absolute(path)?;
        let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(&path);
        let space = rustix::fs::statvfs(existing)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize).saturating_add(held_bytes(&path)))
    }

    fn mounts(&self) -> Mounts {
        // Elsewhere than on Linux there is no such file, and no mount is known.
        Mounts::parse(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
    }
}

/// Bytes of the files below `path`; what cannot be read, or has just gone, counts nothing.
fn held_bytes(path: &Path) -> u64 {
    let mut bytes = 0u64;
    let mut pending: Vec<PathBuf> = vec![path.to_owned()];
    while let Some(directory) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => pending.push(entry.path()),
                Ok(metadata) => bytes = bytes.saturating_add(metadata.len()),
                Err(_) => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_store_holds_counts_as_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let nested = directory.path().join("a/b");
        std::fs::create_dir_all(&nested).unwrap();
        std::fs::write(nested.join("x"), [0; 1000]).unwrap();
        std::fs::write(directory.path().join("y"), [0; 24]).unwrap();
        assert_eq!(held_bytes(directory.path()), 1024);
        assert_eq!(held_bytes(&directory.path().join("none")), 0);
        assert!(ThisMachine.storage_bytes(&directory.path().join("not/there/yet")).unwrap() > 0);
        assert!(ThisMachine.free_memory_bytes().unwrap() > 0);
    }
}
