//! A machine with known memory, disks and mounts.

use std::io;
use std::path::Path;

use kv_store::config::{
    ConfigError, KvConfig, Level, Machine, Mounts, Overrides, Resolved, Source,
};

pub const FREE_MEMORY: u64 = 100_000_000_000;
pub const FREE_STORAGE: u64 = 2_000_000_000_000;

/// A text with the folder that mounts are below, by convention, where it says `{mnt}`.
pub fn mounted(text: &str) -> String {
    text.replace("{mnt}", concat!("/", "mnt"))
}

#[derive(Default)]
pub struct TestMachine {
    pub variables: Vec<(&'static str, String)>,
    pub has_no_free_space: bool,
}

impl Machine for TestMachine {
    fn variable(&self, name: &str) -> Option<String> {
        let found = self.variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.clone())
    }

    fn free_memory_bytes(&self) -> io::Result<u64> {
        Ok(FREE_MEMORY)
    }

    fn storage_bytes(&self, _: &Path) -> io::Result<u64> {
        match self.has_no_free_space {
            true => Err(io::Error::other("stale file handle")),
            false => Ok(FREE_STORAGE),
        }
    }

    fn mounts(&self) -> Mounts {
        Mounts::parse(&mounted(
            "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
             30 20 0:40 / {mnt}/vast rw - nfs4 vast:/ rw\n\
             31 20 0:41 / {mnt}/cluster rw - nfs vast-cluster:/cache rw\n",
        ))
    }
}

pub fn read(text: &str) -> Result<Resolved, ConfigError> {
    read_on(text, &TestMachine::default())
}

pub fn read_on(text: &str, machine: &TestMachine) -> Result<Resolved, ConfigError> {
    let read = KvConfig::read(Source::Text(text), &Overrides::default(), machine)?;
    Ok(read.expect("a text always says something"))
}

/// The error's message.
pub fn refusal(text: &str) -> String {
    read(text).expect_err(text).to_string()
}

pub fn texts(resolved: &Resolved, level: Level) -> Vec<&str> {
    let notes = resolved.notes.iter().filter(|note| note.level == level);
    notes.map(|note| note.text.as_str()).collect()
}
