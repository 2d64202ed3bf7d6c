//! Writing a record.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::quarantine::is_wrong;
use super::{DirectoryTier, Durability, lock};
use crate::keys::ChunkKey;
use crate::outcome::{Miss, Put, Reject};
use crate::record::{self, Origin, Unverified};
use crate::tier::Chunk;

/// What is under a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum There {
    Nothing,
    /// The record, verified, and as durable as asked.
    Good,
    /// The record, verified, but a loss of power may take it.
    Undurable,
    /// Something else, which was taken away.
    Bad,
    /// It cannot be told.
    Unknown,
}

impl DirectoryTier {
    pub(super) fn write(&self, chunk: &Arc<Chunk>) -> Put {
        let shape = &self.expected.shape;
        if chunk.bytes().len() != shape.chunk_bytes(chunk.meta().num_tokens as usize)
            || chunk.layer_digests().len() != shape.num_layers as usize
        {
            return Put::Rejected(Reject::Request);
        }
        let there = self.what_is_there(chunk.key());
        match there {
            There::Good => return Put::AlreadyThere,
            There::Unknown => return Put::Failed,
            There::Nothing | There::Undurable | There::Bad => {}
        }
        let sequence = self.next_sequence();
        let is_durable = self.durability >= Durability::Data;
        let origin = Origin { writer: self.writer, sequence, is_durable };
        let record = record::encode(chunk, &self.expected, self.codecs.write(), origin);
        let num_bytes = record.len() as u64;
        if !self.admit(num_bytes, chunk.meta().tenant) {
            return Put::Rejected(Reject::Policy);
        }
        if let Err(put) = self.reserve(num_bytes) {
            return put;
        }
        let mut put = self.stage_and_publish(chunk, &record, sequence, there);
        if put.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull) {
            // The disk is fuller than the cap says: others use it too.
            if self.make_room(num_bytes) {
                put = self.stage_and_publish(chunk, &record, sequence, there);
            }
        }
        self.release(num_bytes);
        put.unwrap_or(Put::Failed)
    }

    fn stage_and_publish(
        &self,
        chunk: &Chunk,
        record: &[u8],
        sequence: u64,
        there: There,
    ) -> io::Result<Put> {
        let staged = self.layout.staged(self.writer, sequence);
        lock(&self.in_flight).insert(sequence);
        let published = self.stage(&staged, record).and_then(|()| match there {
            There::Undurable => self.replace(&staged, chunk.key()),
            _ => self.publish(&staged, chunk.key()),
        });
        // If this fails, the next sweep takes it: no staging file outlives its write.
        let _ = self.disk.remove(&staged);
        lock(&self.in_flight).remove(&sequence);
        if let Ok(Put::Stored) = published {
            let num_bytes = record.len() as u64;
            lock(&self.index).insert(chunk.key(), num_bytes, Some(chunk.meta().tenant));
        }
        published
    }

    /// Writes a file that nobody reads yet. It is closed when it is published: a file server's other clients
    /// see the bytes of closed files.
    fn stage(&self, staged: &Path, record: &[u8]) -> io::Result<()> {
        let mut file = self.disk.create_new(staged)?;
        file.append(record)?;
        if self.durability >= Durability::Data {
            // Before it is published: a name must never survive without its bytes.
            file.sync()?;
        }
        Ok(())
    }

    fn publish(&self, staged: &Path, key: &ChunkKey) -> io::Result<Put> {
        let target = self.layout.record(key);
        let mut linked = self.link(staged, &target);
        if is(&linked, io::ErrorKind::AlreadyExists) {
            // Another writer was faster; or a file server answers a repeated request that it has done already.
            match self.what_is_there(key) {
                There::Good => return Ok(Put::AlreadyThere),
                There::Nothing | There::Bad => linked = self.link(staged, &target),
                There::Undurable => return self.replace(staged, key),
                There::Unknown => {}
            }
        }
        linked?;
        self.sync_name(key)?;
        Ok(Put::Stored)
    }

    /// Replaces nothing.
    fn link(&self, staged: &Path, target: &Path) -> io::Result<()> {
        self.disk.link(staged, target)
    }

    /// Puts a durable record in the place of one with the same bytes that is not. This is the one replacement:
    /// whoever reads meanwhile reads the same from either.
    fn replace(&self, staged: &Path, key: &ChunkKey) -> io::Result<Put> {
        self.disk.rename(staged, &self.layout.record(key))?;
        self.sync_name(key)?;
        Ok(Put::Stored)
    }

    fn sync_name(&self, key: &ChunkKey) -> io::Result<()> {
        match self.durability {
            Durability::Strict => self.disk.sync_dir(&self.layout.shard(key)),
            Durability::None | Durability::Data => Ok(()),
        }
    }

    /// Verifies what is under `key`, whoever wrote it.
    fn what_is_there(&self, key: &ChunkKey) -> There {
        let file = match self.disk.open(&self.layout.record(key)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return There::Nothing,
            Err(_) => return There::Unknown,
        };
        match self.reader().verify(&*file, key) {
            Ok(header) if self.durability >= Durability::Data && !header.is_durable => {
                There::Undurable
            }
            // Its bytes are durable, its name perhaps not yet.
            Ok(_) => self.sync_name(key).map_or(There::Unknown, |()| There::Good),
            Err(Unverified::Miss(Miss::Expired)) => {
                self.set_aside(key);
                There::Bad
            }
            Err(Unverified::Corrupt(corruption)) if is_wrong(corruption) => {
                self.set_aside(key);
                There::Bad
            }
            Err(_) => There::Unknown,
        }
    }
}

pub(super) fn is<T>(result: &io::Result<T>, kind: io::ErrorKind) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == kind)
}
