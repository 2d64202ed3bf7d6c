//! What holds when all requests have ended.

use engine_core::scheduler::SchedulerStats;

use crate::sim::driver::Driver;
use crate::sim::violation::{Verdict, ensure};

impl Driver<'_> {
    /// Invariants 5, 27 and 31.
    pub(in crate::sim) fn check_end(&mut self) -> Verdict {
        ensure!("27", !self.scheduler.has_unfinished(), "sequences live that nobody knows");
        let num_loads = self.scheduler.loading().len() + self.scheduler.draining().len();
        ensure!("27", num_loads == 0, "{num_loads} loads never end");
        let (pool, host) = (self.scheduler.block_pool(), self.scheduler.host_pool());
        ensure!("5", pool.num_used() == 0, "{} blocks are still lent", pool.num_used());
        let num_lost = host.num_blocks() - host.num_free();
        ensure!("5", num_lost == 0, "{num_lost} host blocks are still lent");
        let stats = self.scheduler.stats();
        let expected = SchedulerStats {
            // Counted each time that a sequence was looked at.
            num_set_asides: stats.num_set_asides,
            num_hash_mismatches: stats.num_hash_mismatches,
            ..self.counts
        };
        ensure!("31", stats == expected, "{stats:#?}, but {expected:#?}");
        let num_mismatches = stats.num_hash_mismatches;
        ensure!(
            "13",
            num_mismatches == 0 || self.world.hashes_collide,
            "{num_mismatches} hashes collide"
        );
        self.report.stats = stats;
        Ok(())
    }
}
