//! Time, given from outside: tests turn it by hand.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The two times that a store needs.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970: what records say of their creation and expiry.
    fn unix_ms(&self) -> u64;

    /// Milliseconds since some moment, never going back: how long something has been watched.
    fn monotonic_ms(&self) -> u64;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// A clock that starts now.
    pub fn new() -> Self {
        SystemClock(Instant::now())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn unix_ms(&self) -> u64 {
        // A clock before 1970 makes records that never expire too early.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}
