//! Records that a reader found wrong are taken away and kept for a while, to be looked at.
//!
//! Between finding and taking away, another process may have put a good record in its place. So what was taken
//! away is verified again where it now lies, and goes back if it is good: by whoever took it, or, if that
//! one died, by the next who looks.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use super::layout::parse_aside;
use super::publish::is;
use super::{DirectoryTier, lock};
use crate::keys::ChunkKey;
use crate::outcome::{Corruption, Miss};
use crate::record::Unverified;

/// Wrong records that are kept; more are removed.
const NUM_KEPT: usize = 16;

/// Whether nobody can use such a record. What another program wrote, or a store of another identity, may be good.
pub(super) fn is_wrong(corruption: Corruption) -> bool {
    !matches!(corruption, Corruption::Codec | Corruption::Identity)
}

/// What became of a record in quarantine.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// It is good, and under its key again.
    Restored,
    /// Its time was over: removed.
    Removed,
    /// It is wrong.
    Wrong,
    /// It cannot be told now.
    Unknown,
}

impl DirectoryTier {
    /// Takes the record of `key` out of readers' way.
    pub(super) fn set_aside(&self, key: &ChunkKey) {
        let identity = &self.expected.identity;
        let aside = self.layout.aside(key, identity, self.writer, self.next_sequence());
        // Whatever a rename answers, the file is in one of the two places.
        let _ = self.disk.rename(&self.layout.record(key), &aside);
        match self.settle(&aside, key) {
            Settled::Restored => return,
            Settled::Wrong => {
                self.counters.quarantined.fetch_add(1, Relaxed);
                let path = aside.display();
                tracing::warn!(tier = "disk", %key, %path, "a damaged record is set aside; its KV is computed again");
            }
            Settled::Removed | Settled::Unknown => {}
        }
        lock(&self.index).remove(key);
    }

    /// Decides about a record in quarantine.
    fn settle(&self, aside: &Path, key: &ChunkKey) -> Settled {
        let Ok(file) = self.disk.open(aside) else { return Settled::Unknown };
        match self.reader().verify(&*file, key) {
            Ok(header) => self.restore(aside, key, header.is_durable),
            Err(Unverified::Miss(Miss::Expired)) => {
                let _ = self.disk.remove(aside);
                Settled::Removed
            }
            Err(Unverified::Corrupt(corruption)) if is_wrong(corruption) => Settled::Wrong,
            Err(_) => Settled::Unknown,
        }
    }

    /// Whoever stored it may have been promised that it survives: so a durable one goes over whatever is under its
    /// key now, which has the same bytes or is wrong; and another one over nothing.
    fn restore(&self, aside: &Path, key: &ChunkKey, is_durable: bool) -> Settled {
        let target = self.layout.record(key);
        if is_durable {
            if self.disk.rename(aside, &target).is_err() {
                return Settled::Unknown;
            }
        } else {
            let linked = self.disk.link(aside, &target);
            if linked.is_err() && !is(&linked, std::io::ErrorKind::AlreadyExists) {
                return Settled::Unknown;
            }
            let _ = self.disk.remove(aside);
        }
        match self.disk.sync_dir(&self.layout.shard(key)) {
            Ok(()) => Settled::Restored,
            Err(_) => Settled::Unknown,
        }
    }

    /// Frees bytes that records in quarantine take, when there is nothing else to remove.
    pub(super) fn empty_quarantine(&self, mut num_bytes: u64) -> bool {
        let Ok(files) = self.disk.list(&self.layout.quarantine) else { return false };
        for file in files {
            if num_bytes == 0 {
                break;
            }
            if self.disk.remove(&self.layout.quarantine.join(&file.name)).is_ok() {
                num_bytes = num_bytes.saturating_sub(file.physical_bytes);
            }
        }
        num_bytes == 0
    }

    /// Brings back what was taken away wrongly, and keeps only so much of the rest.
    pub(super) fn recover_quarantine(&self) {
        let Ok(files) = self.disk.list(&self.layout.quarantine) else { return };
        let mut num_kept = 0;
        for file in files {
            let identity = &self.expected.identity;
            let Some(key) = parse_aside(&file.name, identity) else { continue };
            let path = self.layout.quarantine.join(&file.name);
            if self.settle(&path, &key) == Settled::Wrong {
                num_kept += 1;
                if num_kept > NUM_KEPT {
                    let _ = self.disk.remove(&path);
                }
            }
        }
    }
}
