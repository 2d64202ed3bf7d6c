//! A tier whose transfers are watched: what a planner learns from.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::passed_through;
use crate::keys::ChunkKey;
use crate::outcome::{Lookup, Put, TierKind};
use crate::tier::{Chunk, Tier};

/// A transfer that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// Which tier.
    pub tier: TierKind,
    /// A write, not a read.
    pub is_write: bool,
    /// Canonical bytes.
    pub bytes: u64,
    /// From the call to the return.
    pub time: Duration,
}

/// Who is told of transfers, in the thread that made them.
pub type Watcher = Arc<dyn Fn(Measurement) + Send + Sync>;

/// A tier that tells of every transfer. Misses move nothing, and are not told.
pub struct Metered {
    inner: Arc<dyn Tier>,
    watcher: Watcher,
}

impl Metered {
    /// `inner`, watched.
    pub fn new(inner: Arc<dyn Tier>, watcher: Watcher) -> Self {
        Metered { inner, watcher }
    }

    fn tell(&self, is_write: bool, num_bytes: usize, since: Instant) {
        let tier = self.inner.kind();
        let (bytes, time) = (num_bytes as u64, since.elapsed());
        (self.watcher)(Measurement { tier, is_write, bytes, time });
    }
}

impl Tier for Metered {
    passed_through!();

    fn get(&self, key: &ChunkKey, layers: Range<usize>, out: &mut [u8]) -> Lookup {
        let since = Instant::now();
        let lookup = self.inner.get(key, layers, out);
        if lookup.is_hit() {
            self.tell(false, out.len(), since);
        }
        lookup
    }

    fn put(&self, chunk: &Arc<Chunk>) -> Put {
        let since = Instant::now();
        let put = self.inner.put(chunk);
        if put == Put::Stored {
            self.tell(true, chunk.bytes().len(), since);
        }
        put
    }
}
