//! Who makes room: one process at a time, or several would each remove what one should.
//!
//! A file named by a number says who it is. The next number can be taken when that process is dead; making a
//! file of a name can succeed only once, so there is one holder of each number, and who finds a higher number
//! than its own has been replaced.

use std::io;

use super::layout::parse_writer;
use super::space::Space;
use super::{DirectoryTier, lock};
use crate::eviction::Admission;
use crate::keys::ChunkKey;
use crate::keys::TenantTag;
use crate::record::{self, WriterId};

const WRITER_HEX_BYTES: usize = 32;

impl DirectoryTier {
    /// Removes records of at least `num_bytes`, if this process is the evictor; whether they are gone.
    pub(super) fn evict(&self, space: &mut Space, num_bytes: u64) -> bool {
        let mut left = num_bytes;
        if !self.is_evictor(space).unwrap_or(false) {
            return false;
        }
        while left > 0 {
            let mut index = lock(&self.index);
            let Some(victim) = index.victim() else {
                drop(index);
                return self.empty_quarantine(left);
            };
            if index.is_stranger(&victim) {
                drop(index);
                self.meet(&victim);
                continue;
            }
            let bytes = index.remove(&victim).unwrap_or(0);
            drop(index);
            match self.unlink(&victim) {
                Ok(()) => {
                    self.counters.count_eviction(bytes);
                    left = left.saturating_sub(bytes);
                }
                // Its bytes were counted, and are no longer there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    left = left.saturating_sub(bytes);
                }
                // The next look finds it again.
                Err(_) => return false,
            }
        }
        true
    }

    /// Lets the policy make room for a record among its own tenant's: whoever writes may do so, for a tenant's quota is
    /// each process's own business. Whether the record may come.
    pub(super) fn admit(&self, num_bytes: u64, tenant: TenantTag) -> bool {
        loop {
            let mut index = lock(&self.index);
            let victim = match index.admit(num_bytes, tenant) {
                Admission::Yes => return true,
                Admission::Never => return false,
                Admission::After(victim) => victim,
            };
            let bytes = index.remove(&victim).unwrap_or(0);
            drop(index);
            match self.unlink(&victim) {
                Ok(()) => self.counters.count_eviction(bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // The next look finds it again.
                Err(_) => return false,
            }
        }
    }

    /// Asks all records whose they are of which the policy wants to know: those of before a restart, and of others.
    pub(super) fn meet_strangers(&self) {
        loop {
            let stranger = lock(&self.index).stranger();
            let Some(key) = stranger else { return };
            self.meet(&key);
        }
    }

    fn meet(&self, key: &ChunkKey) {
        let file = self.disk.open(&self.layout.record(key)).ok();
        let header = file.and_then(|file| record::header_alone(&*file, key).ok());
        lock(&self.index).met(key, header.map(|(header, _)| header.meta.tenant));
    }

    /// Who reads the record goes on reading it.
    fn unlink(&self, victim: &ChunkKey) -> io::Result<()> {
        self.disk.remove(&self.layout.record(victim))
    }

    /// Whether this process is the evictor, after becoming it if nobody is.
    fn is_evictor(&self, space: &mut Space) -> io::Result<bool> {
        let epochs = self.disk.list(&self.layout.evictor)?;
        let epochs: Vec<u64> = epochs.iter().filter_map(|file| file.name.parse().ok()).collect();
        let Some(newest) = epochs.iter().copied().max() else {
            return self.take_epoch(space, 1, &epochs);
        };
        if space.held_epoch == Some(newest) {
            return Ok(true);
        }
        space.held_epoch = None;
        let now_ms = self.clock.monotonic_ms();
        let holder = self.holder_of(newest)?;
        // Nobody, where the holder died before its name was on the disk.
        let is_free = holder.is_none_or(|holder| {
            holder == self.writer
                || !space.members.knows(holder)
                || space.members.is_dead(holder, now_ms, self.lease_ms)
        });
        if is_free { self.take_epoch(space, newest.saturating_add(1), &epochs) } else { Ok(false) }
    }

    fn holder_of(&self, epoch: u64) -> io::Result<Option<WriterId>> {
        let file = self.disk.open(&self.layout.evictor.join(epoch.to_string()))?;
        let mut hex = [0; WRITER_HEX_BYTES];
        let num_bytes = file.read_at(0, &mut hex)?;
        Ok(std::str::from_utf8(&hex[..num_bytes]).ok().and_then(parse_writer))
    }

    fn take_epoch(&self, space: &mut Space, epoch: u64, before: &[u64]) -> io::Result<bool> {
        let sequence = self.next_sequence();
        let staged = self.layout.staged(self.writer, sequence);
        lock(&self.in_flight).insert(sequence);
        let written = self
            .disk
            .create_new(&staged)
            .and_then(|mut file| file.append(format!("{:032x}", self.writer.0).as_bytes()));
        let to = self.layout.evictor.join(epoch.to_string());
        let taken = written.and_then(|()| self.disk.link(&staged, &to));
        let _ = self.disk.remove(&staged);
        lock(&self.in_flight).remove(&sequence);
        match taken {
            Ok(()) => {
                space.held_epoch = Some(epoch);
                // Numbers below the newest say nothing any more.
                for epoch in before {
                    let _ = self.disk.remove(&self.layout.evictor.join(epoch.to_string()));
                }
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }
}
