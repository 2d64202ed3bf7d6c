//! A tier as slow as another machine's.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::passed_through;
use crate::keys::ChunkKey;
use crate::outcome::{Lookup, Put};
use crate::tier::{Chunk, Tier};

/// How fast a tier may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Of reads and writes together, however many threads.
    pub bytes_per_s: f64,
    /// Of every call.
    pub latency: Duration,
}

/// A tier that is no faster than its pace: one line that all bytes go through, and a time that every call takes.
pub struct Throttled {
    inner: Arc<dyn Tier>,
    pace: Pace,
    /// When the line is free.
    free_at: Mutex<Instant>,
}

impl Throttled {
    /// `inner` at this pace.
    pub fn new(inner: Arc<dyn Tier>, pace: Pace) -> Self {
        Throttled { inner, pace, free_at: Mutex::new(Instant::now()) }
    }

    fn wait(&self, since: Instant, num_bytes: usize) {
        // A pace of nothing, or of no number, moves nothing for an hour: long enough to be seen.
        let seconds = (num_bytes as f64 / self.pace.bytes_per_s).clamp(0.0, 3600.0);
        let taken = Duration::from_secs_f64(if seconds.is_nan() { 3600.0 } else { seconds });
        let done_at = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            *free_at = (*free_at).max(since) + taken;
            *free_at
        };
        let until = done_at.max(since) + self.pace.latency;
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
    }
}

impl Tier for Throttled {
    passed_through!();

    fn get(&self, key: &ChunkKey, layers: Range<usize>, out: &mut [u8]) -> Lookup {
        let since = Instant::now();
        let lookup = self.inner.get(key, layers, out);
        self.wait(since, if lookup.is_hit() { out.len() } else { 0 });
        lookup
    }

    fn put(&self, chunk: &Arc<Chunk>) -> Put {
        let since = Instant::now();
        let put = self.inner.put(chunk);
        self.wait(since, if put == Put::Stored { chunk.bytes().len() } else { 0 });
        put
    }
}
