//! Tiers around tiers: slower, failing, or watched.

mod faulty;
mod metered;
mod throttled;

pub use faulty::{FaultCounts, FaultRates, Faulty};
pub use metered::{Measurement, Metered, Watcher};
pub use throttled::{Pace, Throttled};

/// Everything of a [`Tier`](super::Tier) that a decorator leaves as it is.
macro_rules! passed_through {
    () => {
        fn kind(&self) -> crate::outcome::TierKind {
            self.inner.kind()
        }

        fn may_have(&self, key: &crate::keys::ChunkKey) -> bool {
            self.inner.may_have(key)
        }

        fn remove(&self, key: &crate::keys::ChunkKey) {
            self.inner.remove(key);
        }

        fn maintain(&self) {
            self.inner.maintain();
        }

        fn usage(&self) -> crate::tier::Usage {
            self.inner.usage()
        }

        fn stats(&self) -> crate::counters::TierStats {
            self.inner.stats()
        }
    };
}

use passed_through;
