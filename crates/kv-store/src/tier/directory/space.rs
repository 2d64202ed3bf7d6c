//! One cap for all processes that share the directory.
//!
//! Who wants to write first announces how much, then looks at everything that lies there and at what everybody
//! else has announced, and writes only if all of it fits. Of two that announce at once, the later to look sees
//! both; so no lock is needed, and at worst both step back.

use std::collections::BTreeMap;
use std::io;

use super::members::Members;
use super::{DirectoryTier, lock};
use crate::keys::ChunkKey;
use crate::outcome::{Put, Reject};

/// A process announces this part of the cap at once, so that it need not look before every record.
const BATCHES_PER_CAP: u64 = 64;
/// Rooms below the cap that the evictor keeps free for others: it begins above the first and ends at the
/// second, in parts of the cap.
const HIGH_WATER: (u64, u64) = (7, 8);
const LOW_WATER: (u64, u64) = (3, 4);
/// Milliseconds between two looks at the directory, at least.
const RESCAN_MS: u64 = 1_000;
/// A look takes no more than one part in so many of the time.
const RESCAN_SHARE: u64 = 20;

/// What this process may write, and what it knows of the directory.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// Announced and not yet used.
    free_bytes: u64,
    /// Of records that are being written.
    in_flight_bytes: u64,
    pub(super) members: Members,
    pub(super) held_epoch: Option<u64>,
    next_rescan_ms: u64,
}

impl Space {
    pub(super) fn reserved_bytes(&self) -> u64 {
        self.free_bytes + self.in_flight_bytes
    }
}

/// Bytes in the directory.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    /// Records, staging, quarantine.
    physical_bytes: u64,
    /// What the living have announced, this process included.
    reserved_bytes: u64,
}

impl Taken {
    fn total(&self) -> u64 {
        self.physical_bytes + self.reserved_bytes
    }
}

impl DirectoryTier {
    /// Takes `num_bytes` of the cap for a record that is to be written.
    pub(super) fn reserve(&self, num_bytes: u64) -> Result<(), Put> {
        if num_bytes > self.cap_bytes {
            return Err(Put::Rejected(Reject::TooLarge));
        }
        let mut space = lock(&self.space);
        if space.free_bytes < num_bytes {
            self.announce_more(&mut space, num_bytes)?;
        }
        space.free_bytes -= num_bytes;
        space.in_flight_bytes += num_bytes;
        Ok(())
    }

    /// A record was written, or not.
    pub(super) fn release(&self, num_bytes: u64) {
        lock(&self.space).in_flight_bytes -= num_bytes;
    }

    fn announce_more(&self, space: &mut Space, num_bytes: u64) -> Result<(), Put> {
        let batch = (self.cap_bytes / BATCHES_PER_CAP).max(num_bytes);
        for wanted in [batch, num_bytes] {
            let announced = space.in_flight_bytes + wanted;
            self.announce(&mut space.members, announced).map_err(|_| Put::Failed)?;
            let taken = self.look(space).map_err(|_| Put::Failed)?;
            let excess = taken.total().saturating_sub(self.cap_bytes);
            if excess == 0 || self.evict(space, excess) {
                space.free_bytes = wanted;
                return Ok(());
            }
            if wanted == num_bytes {
                break;
            }
        }
        space.free_bytes = 0;
        // If it cannot be taken back now, the next sign of life does.
        let announced = space.in_flight_bytes;
        let _ = self.announce(&mut space.members, announced);
        Err(Put::Rejected(Reject::Full))
    }

    /// The disk itself is full: removes records, if this process is the one to do it.
    pub(super) fn make_room(&self, num_bytes: u64) -> bool {
        let mut space = lock(&self.space);
        self.look(&mut space).is_ok() && self.evict(&mut space, num_bytes)
    }

    /// Looks at everything that lies there.
    fn look(&self, space: &mut Space) -> io::Result<Taken> {
        let (reserved_bytes, staged_bytes) = self.take_attendance(&mut space.members)?;
        let mut physical_bytes = staged_bytes;
        let listing = lock(&self.index).begin_listing();
        let mut listed = BTreeMap::new();
        for shard in self.layout.shards() {
            for file in self.disk.list(&shard)? {
                physical_bytes += file.physical_bytes;
                if let Some(key) = ChunkKey::parse(&file.name) {
                    listed.insert(key, file.physical_bytes);
                }
            }
        }
        for file in self.disk.list(&self.layout.quarantine)? {
            physical_bytes += file.physical_bytes;
        }
        lock(&self.index).take_listing(&listing, &listed);
        Ok(Taken { physical_bytes, reserved_bytes })
    }

    /// Looks for the first time.
    pub(super) fn scan(&self) -> io::Result<()> {
        self.look(&mut lock(&self.space)).map(drop)
    }

    /// Looks from time to time, and keeps room for others if this process is the one to do it.
    pub(super) fn rescan(&self) {
        let start_ms = self.clock.monotonic_ms();
        let mut space = lock(&self.space);
        if start_ms < space.next_rescan_ms {
            return;
        }
        if let Ok(taken) = self.look(&mut space) {
            let part = |(numerator, denominator)| self.cap_bytes / denominator * numerator;
            let is_shared = space.members.has_others(self.writer);
            if is_shared && taken.total() > part(HIGH_WATER) {
                self.evict(&mut space, taken.total() - part(LOW_WATER));
            } else if taken.total() > self.cap_bytes {
                self.evict(&mut space, taken.total() - self.cap_bytes);
            }
        }
        let now_ms = self.clock.monotonic_ms();
        let pause_ms = ((now_ms - start_ms) * RESCAN_SHARE).max(RESCAN_MS);
        space.next_rescan_ms = now_ms + pause_ms;
        drop(space);
        self.meet_strangers();
        self.recover_quarantine();
    }
}
