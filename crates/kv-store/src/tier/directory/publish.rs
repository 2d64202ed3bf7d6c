//! Writing a record.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::quarantine::is_wrong;
use super::{DirectoryTier, Durability, lock};
use crate::disk::DiskFile;
use crate::keys::ChunkKey;
use crate::outcome::{Miss, Put, Reject};
use crate::record::{self, ReadOutcome};
use crate::tier::Chunk;

/// What is under a key.
enum There {
    Nothing,
    /// The record, verified, and as durable as asked.
    Good,
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
        match self.what_is_there(chunk.key()) {
            There::Good => return Put::AlreadyThere,
            There::Unknown => return Put::Failed,
            There::Nothing | There::Bad => {}
        }
        let sequence = self.next_sequence();
        let codec = self.codecs.write();
        let record = record::encode(chunk, &self.expected, codec, self.writer, sequence);
        let num_bytes = record.len() as u64;
        if !self.admit(num_bytes, chunk.meta().tenant) {
            return Put::Rejected(Reject::Policy);
        }
        if let Err(put) = self.reserve(num_bytes) {
            return put;
        }
        let mut put = self.stage_and_publish(chunk, &record, sequence);
        if put.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull) {
            // The disk is fuller than the cap says: others use it too.
            if self.make_room(num_bytes) {
                put = self.stage_and_publish(chunk, &record, sequence);
            }
        }
        self.release(num_bytes);
        put.unwrap_or(Put::Failed)
    }

    fn stage_and_publish(&self, chunk: &Chunk, record: &[u8], sequence: u64) -> io::Result<Put> {
        let staged = self.layout.staged(self.writer, sequence);
        lock(&self.in_flight).insert(sequence);
        let put = self.stage(&staged, record).and_then(|()| self.publish(&staged, chunk.key()));
        // If this fails, the next sweep takes it: no staging file outlives its write.
        let _ = self.disk.remove(&staged);
        lock(&self.in_flight).remove(&sequence);
        if let Ok(Put::Stored) = put {
            let num_bytes = record.len() as u64;
            lock(&self.index).insert(chunk.key(), num_bytes, Some(chunk.meta().tenant));
        }
        put
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
        let mut linked = self.disk.link(staged, &target);
        if is(&linked, io::ErrorKind::AlreadyExists) {
            // Another writer was faster; or a file server answers a repeated request that it has done already.
            match self.what_is_there(key) {
                There::Good => return Ok(Put::AlreadyThere),
                There::Nothing | There::Bad => linked = self.disk.link(staged, &target),
                There::Unknown => {}
            }
        }
        linked?;
        if self.durability >= Durability::Strict {
            self.disk.sync_dir(&self.layout.shard(key))?;
        }
        Ok(Put::Stored)
    }

    /// Verifies what is under `key`, whoever wrote it, and makes it as durable as if written now.
    fn what_is_there(&self, key: &ChunkKey) -> There {
        let target = self.layout.record(key);
        let file = match self.disk.open(&target) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return There::Nothing,
            Err(_) => return There::Unknown,
        };
        match self.reader().verify(&*file, key) {
            ReadOutcome::Exact(..) => {
                if self.make_durable(&*file, key).is_ok() {
                    There::Good
                } else {
                    There::Unknown
                }
            }
            ReadOutcome::Miss(Miss::Expired) => {
                self.set_aside(key);
                There::Bad
            }
            ReadOutcome::Corrupt(corruption) if is_wrong(corruption) => {
                self.set_aside(key);
                There::Bad
            }
            ReadOutcome::Miss(_) | ReadOutcome::Corrupt(_) => There::Unknown,
        }
    }

    fn make_durable(&self, file: &dyn DiskFile, key: &ChunkKey) -> io::Result<()> {
        if self.durability >= Durability::Data {
            file.sync()?;
        }
        if self.durability >= Durability::Strict {
            self.disk.sync_dir(&self.layout.shard(key))?;
        }
        Ok(())
    }
}

pub(super) fn is<T>(result: &io::Result<T>, kind: io::ErrorKind) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == kind)
}
