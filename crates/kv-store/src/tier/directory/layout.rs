//! Names in the directory.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::identity::{Hex, Identity};
use crate::keys::ChunkKey;
use crate::record::WriterId;

/// Directories of records: by a key's first hexadecimal digit.
pub(super) const SHARDS: &str = "0123456789abcdef";

/// Where everything is.
pub(super) struct Layout {
    root: PathBuf,
    records: PathBuf,
    pub(super) staging: PathBuf,
    pub(super) quarantine: PathBuf,
    pub(super) members: PathBuf,
    pub(super) evictor: PathBuf,
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Layout {
            root: root.to_path_buf(),
            // Programs with different record formats may share a directory; they never meet in it.
            records: root.join(format!("records-v{}", crate::record::VERSION)),
            staging: root.join("staging"),
            quarantine: root.join("quarantine"),
            members: root.join("members"),
            evictor: root.join("evictor"),
        }
    }

    /// Makes all directories, and makes them survive a loss of power: whoever made one that is there already
    /// may not have got to that.
    pub(super) fn create(&self, disk: &dyn Disk) -> Result<(), (PathBuf, io::Error)> {
        let own = [&self.records, &self.staging, &self.quarantine, &self.members, &self.evictor];
        let shards: Vec<PathBuf> = self.shards().collect();
        for path in [&self.root].into_iter().chain(own).chain(&shards) {
            match disk.create_dir(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err((path.clone(), error));
                }
                _ => {}
            }
        }
        let parent = self.root.parent().filter(|parent| !parent.as_os_str().is_empty());
        for path in parent.into_iter().chain([&*self.root, &*self.records]) {
            disk.sync_dir(path).map_err(|error| (path.to_path_buf(), error))?;
        }
        Ok(())
    }

    pub(super) fn shards(&self) -> impl Iterator<Item = PathBuf> {
        SHARDS.split("").filter(|digit| !digit.is_empty()).map(|digit| self.records.join(digit))
    }

    pub(super) fn shard(&self, key: &ChunkKey) -> PathBuf {
        let digit = usize::from(key.0[0] >> 4);
        self.records.join(&SHARDS[digit..=digit])
    }

    pub(super) fn record(&self, key: &ChunkKey) -> PathBuf {
        self.shard(key).join(key.to_string())
    }

    pub(super) fn staged(&self, writer: WriterId, sequence: u64) -> PathBuf {
        self.staging.join(format!("{:032x}-{sequence}", writer.0))
    }

    /// Says whose record it is: only who knows the identity can tell whether it is good.
    pub(super) fn aside(
        &self,
        key: &ChunkKey,
        identity: &Identity,
        writer: WriterId,
        sequence: u64,
    ) -> PathBuf {
        let name = format!("{key}-{}-{:032x}-{sequence}", family(identity), writer.0);
        self.quarantine.join(name)
    }
}

/// The key of a record in quarantine, if it is of this identity.
pub(super) fn parse_aside(name: &str, identity: &Identity) -> Option<ChunkKey> {
    let mut parts = name.split('-');
    let key = ChunkKey::parse(parts.next()?)?;
    (parts.next()? == family(identity)).then_some(key)
}

/// Enough of an identity to tell those apart that share a directory.
fn family(identity: &Identity) -> String {
    Hex(&identity.digest()[..8]).to_string()
}

/// The writer of a staging file, and its sequence number.
pub(super) fn parse_staged(name: &str) -> Option<(WriterId, u64)> {
    let (writer, sequence) = name.split_once('-')?;
    Some((parse_writer(writer)?, sequence.parse().ok()?))
}

pub(super) fn parse_writer(hex: &str) -> Option<WriterId> {
    if hex.len() != 32 {
        return None;
    }
    u128::from_str_radix(hex, 16).ok().map(WriterId)
}
