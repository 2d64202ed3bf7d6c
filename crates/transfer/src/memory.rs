//! Registered memory. It belongs to the table while it is registered, so that nothing moves or frees what a transfer
//! still touches; a lock for each keeps a reader from seeing half a write.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::error::{Refusal, TransferError};

/// A number of registered memory, never used twice by a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemoryId(pub u64);

/// What peers may do with memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    #[default]
    Private,
    /// Read it.
    Read,
    /// Read and write it.
    ReadWrite,
}

/// Registered memory.
#[derive(Debug)]
pub struct Memory {
    access: Access,
    num_bytes: usize,
    bytes: RwLock<Vec<u8>>,
}

impl Memory {
    /// What peers may do with it.
    pub fn access(&self) -> Access {
        self.access
    }

    /// The bytes of a range, if it has them. `offset` and `num_bytes` may come from anyone.
    pub fn range(&self, offset: u64, num_bytes: u64) -> Option<Range<usize>> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(usize::try_from(num_bytes).ok()?)?;
        (end <= self.num_bytes).then_some(start..end)
    }

    /// Runs `read` on the bytes.
    pub fn with<T>(&self, read: impl FnOnce(&[u8]) -> T) -> T {
        // A panic elsewhere leaves bytes, and bytes are all that was promised.
        read(&self.bytes.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs `write` on the bytes.
    pub fn with_mut<T>(&self, write: impl FnOnce(&mut [u8]) -> T) -> T {
        write(&mut self.bytes.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Who, by its address.
    pub from: String,
    /// What: up to 4096 bytes.
    pub message: Vec<u8>,
}

/// Most notifications that wait to be taken.
const MAX_NOTIFICATIONS: usize = 1024;

/// An agent's memory, and what it was told: shared with the server of its peers.
#[derive(Debug, Default)]
pub struct MemoryTable {
    memories: Mutex<(u64, BTreeMap<MemoryId, Arc<Memory>>)>,
    notifications: Mutex<VecDeque<Notification>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryTable {
    /// Takes memory in.
    pub fn register(&self, bytes: Vec<u8>, access: Access) -> MemoryId {
        let (next, memories) = &mut *lock(&self.memories);
        *next += 1;
        let id = MemoryId(*next);
        let num_bytes = bytes.len();
        memories.insert(id, Arc::new(Memory { access, num_bytes, bytes: RwLock::new(bytes) }));
        id
    }

    /// Gives memory back: a copy if a transfer still has it, whose end then changes nothing of it.
    pub fn unregister(&self, id: MemoryId) -> Option<Vec<u8>> {
        let memory = lock(&self.memories).1.remove(&id)?;
        Some(match Arc::try_unwrap(memory) {
            Ok(memory) => memory.bytes.into_inner().unwrap_or_else(PoisonError::into_inner),
            Err(shared) => shared.with(<[u8]>::to_vec),
        })
    }

    /// Registered memory.
    pub fn get(&self, id: MemoryId) -> Option<Arc<Memory>> {
        lock(&self.memories).1.get(&id).cloned()
    }

    /// A range of registered memory.
    ///
    /// # Errors
    /// [`TransferError::NotRegistered`] and [`TransferError::OutOfRange`].
    pub fn find(
        &self,
        memory: MemoryId,
        offset: u64,
        num_bytes: u64,
    ) -> Result<(Arc<Memory>, Range<usize>), TransferError> {
        let found = self.get(memory).ok_or(TransferError::NotRegistered { memory })?;
        let memory_bytes = found.num_bytes as u64;
        let range = found.range(offset, num_bytes).ok_or(TransferError::OutOfRange {
            memory,
            offset,
            num_bytes,
            memory_bytes,
        })?;
        Ok((found, range))
    }

    /// Keeps what a peer said.
    ///
    /// # Errors
    /// [`Refusal::Full`] while too many wait.
    pub fn notify(&self, notification: Notification) -> Result<(), Refusal> {
        let mut waiting = lock(&self.notifications);
        if waiting.len() >= MAX_NOTIFICATIONS {
            return Err(Refusal::Full);
        }
        waiting.push_back(notification);
        Ok(())
    }

    /// What peers said since the last call.
    pub fn notifications(&self) -> Vec<Notification> {
        lock(&self.notifications).drain(..).collect()
    }
}
