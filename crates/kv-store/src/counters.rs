//! What a tier has done.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crate::outcome::{Lookup, Miss, Put};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts that threads add to.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        /// The counts at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct TierStats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// The counts now.
            pub fn stats(&self) -> TierStats {
                TierStats { $($name: self.$name.load(Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Reads that gave verified bytes.
    hits,
    /// Reads of what is not there.
    misses,
    /// Reads of what is no longer to be used.
    expired,
    /// Reads that the storage failed.
    io_misses,
    /// Reads that found something else than the chunk.
    corrupt,
    /// Records put aside because they were wrong.
    quarantined,
    /// Bytes of hits.
    read_bytes,
    /// Microseconds of hits.
    read_us,
    /// Chunks written.
    stored,
    /// Chunks that were there when they should have been written.
    already_there,
    /// Chunks not taken.
    rejected,
    /// Chunks that the storage failed to write.
    failed,
    /// Bytes written.
    written_bytes,
    /// Microseconds of writes.
    write_us,
    /// Chunks that left to make room.
    evicted,
    /// Bytes that left to make room.
    evicted_bytes,
    /// Remains of writers that died, removed.
    swept,
}

impl Counters {
    /// Does a read of `bytes`, and counts it with the time that it took.
    pub fn reading(&self, bytes: usize, read: impl FnOnce() -> Lookup) -> Lookup {
        let start = Instant::now();
        let lookup = read();
        let us = start.elapsed().as_micros() as u64;
        let counter = match &lookup {
            Lookup::Hit(_) => {
                self.read_bytes.fetch_add(bytes as u64, Relaxed);
                self.read_us.fetch_add(us, Relaxed);
                &self.hits
            }
            Lookup::Miss(Miss::Expired) => &self.expired,
            Lookup::Miss(Miss::Io) => &self.io_misses,
            Lookup::Miss(_) => &self.misses,
            Lookup::Corrupt(_) => &self.corrupt,
        };
        counter.fetch_add(1, Relaxed);
        lookup
    }

    /// Does a write of `bytes`, and counts it with the time that it took.
    pub fn writing(&self, bytes: usize, write: impl FnOnce() -> Put) -> Put {
        let start = Instant::now();
        let put = write();
        let us = start.elapsed().as_micros() as u64;
        let counter = match put {
            Put::Stored => {
                self.written_bytes.fetch_add(bytes as u64, Relaxed);
                self.write_us.fetch_add(us, Relaxed);
                &self.stored
            }
            Put::AlreadyThere => &self.already_there,
            Put::Rejected(_) => &self.rejected,
            Put::Failed => &self.failed,
        };
        counter.fetch_add(1, Relaxed);
        put
    }

    /// Counts a chunk that left.
    pub fn count_eviction(&self, bytes: u64) {
        self.evicted.fetch_add(1, Relaxed);
        self.evicted_bytes.fetch_add(bytes, Relaxed);
    }
}
